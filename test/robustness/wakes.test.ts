/**
 * However a bus treats wakes (loses, doubles, delays, shuffles them, leaves the commits out, sends what no version of ours does), a
 * node takes in every commit once and in order, and has all of them once the database was looked at.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Bus, BusListener, Wake } from '../../src/engine/hints.js';
import type { LogRow } from '../../src/engine/ports.js';
import type { Commit } from '../../src/engine/state/model.js';
import { rowsOf } from '../../src/engine/state/replica.js';
import { News } from '../../src/engine/watch/news.js';
import { decodeWake, encodeWake } from '../../src/jobs/wakes.js';
import { MemoryPool } from './memory-pool.js';

class TestBus implements Bus {
  isConnected = true;
  listener: BusListener | undefined;
  readonly followed = new Set<number>();
  tell(): void {}
  follow(poolId: number): void {
    this.followed.add(poolId);
  }
  unfollow(poolId: number): void {
    this.followed.delete(poolId);
  }
}

/** A node that watches a pool in memory and hears of it over the bus. */
class Node {
  readonly pool = new MemoryPool(['c'], 10);
  readonly bus = new TestBus();
  readonly heard: Commit[] = [];
  readonly read: string[] = [];
  readonly news: News;
  now = 0;

  constructor() {
    const { store, replicas, replica, hub } = this.pool;
    const offer = hub.offer.bind(hub);
    hub.offer = (commits) => {
      this.heard.push(...commits);
      offer(commits);
    };
    hub.streams++;
    const telemetry = { broughtForward: (cause: string) => this.read.push(cause) };
    this.news = new News(store, replicas, this.bus, telemetry as never, { now: () => this.now }, 5);
    this.news.start();
    this.news.follow(replica);
  }

  commit(n: number): void {
    this.pool.commit([{ collection: 'c', key: `k${n % 3}`, attributes: { n } }]);
  }

  /** The wake of the commits after one revision up to another. */
  wake(after: number, upTo: number, more: Partial<Wake> = {}): Wake {
    const rows = this.pool.commits.slice(after, upTo).flatMap((commit) => rowsOf(commit, () => 1));
    const { id, epoch } = this.pool.replica;
    return { poolId: id, epoch, revision: upTo, rows, ...more };
  }

  hear(wake: Wake): void {
    this.bus.listener?.woken(wake);
  }

  get reached(): number {
    return this.pool.replica.revision;
  }

  async settled(): Promise<void> {
    for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
  }

  close(): void {
    this.news.close();
  }
}

const until = async (is: () => boolean) => {
  for (const end = Date.now() + 5000; !is() && Date.now() < end; )
    await new Promise((resolve) => setTimeout(resolve, 2));
  expect(is()).toBe(true);
};

describe('wakes', () => {
  test('bring commits along, so that nothing is read', () => {
    const node = new Node();
    for (let n = 1; n <= 20; n++) {
      node.commit(n);
      node.hear(node.wake(n - 1, n));
      expect(node.reached).toBe(n);
    }
    expect(node.read).toEqual([]);
    expect(node.bus.followed).toEqual(new Set([node.pool.replica.id]));
    node.close();
  });

  test('that overtake each other wait for the one that is missing, and nothing is read', () => {
    const node = new Node();
    for (let n = 1; n <= 6; n++) node.commit(n);
    for (const [after, upTo] of [
      [4, 6],
      [1, 2],
      [2, 4],
    ] as const)
      node.hear(node.wake(after, upTo));
    expect(node.reached).toBe(0);
    node.hear(node.wake(0, 1));
    expect(node.reached).toBe(6);
    expect(node.read).toEqual([]);
    node.close();
  });

  test('of which one is lost are made good from the log', async () => {
    const node = new Node();
    for (let n = 1; n <= 3; n++) node.commit(n);
    node.hear(node.wake(0, 1));
    node.hear(node.wake(2, 3));
    expect(node.reached).toBe(1);
    await until(() => node.reached === 3);
    expect(node.read).toEqual(['gap']);
    node.close();
  });

  test('without commits, of another epoch, or of a pool that was deleted are looked into', async () => {
    for (const more of [{ rows: [] }, { epoch: 'another' }, { revision: undefined }]) {
      const node = new Node();
      node.commit(1);
      node.hear(node.wake(0, 1, more));
      await until(() => node.reached === 1);
      expect(node.read).toEqual(['wake']);
      node.close();
    }
  });

  test('that name a collection which isn’t known here are looked into, and not taken in', async () => {
    const node = new Node();
    node.commit(1);
    const wake = node.wake(0, 1);
    node.hear({ ...wake, rows: wake.rows.map((row) => ({ ...row, collectionId: 99 })) });
    expect(node.reached).toBe(0);
    await until(() => node.reached === 1);
    node.close();
  });

  test('all lost, are found out about by the next look at the database; a pool that nobody watches is no longer followed', async () => {
    const node = new Node();
    for (let n = 1; n <= 5; n++) node.commit(n);
    node.now = 10_000;
    await until(() => node.reached === 5);
    expect(node.read).toEqual(['poll']);
    node.bus.isConnected = false;
    node.commit(6);
    node.now += 6;
    await until(() => node.reached === 6);
    node.pool.hub.streams--;
    await until(() => node.bus.followed.size === 0);
    node.close();
  });

  test('treated as a bus may please: every commit once, in order, and all in the end', async () => {
    const treatment = fc.record({
      kind: fc.constantFrom('commit', 'commit', 'wake', 'wake', 'empty', 'old', 'followed', 'settle'),
      a: fc.nat(40),
      length: fc.integer({ min: 1, max: 5 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(treatment, { maxLength: 60 }), async (steps) => {
        const node = new Node();
        try {
          for (const { kind, a, length } of steps) {
            const { revision } = node.pool;
            const after = revision === 0 ? 0 : Math.max(0, revision - 1 - (a % revision));
            const upTo = Math.min(revision, after + length);
            if (kind === 'commit') node.commit(revision + 1);
            else if (kind === 'followed') node.bus.listener?.followed(node.pool.replica.id);
            else if (kind === 'settle') await node.settled();
            else if (upTo > after) {
              const more = kind === 'empty' ? { rows: [] } : kind === 'old' ? { revision: after } : {};
              // As it goes over Redis.
              const { wake } = decodeWake(encodeWake('other', node.wake(after, upTo, more), 1 << 16));
              node.hear(wake as Wake);
            }
          }
          node.bus.listener?.reconnected();
          await node.settled();
          await until(() => node.reached === node.pool.revision);
          expect(node.heard.map(({ revision }) => revision)).toEqual(node.pool.commits.map(({ revision }) => revision));
          const told = (commits: readonly Commit[]) => commits.flatMap((commit) => rowsOf(commit, () => 1));
          expect(told(node.heard)).toEqual(told(node.pool.commits));
        } finally {
          node.close();
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('a wake as text', () => {
  const row: LogRow = {
    ...{ revision: 7, ordinal: 0, collectionId: 3, key: 'kéy"', op: 'change', changed: '["a"]', before: '{"a":1}' },
    ...{ after: '{"a":2}', createdRevision: 1, formerRevision: 6, formerCreatedRevision: 1, subject: 's', time: 5 },
    reason: null,
  };
  const wake: Wake = { poolId: 4, epoch: 'e', revision: 7, rows: [row, { ...row, ordinal: 1, after: null }] };

  test('comes out as it went in, also without a revision', () => {
    expect(decodeWake(encodeWake('n', wake, 1 << 16))).toEqual({ from: 'n', wake });
    const deleted = { ...wake, revision: undefined, rows: [] };
    expect(decodeWake(encodeWake('n', deleted, 1 << 16))).toEqual({ from: 'n', wake: deleted });
  });

  test('leaves the commits out where they are too much', () => {
    expect(decodeWake(encodeWake('n', wake, 100)).wake).toEqual({ ...wake, rows: [] });
  });

  test.each([
    '',
    'null',
    '{}',
    '[]',
    '[2,"n",4,"e",7,[]]',
    '[1,"n","4","e",7,[]]',
    '[1,"n",4,null,7,[]]',
    '[1,"n",4,"e",7.5,[]]',
    '[1,"n",4,"e",7,[[]]]',
    '[1,"n",4,"e",7,{}]',
    '[1,"n",4,"e",7,[[1,2,3]]]',
  ])('is no wake when it is %s', (text) => {
    expect(decodeWake(text).wake).toBeUndefined();
  });
});
