import { compactVerify, importJWK, type JWK } from 'jose';
import { expect, it } from 'vitest';
import { limits } from '../limits.js';
import type { LoginStore, StoredSigningKey } from './login-store.js';
import { Seal } from './secrets.js';
import { SigningKeys } from './signing-keys.js';

const DAY = 24 * 3600 * 1000;

/** The part of the store that is asked, as the contract has it. */
class Keys {
  now = 1_000_000_000_000;
  reads = 0;
  rows: StoredSigningKey[] = [];

  readonly store = {
    now: async () => this.now,
    signingKeys: async () => {
      this.reads++;
      return [...this.rows];
    },
    addSigningKey: async (key: Omit<StoredSigningKey, 'createdAt'>) => {
      if (this.rows.some(({ serial }) => serial === key.serial)) return false;
      this.rows.push({ ...key, createdAt: this.now });
      return true;
    },
    deleteSigningKeys: async (followedMs: number) => {
      const last = Math.max(
        ...this.rows.filter((row) => row.createdAt < this.now - followedMs).map((row) => row.serial),
      );
      this.rows = this.rows.filter(({ serial }) => serial >= last);
    },
  } as unknown as LoginStore;

  async node(secret = ''): Promise<SigningKeys> {
    const keys = new SigningKeys(this.store, new Seal(secret, 'test'), () => this.now);
    await keys.open();
    return keys;
  }
}

const kidOf = (token: string) => JSON.parse(Buffer.from(token.split('.')[0] as string, 'base64url').toString()).kid;

it('nodes that start at once have one key', async () => {
  const keys = new Keys();
  const nodes = await Promise.all(Array.from({ length: 5 }, () => keys.node()));
  expect(keys.rows).toHaveLength(1);
  const kids = await Promise.all(nodes.map(async (node) => kidOf(await node.sign({}, 't'))));
  expect(new Set(kids)).toEqual(new Set([keys.rows[0]?.kid]));
});

it('a key is followed after its time, published for a day longer, and known to nodes that haven’t looked', async () => {
  const keys = new Keys();
  const [one, other] = [await keys.node(), await keys.node()];
  const first = kidOf(await one.sign({}, 't'));
  await one.sweep();
  expect(keys.rows).toHaveLength(1);
  keys.now += limits.signingKeyMs + DAY;
  await Promise.all([one.sweep(), other.sweep()]);
  expect(keys.rows).toHaveLength(2);
  const second = kidOf(await one.sign({}, 't'));
  expect(second).not.toBe(first);
  expect(one.published.map(({ kid }) => kid)).toEqual([second, first]);
  keys.now += limits.signingKeyMs + DAY;
  await one.sweep();
  const third = kidOf(await one.sign({}, 't'));
  expect(await other.keyOf(third)).toMatchObject({ algorithm: 'EdDSA' });
  keys.now += limits.signingKeyFollowedMs + 1;
  await one.sweep();
  expect(one.published.map(({ kid }) => kid)).toEqual([third]);
  expect(await one.keyOf(second)).toBeUndefined();
});

it('unknown kids send a node to the database once a second at most', async () => {
  const keys = new Keys();
  const node = await keys.node();
  keys.now += 2000;
  const { reads } = keys;
  for (let i = 0; i < 100; i++) expect(await node.keyOf(`unknown-${i}`)).toBeUndefined();
  expect(keys.reads).toBe(reads + 1);
});

it('nothing private is published', async () => {
  const node = await new Keys().node();
  for (const key of node.published) expect(Object.keys(key).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x']);
});

it('a token is signed by the key that it names, also where that is followed meanwhile', async () => {
  const keys = new Keys();
  const node = await keys.node();
  keys.now += limits.signingKeyMs + DAY;
  const [first, , second] = await Promise.all([node.sign({}, 't'), node.sweep(), node.sign({}, 't')]);
  for (const token of [first, second, await node.sign({}, 't')]) {
    const key = await node.keyOf(kidOf(token));
    await expect(compactVerify(token, await importJWK(key?.jwk as JWK, 'EdDSA'))).resolves.toBeTruthy();
  }
});

it('a key that couldn’t be opened is tried again', async () => {
  const keys = new Keys();
  const node = await keys.node('the secret of the nodes');
  const sealed = keys.rows[0] as StoredSigningKey;
  keys.rows.push({ ...sealed, serial: sealed.serial + 1, kid: 'next', privateJwk: 'sealed:AAAA', createdAt: keys.now });
  await node.sweep();
  await expect(node.sign({}, 't')).rejects.toThrow();
  keys.rows.splice(1, 1, { ...sealed, serial: sealed.serial + 2, kid: 'mended' });
  await node.sweep();
  expect(kidOf(await node.sign({}, 't'))).toBe('mended');
});
