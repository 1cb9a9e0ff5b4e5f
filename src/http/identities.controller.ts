/** Accounts over HTTP: the documents that others read, and the keys that their owners and the operator alter. */
import { createHash } from 'node:crypto';
import { Controller, Inject } from '@nestjs/common';
import type { z } from 'zod';
import { didOf } from '../engine/access/account-url.js';
import { HostedAccounts, noAccount } from '../engine/access/hosted-accounts.js';
import type { StoredKey } from '../engine/access/identity-store.js';
import { PublicUrl } from '../engine/access/public-url.js';
import type { AuditKind } from '../engine/audit/audit-notes.js';
import { Engine } from '../engine/engine.js';
import { nobody } from '../engine/subject.js';
import { send } from './answers.js';
import { Gate } from './gate.js';
import * as schema from './identities.schema.js';
import { proofOf } from './proof.js';
import { type Call, Route } from './route.js';

const DOCUMENT_PATH = '/id/:account';
const IDENTITY_PATH = '/v1/identities/:account';
/** As long as other servers remember what they read. */
const MAX_AGE_S = 300;

@Controller()
export class IdentitiesController {
  constructor(
    @Inject(HostedAccounts) private readonly accounts: HostedAccounts,
    @Inject(PublicUrl) private readonly publicUrl: PublicUrl,
    @Inject(Engine) private readonly engine: Engine,
    @Inject(Gate) private readonly gate: Gate,
  ) {}

  @Route({
    method: 'GET',
    path: DOCUMENT_PATH,
    operationId: 'getIdentityDocument',
    tag: 'identities',
    summary: 'Read the document of an account',
    description: 'A DID document; the account’s URL is the path of this call. Any page may read it.',
    public: true,
    headers: ['If-None-Match'],
    answers: {
      200: { description: 'The document.', schema: schema.didDocument, headers: ['ETag'] },
      304: { description: 'It is as it was.' },
    },
  })
  document(call: Call): Promise<void> {
    return this.#publish(call, (account, keys) => documentOf(account, keys));
  }

  @Route({
    method: 'GET',
    path: `${DOCUMENT_PATH}/did.json`,
    operationId: 'getDidDocument',
    tag: 'identities',
    summary: 'Read the document of an account, where did:web looks for it',
    public: true,
    headers: ['If-None-Match'],
    answers: {
      200: { description: 'The document.', schema: schema.didDocument, headers: ['ETag'] },
      304: { description: 'It is as it was.' },
    },
  })
  didDocument(call: Call): Promise<void> {
    return this.document(call);
  }

  @Route({
    method: 'GET',
    path: `${DOCUMENT_PATH}/jwks.json`,
    operationId: 'getIdentityKeys',
    tag: 'identities',
    summary: 'Read the public keys of an account as a JWK set',
    public: true,
    headers: ['If-None-Match'],
    answers: {
      200: { description: 'The keys.', schema: schema.jwks, headers: ['ETag'] },
      304: { description: 'They are as they were.' },
    },
  })
  jwks(call: Call): Promise<void> {
    return this.#publish(call, (_account, keys) => ({ keys: keys.map(publishedKey) }));
  }

  @Route({
    method: 'GET',
    path: IDENTITY_PATH,
    operationId: 'getIdentity',
    tag: 'identities',
    summary: 'Read an account that this server hosts',
    answers: { 200: { description: 'The account.', schema: schema.identity } },
  })
  async get(call: Call): Promise<void> {
    const { name, keys } = await this.#present(call);
    const account = this.publicUrl.accountOf(name);
    const body = JSON.stringify({ account, name, keys: keys.map(shownKey) });
    send(call, { status: 200, headers: { 'cache-control': 'no-store' }, body });
  }

  @Route({
    method: 'PUT',
    path: `${IDENTITY_PATH}/keys/:kid`,
    operationId: 'enrollIdentityKey',
    tag: 'identities',
    summary: 'Add a public key to an account',
    description:
      'The operator brings in the first key, and the account with it. Others come in by a proof, `addKey`, signed by a key that the account has, or by the operator. A key that is there stays as it is. Anything private in the JWK is refused.',
    body: { schema: schema.keyBody, bytesMax: 16 * 1024 },
    proves: true,
    answers: {
      200: { description: 'The account had it already.', schema: schema.addedKey },
      201: { description: 'Added.', schema: schema.addedKey },
    },
  })
  async enroll(call: Call<unknown, z.output<typeof schema.keyBody>>): Promise<void> {
    const { account: name, kid } = call.params as { account: string; kid: string };
    const { jwk, proof } = call.body;
    const { key, isNew } = await this.accounts.addKey(name, kid, jwk, { subject: call.subject, proof });
    if (isNew) this.#note(call, 'enrolled', name, kid);
    const headers: Record<string, string> = isNew ? { location: `/v1/identities/${name}` } : {};
    const body = JSON.stringify({ account: this.publicUrl.accountOf(name), ...shownKey(key) });
    send(call, { status: isNew ? 201 : 200, headers, body });
  }

  @Route({
    method: 'DELETE',
    path: `${IDENTITY_PATH}/keys/:kid`,
    operationId: 'deleteIdentityKey',
    tag: 'identities',
    summary: 'Take a public key out of an account',
    description:
      'By a proof, `deleteKey`, in Stargus-Proof, or by the operator. The last key only by the operator: the account ends with it, and its envelope.',
    proves: true,
    headers: ['Stargus-Proof'],
    answers: { 200: { description: 'The account has no such key now.', schema: schema.deletedKey } },
  })
  async remove(call: Call): Promise<void> {
    const { account: name, kid } = call.params as { account: string; kid: string };
    const { existed } = await this.accounts.deleteKey(name, kid, { subject: call.subject, proof: proofOf(call) });
    if (existed) this.#note(call, 'revoked', name, kid);
    const body = JSON.stringify({ account: this.publicUrl.accountOf(name), kid, existed });
    send(call, { status: 200, headers: {}, body });
  }

  #note({ request, subject }: Call<unknown, unknown>, kind: AuditKind, name: string, kid: string): void {
    const by = subject === nobody ? 'proof' : subject.id;
    const address = this.gate.addressOf(request);
    this.engine.audit.note({ kind, subject: this.publicUrl.accountOf(name), address, detail: `${kid} by ${by}` });
  }

  /** Sends what anybody may read and keep for some minutes. */
  async #publish(call: Call, shape: (account: string, keys: readonly StoredKey[]) => object): Promise<void> {
    // Pages elsewhere read it as well: there is nothing in it that isn't for everybody.
    call.reply.header('access-control-allow-origin', '*');
    const { name, keys } = await this.#present(call);
    const body = JSON.stringify(shape(this.publicUrl.accountOf(name), keys));
    const tag = createHash('sha256').update(body).digest('base64url').slice(0, 22);
    const headers = { 'cache-control': `public, max-age=${MAX_AGE_S}`, etag: `"${tag}"` };
    const known = call.request.headers['if-none-match'];
    if (known !== undefined && isNamed(known, tag)) {
      call.reply.code(304).headers(headers).send();
      return;
    }
    send(call, { status: 200, headers, body });
  }

  async #present(call: Call): Promise<{ name: string; keys: StoredKey[] }> {
    const name = call.params.account as string;
    const keys = await this.accounts.keys(name);
    if (keys.length === 0) throw noAccount(name);
    return { name, keys };
  }
}

function isNamed(header: string, tag: string): boolean {
  const tags = header.split(',').map((each) => each.trim().replace(/^W\//, ''));
  return tags.some((each) => each === '*' || each === `"${tag}"` || each === `"${tag}-gzip"`);
}

function documentOf(account: string, keys: readonly StoredKey[]): object {
  const did = didOf(account);
  return {
    '@context': ['https://www.w3.org/ns/did/v1', 'https://w3id.org/security/suites/jws-2020/v1'],
    id: did,
    alsoKnownAs: [account],
    verificationMethod: keys.map((key) => ({
      id: `${did}#${key.kid}`,
      type: 'JsonWebKey2020',
      controller: did,
      publicKeyJwk: publishedKey(key),
    })),
    authentication: keys.map(({ kid }) => `${did}#${kid}`),
  };
}

function publishedKey({ jwk, kid, algorithm }: StoredKey): object {
  return { ...jwk, kid, alg: algorithm, use: 'sig' };
}

function shownKey(key: StoredKey): object {
  const { kid, algorithm, jwk, addedAt } = key;
  return { kid, algorithm, jwk, addedAt: new Date(addedAt).toISOString() };
}
