/** API keys over HTTP: made, listed without their secrets, deleted. */
import { Controller, Inject } from '@nestjs/common';
import type { z } from 'zod';
import { Access } from '../engine/access/access.js';
import type { Restriction } from '../engine/access/grant.js';
import type { StoredApiKey } from '../engine/access/login-store.js';
import { detailsOf, narrowed, parseRestriction } from '../engine/access/restriction.js';
import type { AuditKind } from '../engine/audit/audit-notes.js';
import { Engine } from '../engine/engine.js';
import { Problem } from '../engine/errors.js';
import { limits } from '../engine/limits.js';
import type { Json } from '../engine/state/json.js';
import { sendSecret } from './auth.controller.js';
import * as schema from './auth.schema.js';
import { Gate } from './gate.js';
import { type Call, Route } from './route.js';

const KEYS = '/v1/auth/keys';
const KEY = `${KEYS}/:apiKey`;

@Controller()
export class ApiKeysController {
  constructor(
    @Inject(Access) private readonly access: Access,
    @Inject(Engine) private readonly engine: Engine,
    @Inject(Gate) private readonly gate: Gate,
  ) {}

  @Route({
    method: 'POST',
    path: KEYS,
    operationId: 'createApiKey',
    tag: 'auth',
    summary: 'Make an API key for a program',
    description:
      'By the operator, or by an account that has logged in itself, for itself. The secret is in this answer and never told again.',
    body: { schema: schema.apiKeyBody },
    answers: { 201: { description: 'The new key.', schema: schema.createdApiKey } },
  })
  async create(call: Call<unknown, z.output<typeof schema.apiKeyBody>>): Promise<void> {
    const { name, subject, authorizationDetails: details, expiresInMs } = call.body;
    const restriction = details && parseRestriction(details as Json, '/authorizationDetails');
    // For its length: it is all that the key is narrowed to.
    narrowed([], restriction, '/authorizationDetails');
    const made = await this.access.apiKeys.create(call.subject, { name, subject, restriction, lifeMs: expiresInMs });
    this.#note(call, 'apiKeyMade', made.subject, made.id);
    const body = { apiKey: made.id, name, subject: made.subject, secret: made.secret, expiresInMs };
    sendSecret(call, 201, body, { location: `${KEYS}/${made.id}` });
  }

  @Route({
    method: 'GET',
    path: KEYS,
    operationId: 'listApiKeys',
    tag: 'auth',
    summary: 'List API keys',
    description: 'Those that the caller made; the operator sees all.',
    query: schema.apiKeysQuery,
    answers: { 200: { description: 'A page of keys.', schema: schema.apiKeyPage } },
  })
  async list(call: Call<z.output<typeof schema.apiKeysQuery>>): Promise<void> {
    const { limit = limits.pageItemsDefault, pageToken } = call.query;
    if (pageToken !== undefined && !/^[\w-]{1,36}$/.test(pageToken))
      throw new Problem('invalidCursor', 'pageToken must be the nextPageToken of the page before.');
    const { keys } = await this.access.apiKeys.list(call.subject, pageToken ?? '', limit + 1);
    const page = keys.slice(0, limit);
    const nextPageToken = keys.length > limit ? page.at(-1)?.id : undefined;
    sendSecret(call, 200, { apiKeys: page.map(shown), nextPageToken });
  }

  @Route({
    method: 'GET',
    path: KEY,
    operationId: 'getApiKey',
    tag: 'auth',
    summary: 'Read an API key',
    answers: { 200: { description: 'The key, without its secret.', schema: schema.apiKey } },
  })
  async get(call: Call): Promise<void> {
    const { key } = await this.access.apiKeys.get(call.subject, call.params.apiKey as string);
    sendSecret(call, 200, shown(key));
  }

  @Route({
    method: 'DELETE',
    path: KEY,
    operationId: 'deleteApiKey',
    tag: 'auth',
    summary: 'Delete an API key',
    description: 'It is refused from now on, and what is open under it ends, on every node within some seconds.',
    answers: { 200: { description: 'There is no such key now.', schema: schema.deletedApiKey } },
  })
  async remove(call: Call): Promise<void> {
    const apiKey = call.params.apiKey as string;
    const deleted = await this.access.apiKeys.delete(call.subject, apiKey);
    if (deleted !== undefined) this.#note(call, 'apiKeyDeleted', deleted, apiKey);
    sendSecret(call, 200, { apiKey, existed: deleted !== undefined });
  }

  #note({ request }: Call<unknown, unknown>, kind: AuditKind, subject: string, detail: string): void {
    this.engine.audit.note({ kind, subject, address: this.gate.addressOf(request), detail });
  }
}

function shown({ id, name, subject, owner, grants, createdAt, expiresAt }: StoredApiKey): object {
  return {
    ...{ apiKey: id, name, subject, owner },
    authorizationDetails: grants === undefined ? undefined : detailsOf(JSON.parse(grants) as Restriction),
    created: new Date(createdAt).toISOString(),
    expires: expiresAt === undefined ? undefined : new Date(expiresAt).toISOString(),
  };
}
