import { expect, it } from 'vitest';
import { limits } from '../limits.js';
import type { LoginStore, Revoked } from './login-store.js';
import { Revocations } from './revocations.js';

/** The part of the store that is asked, of several nodes. */
class Table {
  now = 1_000_000_000_000;
  rows: Revoked[] = [];
  readonly store = {
    exclusive: true,
    now: async () => this.now,
    revoke: async (ids: readonly string[]) => {
      for (const id of ids) if (!this.rows.some((row) => row.id === id)) this.rows.push({ id, revokedAt: this.now });
    },
    revokedSince: async (time: number) => ({
      revoked: this.rows.filter(({ revokedAt }) => revokedAt >= time),
      now: this.now,
    }),
  } as unknown as LoginStore;

  async node(): Promise<{ node: Revocations; heard: string[][] }> {
    const node = new Revocations(
      this.store,
      () => this.now,
      () => undefined,
    );
    const heard: string[][] = [];
    node.onRevoked((ids) => heard.push([...ids]));
    await node.open();
    return { node, heard };
  }
}

it('a revocation is known at once where it was made, elsewhere after a look, and told once', async () => {
  const table = new Table();
  const [one, other] = [await table.node(), await table.node()];
  await one.node.revoke(['a']);
  expect([one.node.covers({ login: 'a' }), other.node.covers({ login: 'a' })]).toEqual([true, false]);
  for (let i = 0; i < 3; i++) {
    table.now += 1000;
    await one.node.look();
    await other.node.look();
  }
  expect(other.node.covers({ login: 'a' })).toBe(true);
  expect([one.heard, other.heard]).toEqual([[['a']], [['a']]]);
});

it('what a login was made from counts, and nothing else', async () => {
  const { node } = await new Table().node();
  await node.revoke(['a']);
  expect(node.covers({ login: 'b', lineage: ['c', 'a'] })).toBe(true);
  expect(node.covers({ login: 'b', lineage: ['c'] })).toBe(false);
  expect(node.covers({})).toBe(false);
});

it('a row that became visible late is not missed', async () => {
  const table = new Table();
  const { node } = await table.node();
  table.now += 60_000;
  await node.look();
  // Its transaction began before the look, and was committed after it.
  table.rows.push({ id: 'late', revokedAt: table.now - limits.revocationOverlapMs });
  table.now += 1000;
  await node.look();
  expect(node.covers({ login: 'late' })).toBe(true);
});

it('a node that couldn’t look for long, and one that starts, know of all whose tokens may be left', async () => {
  const table = new Table();
  const { node, heard } = await table.node();
  table.now += 60_000;
  await table.store.revoke(['a'], 0);
  table.now += limits.accessTokenMs - 1000;
  expect((await table.node()).node.covers({ login: 'a' })).toBe(true);
  table.now += 3600 * 1000;
  await node.look();
  // Its streams are ended, however late.
  expect(heard).toEqual([['a']]);
});

it('it is forgotten when no token can be left', async () => {
  const table = new Table();
  const { node } = await table.node();
  await node.revoke(['a']);
  table.now += limits.accessTokenMs;
  await node.look();
  expect(node.covers({ login: 'a' })).toBe(true);
  table.now += limits.accessTokenMs + 120_000;
  await node.look();
  expect(node.covers({ login: 'a' })).toBe(false);
});
