/** The contract of the `LoginStore` port on every database: what counts once, what is over, and what is swept. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LoginStore } from '../../src/engine/access/login-store.js';
import { openDatabase } from '../../src/store/data-source.js';
import type { Database } from '../../src/store/dialect.js';
import { SqlLogins } from '../../src/store/logins.js';
import { createDatabase, databases } from '../support/server.js';

const MINUTE = 60_000;
/** A name of 43 characters, as digests have. */
const digest = () => `${randomUUID()}-digest`;
const login = (more: object = {}) => ({
  id: randomUUID() as string,
  subject: 'https://people.example/ann',
  kid: 'k',
  thumbprint: undefined,
  grants: undefined,
  contentKey: undefined,
  ...more,
});

describe.each(databases)('logins in the store on $name', ({ name }) => {
  let database: Database;
  let store: LoginStore;
  beforeAll(async () => {
    database = await openDatabase({ url: await createDatabase(name), migrate: true });
    store = new SqlLogins(database);
  });
  afterAll(() => database?.close());
  const winners = (results: readonly boolean[]) => results.filter(Boolean).length;

  test('a nonce is taken once, while it lives', async () => {
    const [nonce, over] = [digest(), digest()];
    await store.addNonce(nonce, MINUTE);
    await store.addNonce(over, -1);
    expect(winners(await Promise.all(Array.from({ length: 20 }, () => store.takeNonce(nonce))))).toBe(1);
    expect([await store.takeNonce(nonce), await store.takeNonce(over), await store.takeNonce(digest())]).toEqual([
      false,
      false,
      false,
    ]);
  });

  test('a proof is used once, alone, in one batch and in many at once', async () => {
    const [a, b, c] = [digest(), digest(), digest()];
    expect(await store.useProofs([a, b, a], MINUTE)).toEqual([true, true, false]);
    expect(await store.useProofs([b, c], MINUTE)).toEqual([false, true]);
    const all = Array.from({ length: 20 }, digest);
    const rounds = await Promise.all(
      Array.from({ length: 10 }, (_, i) => store.useProofs(i % 2 ? all : all.toReversed(), MINUTE)),
    );
    expect(winners(rounds.flat())).toBe(20);
    expect(await store.useProofs([], MINUTE)).toEqual([]);
  });

  test('a refresh token is exchanged once; its return ends the login', async () => {
    const [first, second, third] = [digest(), digest(), digest()];
    const begun = await store.beginLogin(login({ thumbprint: 't', grants: '[]', contentKey: 'c' }), first, MINUTE);
    expect(await store.loginOf(first)).toEqual(begun);
    expect(begun).toMatchObject({
      thumbprint: 't',
      grants: '[]',
      contentKey: 'c',
      authenticatedAt: expect.any(Number),
    });
    expect(await store.contentKeyOf(begun.id)).toBe('c');
    expect(await store.rotate(first, second, MINUTE, MINUTE)).toBe('rotated');
    expect((await store.loginOf(second))?.id).toBe(begun.id);
    expect(await store.rotate(first, third, MINUTE, MINUTE)).toBe('reused');
    expect(await store.rotate(second, third, MINUTE, MINUTE)).toBe('over');
    for (const token of [first, second, third]) expect(await store.loginOf(token)).toBeUndefined();
    expect(await store.anyRevoked([begun.id])).toBe(true);
    expect(await store.contentKeyOf(begun.id)).toBeUndefined();
    expect(await store.rotate(digest(), digest(), MINUTE, MINUTE)).toBe('over');
  });

  test('of exchanges at once one wins, and the others end the login', async () => {
    const token = digest();
    const { id } = await store.beginLogin(login(), token, MINUTE);
    const outcomes = await Promise.all(Array.from({ length: 8 }, () => store.rotate(token, digest(), MINUTE, MINUTE)));
    expect(outcomes.filter((outcome) => outcome === 'rotated')).toHaveLength(1);
    expect(outcomes).toContain('reused');
    expect(await store.anyRevoked([id])).toBe(true);
  });

  test('a refresh token that is over is none', async () => {
    const token = digest();
    await store.beginLogin(login(), token, -1);
    expect(await store.loginOf(token)).toBeUndefined();
    expect(await store.rotate(token, digest(), MINUTE, MINUTE)).toBe('over');
  });

  test('revocations are told from a time on, that moment included, and may be repeated', async () => {
    const ids = [digest(), digest()];
    const before = await store.now();
    await store.revoke(ids, MINUTE);
    await store.revoke(ids, MINUTE);
    const { revoked, now } = await store.revokedSince(before);
    expect(revoked.map(({ id }) => id)).toEqual(expect.arrayContaining(ids));
    expect(now).toBeGreaterThanOrEqual(before);
    const [last] = revoked.slice(-1);
    expect((await store.revokedSince(last?.revokedAt as number)).revoked.length).toBeGreaterThan(0);
    expect((await store.revokedSince(now + MINUTE)).revoked).toEqual([]);
    expect([
      await store.anyRevoked([digest()]),
      await store.anyRevoked([digest(), ids[0] as string]),
      await store.anyRevoked([]),
    ]).toEqual([false, true, false]);
  });

  test('API keys are found by digest and id, page by page, until they are over', async () => {
    const owner = `https://people.example/${randomUUID()}`;
    const key = (more: object = {}) => ({
      ...{ id: randomUUID() as string, digest: digest(), name: 'n', owner, subject: owner, grants: undefined },
      ...more,
    });
    const [one, two, over] = [key(), key({ grants: '[1]' }), key()];
    expect(await store.addApiKey(one, undefined)).toBe(true);
    expect(await store.addApiKey({ ...key(), id: one.id }, undefined)).toBe(false);
    await store.addApiKey(two, MINUTE);
    await store.addApiKey(over, -1);
    expect((await store.apiKey(two.digest))?.key).toMatchObject({ ...two, expiresAt: expect.any(Number) });
    expect((await store.apiKey(one.digest))?.key.expiresAt).toBeUndefined();
    expect([
      await store.apiKey(over.digest),
      await store.apiKey(digest()),
      await store.apiKeyById(one.id, 'x'),
    ]).toEqual([undefined, undefined, undefined]);
    expect((await store.apiKeyById(one.id, owner))?.key.id).toBe(one.id);
    const ids = [one.id, two.id].sort();
    expect((await store.apiKeys(owner, '', 10)).keys.map(({ id }) => id)).toEqual(ids);
    expect((await store.apiKeys(owner, ids[0] as string, 10)).keys.map(({ id }) => id)).toEqual(ids.slice(1));
    expect((await store.apiKeys(undefined, '', 1)).keys).toHaveLength(1);
    const gone = await Promise.all([0, 1].map(() => store.deleteApiKey(one.id, `apikey:${one.id}`, MINUTE)));
    expect(gone.sort()).toEqual([false, true]);
    expect(await store.anyRevoked([`apikey:${one.id}`])).toBe(true);
    expect(await store.apiKey(one.digest)).toBeUndefined();
  });

  test('of signing keys with one serial there is one, and those that were followed long ago go', async () => {
    const make = (serial: number, kid: string) =>
      store.addSigningKey({ serial, kid, publicJwk: '{}', privateJwk: kid });
    expect(winners(await Promise.all(['a', 'b', 'c'].map((kid) => make(1, kid))))).toBe(1);
    await make(2, 'd');
    await store.deleteSigningKeys(MINUTE);
    expect((await store.signingKeys()).map(({ serial }) => serial)).toEqual([1, 2]);
    await store.deleteSigningKeys(-1000);
    expect((await store.signingKeys()).map(({ kid }) => kid)).toEqual(['d']);
  });

  test('what is over is swept, a portion at a time, and nothing else', async () => {
    const kept = digest();
    await store.addNonce(kept, MINUTE);
    for (let i = 0; i < 5; i++) {
      await store.addNonce(digest(), -1);
      await store.useProofs([digest()], -1);
    }
    let swept = 0;
    for (let rows = 3; rows === 3; swept += rows) {
      rows = await store.sweepLogins(3);
      expect(rows).toBeLessThanOrEqual(3);
    }
    expect(swept).toBeGreaterThanOrEqual(10);
    expect(await store.sweepLogins(100)).toBe(0);
    expect(await store.takeNonce(kept)).toBe(true);
  });
});
