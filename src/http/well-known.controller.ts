/** What clients and other servers find under `/.well-known`: the server's public keys, and how to log in. */
import { Controller, Inject } from '@nestjs/common';
import { Access } from '../engine/access/access.js';
import { DETAIL_TYPE } from '../engine/access/restriction.js';
import { send } from './answers.js';
import { PROOF_ALGORITHMS } from './auth.guard.js';
import * as schema from './auth.schema.js';
import { type Call, Route } from './route.js';

const JWKS = '/.well-known/jwks.json';

@Controller()
export class WellKnownController {
  constructor(@Inject(Access) private readonly access: Access) {}

  @Route({
    method: 'GET',
    path: JWKS,
    operationId: 'getSigningKeys',
    tag: 'auth',
    summary: 'Read the keys that sign access tokens',
    description: 'A JWK Set (RFC 7517). The newest key signs; others are those of tokens that are still good.',
    public: true,
    answers: { 200: { description: 'The public keys.', schema: schema.jwks } },
  })
  keys(call: Call): void {
    this.#send(call, { keys: this.access.signingKeys.published });
  }

  @Route({
    method: 'GET',
    path: '/.well-known/oauth-authorization-server',
    operationId: 'getAuthorizationServer',
    tag: 'auth',
    summary: 'Read how to get tokens',
    description: 'RFC 8414. The bodies of requests are JSON with camelCase members, as everywhere in this API.',
    public: true,
    answers: {
      200: { description: 'About this server as one that issues tokens.', schema: schema.authorizationServer },
    },
  })
  authorizationServer(call: Call): void {
    const { href } = this.access.url;
    this.#send(call, {
      issuer: href,
      token_endpoint: `${href}/v1/auth/token`,
      challenge_endpoint: `${href}/v1/auth/challenges`,
      revocation_endpoint: `${href}/v1/auth/revoke`,
      jwks_uri: href + JWKS,
      response_types_supported: [],
      grant_types_supported: [schema.JWT_BEARER, schema.REFRESH, schema.TOKEN_EXCHANGE],
      token_endpoint_auth_methods_supported: ['none'],
      dpop_signing_alg_values_supported: PROOF_ALGORITHMS,
      authorization_details_types_supported: [DETAIL_TYPE],
    });
  }

  @Route({
    method: 'GET',
    path: '/.well-known/oauth-protected-resource',
    operationId: 'getProtectedResource',
    tag: 'auth',
    summary: 'Read how to use tokens',
    description: 'RFC 9728.',
    public: true,
    answers: { 200: { description: 'About this server as one that wants tokens.', schema: schema.protectedResource } },
  })
  protectedResource(call: Call): void {
    const { href } = this.access.url;
    this.#send(call, {
      resource: href,
      authorization_servers: [href],
      jwks_uri: href + JWKS,
      bearer_methods_supported: ['header'],
      dpop_signing_alg_values_supported: PROOF_ALGORITHMS,
      authorization_details_types_supported: [DETAIL_TYPE],
    });
  }

  #send(call: Call, body: object): void {
    send(call, { status: 200, headers: { 'cache-control': 'public, max-age=300' }, body: JSON.stringify(body) });
  }
}
