/**
 * Accounts on every database, below HTTP: whose word alters them, also by tokens; what a transaction that fails leaves behind;
 * and where logging in finds keys.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Sealed, seal } from '../../src/engine/access/envelope.js';
import { ForeignAccounts } from '../../src/engine/access/foreign-accounts.js';
import { GuardedEnvelopes } from '../../src/engine/access/guarded-envelopes.js';
import { HostedAccounts } from '../../src/engine/access/hosted-accounts.js';
import { Identities } from '../../src/engine/access/identities.js';
import type { AccountRef } from '../../src/engine/access/identity-store.js';
import { PublicUrl } from '../../src/engine/access/public-url.js';
import { anonymous, nobody, type Subject } from '../../src/engine/subject.js';
import { openDatabase } from '../../src/store/data-source.js';
import type { Database } from '../../src/store/dialect.js';
import { SqlIdentityStore } from '../../src/store/identities.js';
import { newKey, type TestKey } from '../support/keys.js';
import { createDatabase, databases } from '../support/server.js';

const ORIGIN = 'https://stargus.example';
const operator: Subject = { id: 'operator', isUnbound: true, restrictions: [] };
const NARROWED: Subject['restrictions'] = [[{ actions: ['read'], collections: ['*'] }]];

describe.each(databases)('identities on $name', ({ name: databaseName }) => {
  let database: Database;
  let store: SqlIdentityStore;
  let hosted: HostedAccounts;
  let envelopes: GuardedEnvelopes;
  let identities: Identities;
  let key: TestKey;
  let accounts = 0;

  beforeAll(async () => {
    database = await openDatabase({ url: await createDatabase(databaseName), migrate: true });
    store = new SqlIdentityStore(database);
    const publicUrl = new PublicUrl(ORIGIN, '127.0.0.1', 0);
    hosted = new HostedAccounts(store, publicUrl);
    envelopes = new GuardedEnvelopes(store, hosted, publicUrl);
    const read = async (url: string) =>
      url.endsWith('/me/jwks.json') ? JSON.stringify({ keys: [key.jwk] }) : undefined;
    const options = { isPrivateAllowed: false, warn: () => undefined };
    const foreign = new ForeignAccounts(store, { read }, { now: () => 0 }, options);
    identities = new Identities(hosted, foreign, publicUrl);
    key = await newKey();
  });
  afterAll(() => database.close());

  const add = (name: string, of: TestKey, subject: Subject) =>
    hosted.addKey(name, of.kid, of.jwk, { subject, proof: undefined });

  async function enrolled(): Promise<string> {
    const name = `account-${++accounts}`;
    await add(name, key, operator);
    return name;
  }

  const subjects = (name: string): [string, Subject, 'unauthenticated' | 'forbidden'][] => [
    ['nobody', nobody, 'unauthenticated'],
    ['somebody', { id: 'https://other.example', isUnbound: false, restrictions: [] }, 'forbidden'],
    ['another account', { id: `${ORIGIN}/id/${name}2`, isUnbound: false, restrictions: [] }, 'forbidden'],
    ['the operator by a token for less', { ...operator, restrictions: NARROWED }, 'forbidden'],
  ];
  const own = (name: string): Subject => ({ id: `${ORIGIN}/id/${name}`, isUnbound: false, restrictions: [] });

  it('take a key by no token but the operator’s, or from all where all are operators', async () => {
    const name = await enrolled();
    const next = await newKey();
    for (const [, subject, code] of [...subjects(name), ['itself', own(name), 'forbidden'] as const]) {
      await expect(add(name, next, subject)).rejects.toMatchObject({ code });
      const deleting = hosted.deleteKey(name, key.kid, { subject, proof: undefined });
      await expect(deleting).rejects.toMatchObject({ code });
    }
    expect((await hosted.keys(name)).map(({ kid }) => kid)).toEqual([key.kid]);
    expect((await add(name, next, anonymous)).isNew).toBe(true);
    expect((await hosted.keys(name)).map(({ source }) => source)).toEqual(['operator', 'operator']);
  });

  it('take no envelope by a token, were it their own', async () => {
    const name = await enrolled();
    const sealed: Sealed = await seal(`${ORIGIN}/id/${name}`, { d: 'x' }, { passphrase: 'x' });
    const put = (subject: Subject) => envelopes.put(name, sealed, { subject, proof: undefined });
    const remove = (subject: Subject) => envelopes.delete(name, { subject, proof: undefined });
    for (const [, subject, code] of [
      ...subjects(name),
      ['its own', own(name), 'forbidden'] as const,
      ['narrowed', { ...own(name), restrictions: NARROWED }, 'forbidden'] as const,
    ]) {
      await expect(put(subject)).rejects.toMatchObject({ code });
      await expect(remove(subject)).rejects.toMatchObject({ code });
    }
    expect(await store.envelope(name)).toBeUndefined();
    await put(operator);
    expect((await store.envelope(name))?.text).toBe(sealed.text);
    expect(await remove(operator)).toEqual({ existed: true });
  });

  it('are as they were after a transaction that failed', async () => {
    const name = await enrolled();
    const ref: AccountRef = { account: name, isHosted: true };
    const next = await newKey();
    const half = store.transact(ref, async (tx) => {
      await tx.addKey({ jwk: next.jwk as never, kid: next.kid, algorithm: 'EdDSA' }, 'operator');
      await tx.deleteKey(key.kid);
      expect(await tx.useProof('a proof of this test', tx.now + 1000)).toBe(true);
      throw new Error('in the middle');
    });
    await expect(half).rejects.toThrow('in the middle');
    expect((await hosted.keys(name)).map(({ kid }) => kid)).toEqual([key.kid]);
    // The proof that went with it can still be used.
    expect(await store.transact(ref, (tx) => tx.useProof('a proof of this test', tx.now + 1000))).toBe(true);
    expect(await store.transact(ref, (tx) => tx.useProof('a proof of this test', tx.now + 1000))).toBe(false);
  });

  it('are made by one of those who make them at once', async () => {
    const name = `account-${++accounts}`;
    const keys = await Promise.all(Array.from({ length: 5 }, () => newKey()));
    const nodes = keys.map(() => new SqlIdentityStore(database));
    const outcomes = await Promise.all(
      nodes.map((node, i) =>
        node.transact({ account: name, isHosted: true }, async (tx) => {
          if (tx.keys.length > 0) return false;
          const { jwk, kid } = keys[i] as TestKey;
          await tx.addKey({ jwk: jwk as never, kid, algorithm: 'EdDSA' }, 'operator');
          return true;
        }),
      ),
    );
    expect(outcomes.filter(Boolean)).toHaveLength(1);
    expect(await hosted.keys(name)).toHaveLength(1);
  });

  it('share one secret, whichever node makes it', async () => {
    const secrets = await Promise.all(Array.from({ length: 5 }, () => new SqlIdentityStore(database).secret()));
    expect(new Set(secrets.map((secret) => secret.toString('hex'))).size).toBe(1);
    expect(secrets[0]).toHaveLength(32);
  });

  it('are found by who logs in: here by name, elsewhere by URL', async () => {
    const name = await enrolled();
    const found = { kid: key.kid, algorithm: 'EdDSA', jwk: key.jwk };
    expect(await identities.keyOf(`${ORIGIN}/id/${name}`, key.kid)).toMatchObject(found);
    expect(await identities.keyOf('https://alice.example/me', key.kid)).toMatchObject(found);
    const { kid: other } = await newKey();
    for (const account of [`${ORIGIN}/id/${name}`, 'https://alice.example/me'])
      for (const kid of [other, '', 'x', `${key.kid}=`, key.kid.toLowerCase()])
        expect(await identities.keyOf(account, kid)).toBeUndefined();
    for (const no of ['none', '_x', '', '..', `${name}/`, `${name}/x`, `${name}?`, `${name}#`, `${name}%20`])
      expect(await identities.keyOf(`${ORIGIN}/id/${no}`, key.kid)).toBeUndefined();
    // Whoever has a name like an account’s elsewhere isn’t it.
    await expect(identities.keyOf(`${ORIGIN}.evil.example/id/${name}`, key.kid)).rejects.toMatchObject({
      code: 'unauthenticated',
    });
    await expect(identities.keyOf(`https://STARGUS.example/id/${name}`, key.kid)).rejects.toMatchObject({
      code: 'unauthenticated',
    });
    // Nor does a foreign account with the same name as a hosted one have its keys, and the other way about.
    expect(await store.keys({ account: name, isHosted: false })).toEqual([]);
    expect(await store.keys({ account: 'https://alice.example/me', isHosted: true })).toEqual([]);
  });

  it('count wrong unlocks one after the other', async () => {
    const bucket = 17;
    await Promise.all(
      Array.from({ length: 10 }, () =>
        new SqlIdentityStore(database).count(bucket, ({ failures }, now) => ({
          result: undefined,
          count: { failures: failures + 1, failedAt: now },
        })),
      ),
    );
    const failures = await store.count(bucket, (count) => ({
      result: count.failures,
      count: { ...count, failures: 0 },
    }));
    expect(failures).toBe(10);
    expect(await store.count(bucket, (count) => ({ result: count.failures, count }))).toBe(0);
  });
});
