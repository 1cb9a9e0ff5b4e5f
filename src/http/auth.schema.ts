/** What comes in and goes out at logins, tokens and API keys. */
import { z } from 'zod';
import { ACCESS_TOKEN_TYPE, DELEGATION_TYPE } from '../engine/access/exchange.js';
import { ACTIONS } from '../engine/access/grant.js';
import { THUMBPRINT } from '../engine/access/public-key.js';
import { limits } from '../engine/limits.js';
import { caslRestrictions, caslRule } from './policy.schema.js';
import { integerParameter, jsonObject, textParameter } from './schemas.js';

const names = (description: string) => z.array(z.string()).meta({ description });

/** Loose, for what isn't known is refused by the engine, which tells the place of each fault. */
const detail = z
  .looseObject({
    type: z.string().meta({ description: '`stargus`.' }),
    pools: names('The pools; all when absent.').optional(),
    actions: z.array(z.string().meta({ 'x-extensible-enum': [...ACTIONS] })).meta({ description: 'What may be done.' }),
    collections: names('Collections; a name that ends in `*` stands for all that begin so.'),
    keys: z
      .looseObject({ prefix: z.string().optional(), pattern: z.string().optional() })
      .meta({
        id: 'GrantKeys',
        description: 'Keys that begin so, or that the pattern (RE2) matches from begin to end.',
      })
      .optional(),
    attributes: names('The attributes; all when absent.').optional(),
    where: jsonObject.optional().meta({
      type: 'object',
      additionalProperties: true,
      description: 'A filter of items, in which the operand `$subject.id` stands for who asks.',
    }),
  })
  .meta({ id: 'AuthorizationDetail', description: 'An entry of `authorization_details` (RFC 9396).' });

const details = z.array(detail).meta({
  description: 'What the token is narrowed to: what any of the entries allows. Empty: it isn’t narrowed.',
});
const wantedDetails = z.array(detail).optional().meta({
  description: 'What the token is to be narrowed to: what any of the entries allows. All that can be had when absent.',
});

const ms = (description: string) => z.int().meta({ type: 'integer', format: 'int64', minimum: 0, description });
const lifeMs = (max: number, description: string) =>
  z
    .int()
    .min(1000)
    .max(max)
    .optional()
    .meta({ type: 'integer', format: 'int64', minimum: 1000, maximum: max, description });
const time = z.string().meta({ format: 'date-time' });
const label = (description: string) => z.string().min(1).max(limits.claimLengthMax).optional().meta({ description });

export const challengeBody = z.strictObject({}).meta({ id: 'ChallengeRequest' });
export const challenge = z
  .object({
    nonce: z.string().meta({ description: 'Goes into one assertion.' }),
    audience: z.string().meta({ description: 'The `aud` of the assertion: the URL of this server.' }),
    expiresInMs: ms('The nonce is over then.'),
  })
  .meta({ id: 'Challenge', description: 'What an assertion must hold.' });

export const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
export const REFRESH = 'refresh_token';
export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';

export const tokenBody = z
  .strictObject({
    grantType: z.string().meta({ 'x-extensible-enum': [JWT_BEARER, REFRESH, TOKEN_EXCHANGE] }),
    assertion: z.string().optional().meta({ description: 'With `jwt-bearer`: the signed assertion.' }),
    refreshToken: z.string().optional().meta({ description: 'With `refresh_token`: good for once.' }),
    subjectToken: z
      .string()
      .optional()
      .meta({ description: 'With `token-exchange`: what the new token is made from.' }),
    subjectTokenType: z
      .string()
      .optional()
      .meta({ 'x-extensible-enum': [ACCESS_TOKEN_TYPE, DELEGATION_TYPE], description: 'What `subjectToken` is.' }),
    authorizationDetails: wantedDetails,
    audience: label('With `token-exchange`: the application that the new token is for; its claim `azp`.'),
    publisher: label('With `token-exchange`: who publishes the application.'),
    assistant: label('With `token-exchange`: who is to act by the new token; its claim `act`.'),
    keyThumbprint: z.string().regex(THUMBPRINT, 'must be an RFC 7638 thumbprint').optional().meta({
      description: 'With `token-exchange`: the key that the new token is to be bound to.',
    }),
    expiresInMs: lifeMs(limits.accessTokenMs, 'With `token-exchange`: how long the new token is to live.'),
    encryption: z
      .boolean()
      .optional()
      .meta({ description: 'With `jwt-bearer`: all that is said under the login is to be encrypted.' }),
    encryptionKey: jsonObject.optional().meta({
      type: 'object',
      additionalProperties: true,
      description:
        'With `encryption`: a public JWK (P-256 or X25519) made for this login, whose thumbprint the assertion has in `epk`.',
    }),
    pool: z.string().optional().meta({ description: 'The pool whose `rules` are to be told.' }),
  })
  .meta({ id: 'TokenRequest' });

export const token = z
  .object({
    accessToken: z.string(),
    tokenType: z.string().meta({ 'x-extensible-enum': ['Bearer', 'DPoP'], description: 'How the token is sent.' }),
    expiresInMs: ms('The token is over then.'),
    refreshToken: z.string().optional().meta({ description: 'For the next pair of tokens, once.' }),
    authorizationDetails: details,
    rules: z.array(caslRule).meta({
      description:
        'What `GET …/policy/effective` says of the pool that the request names. Empty without one, and for an encrypted login, which asks there.',
    }),
    restrictions: caslRestrictions,
    sessionKey: z.string().optional().meta({
      description:
        'With `encryption`: the key of the login as a JWK, in a JWE (ECDH-ES) that only `encryptionKey` opens.',
    }),
  })
  .meta({ id: 'Token', description: 'An access token, and what it is good for.' });

export const revokeBody = z
  .strictObject({
    token: z.string().min(1).meta({ description: 'A refresh token, an access token, an API key or a delegation.' }),
  })
  .meta({ id: 'RevocationRequest' });
export const revocation = z
  .object({ revoked: z.boolean().meta({ description: 'False: it was good for nothing already.' }) })
  .meta({ id: 'Revocation' });

export const subject = z
  .object({
    subject: z.string().meta({ description: 'Under which what the caller does is written into the log.' }),
    isOperator: z.boolean().meta({ description: 'No policy binds the caller.' }),
    host: z.string().optional().meta({ description: 'The host of the account’s URL.' }),
    login: z.string().optional(),
    isBound: z.boolean().meta({ description: 'The token is bound to a key, which signed this request.' }),
    expiresInMs: ms('The token is over then.').optional(),
    application: z.string().optional(),
    publisher: z.string().optional(),
    assistants: z
      .array(z.string())
      .optional()
      .meta({ description: 'Who acts for the subject, the last of them first.' }),
    restrictions: z
      .array(z.object({ authorizationDetails: details }).meta({ id: 'TokenRestriction' }))
      .meta({ description: 'What the token is narrowed to, step by step; each of them must allow what is done.' }),
  })
  .meta({ id: 'Caller', description: 'Who asks, as the server sees it.' });

export const cookieBody = z.strictObject({}).meta({ id: 'CookieRequest' });
export const cookie = z
  .object({ expiresInMs: ms('The cookie is over then; 0: it is taken away.') })
  .meta({ id: 'Cookie', description: 'The state of the cookie.' });

export const apiKeyBody = z
  .strictObject({
    name: z.string().min(1).max(limits.apiKeyNameLengthMax).meta({ description: 'Words for people.' }),
    subject: z.string().max(limits.claimLengthMax).optional().meta({
      description:
        'The account that the key acts as. An account’s keys act as itself; the operator’s as `apikey:<id>` without it.',
    }),
    authorizationDetails: wantedDetails,
    expiresInMs: lifeMs(limits.expiryMsMax, 'How long the key lives; for ever when absent.'),
  })
  .meta({ id: 'ApiKeyCreation' });

const apiKeyMembers = {
  apiKey: z.string().meta({ description: 'The key’s id.' }),
  name: z.string(),
  subject: z.string().meta({ description: 'Whom the key acts as.' }),
  owner: z.string().meta({ description: 'Who made it.' }),
  authorizationDetails: details.optional(),
  created: time,
  expires: time.optional(),
};
export const apiKey = z.object(apiKeyMembers).meta({ id: 'ApiKey', description: 'An API key, without its secret.' });
export const createdApiKey = z
  .object({
    apiKey: apiKeyMembers.apiKey,
    name: apiKeyMembers.name,
    subject: apiKeyMembers.subject,
    secret: z.string().meta({ description: 'The key itself, to be sent as a bearer token. Shown once.' }),
    expiresInMs: ms('The key is over then.').optional(),
  })
  .meta({ id: 'CreatedApiKey', description: 'A new API key, with its secret.' });
export const apiKeyPage = z
  .object({ apiKeys: z.array(apiKey), nextPageToken: z.string().optional() })
  .meta({ id: 'ApiKeyPage', description: 'A page of API keys.' });
export const deletedApiKey = z
  .object({ apiKey: apiKeyMembers.apiKey, existed: z.boolean() })
  .meta({ id: 'DeletedApiKey', description: 'There is no such API key now.' });
export const apiKeysQuery = z.strictObject({
  limit: integerParameter(
    1,
    limits.pageItemsMax,
    `At most so many; ${limits.pageItemsDefault} when absent.`,
  ).optional(),
  pageToken: textParameter('The `nextPageToken` of the page before.').optional(),
});

const jwk = z
  .object({ kty: z.string(), crv: z.string(), x: z.string(), kid: z.string(), alg: z.string(), use: z.string() })
  .meta({ id: 'SigningKey', description: 'A public key of the server’s (RFC 7517).' });
export const jwks = z.object({ keys: z.array(jwk) }).meta({ id: 'SigningKeys', description: 'The newest first.' });

const list = z.array(z.string());
export const authorizationServer = z
  .object({
    issuer: z.string(),
    token_endpoint: z.string(),
    challenge_endpoint: z.string(),
    revocation_endpoint: z.string(),
    jwks_uri: z.string(),
    response_types_supported: list,
    grant_types_supported: list,
    token_endpoint_auth_methods_supported: list,
    dpop_signing_alg_values_supported: list,
    authorization_details_types_supported: list,
  })
  .meta({ id: 'AuthorizationServer', description: 'RFC 8414.' });
export const protectedResource = z
  .object({
    resource: z.string(),
    authorization_servers: list,
    jwks_uri: z.string(),
    bearer_methods_supported: list,
    dpop_signing_alg_values_supported: list,
    authorization_details_types_supported: list,
  })
  .meta({ id: 'ProtectedResource', description: 'RFC 9728.' });
