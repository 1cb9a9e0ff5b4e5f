/**
 * The entitled watch, in memory: the stream of a session whose subject is bound by policy, while others write items and policies, the
 * connection is cut anywhere and resumed, its reader is slow, the node leaps over commits and the log is compacted. At each id
 * the reader's copies are the state as the subject may see it by the policy of that revision, no more and no less; and nothing that
 * is told names or carries what was hidden before and after.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Attributes } from '../../src/engine/state/model.js';
import { searching } from '../support/budget.js';
import type { Item } from './client.js';
import { type PolicyItem, type PolicyRule, rulesFor, shows, visible } from './entitled.js';
import { MemoryPool, type Write } from './memory-pool.js';
import type { Items, ToldChange } from './session-reader.js';
import { SESSION, Story, settled } from './session-story.js';

const RUNS_MS = searching(12_000);
const COLLECTIONS = ['a', 'b', '_clients', '_attachments', '_locks', '_policies'];
const ME = 'https://id.example/me';
const subject = { id: ME, host: 'id.example', isUnbound: false, restrictions: [] };

const attributes = fc.record(
  {
    room: fc.constantFrom('red', 'blue'),
    owner: fc.constantFrom(ME, 'https://id.example/you'),
    n: fc.nat(3),
    secret: fc.nat(3),
    long: fc.constantFrom('x', 'y'),
  },
  { requiredKeys: [], noNullPrototype: true },
);
const item: fc.Arbitrary<Write> = fc.record({
  collection: fc.constantFrom('a', 'a', 'b'),
  key: fc.constantFrom('k1', 'k2', 'k3', 'm1', 'm2'),
  attributes: fc.option(attributes, { nil: undefined, freq: 4 }),
});
const rule: fc.Arbitrary<PolicyRule> = fc
  .record({
    effect: fc.constantFrom('allow' as const, 'allow' as const, 'allow' as const, 'deny' as const),
    actions: fc.constantFrom(['watch'], ['read', 'watch'], ['read']),
    who: fc.constantFrom({ anyone: true as const }, { subjects: [ME] }, { roles: ['staff'] }, { subjects: ['other'] }),
    collections: fc.constantFrom(['a'], ['*'], ['a', 'b'], ['_locks']),
    keys: fc.constantFrom(undefined, undefined, { prefix: 'k' }),
    attributes: fc.constantFrom(undefined, undefined, ['room', 'n'], ['n'], ['secret'], ['owner', 'long']),
    where: fc.constantFrom(
      undefined,
      undefined,
      { room: 'red' },
      { owner: '$subject.id' },
      { secret: { lt: 2 } },
      { not: { n: { exists: true } } },
    ),
  })
  .map((all) => JSON.parse(JSON.stringify(all)) as PolicyRule);
const policy = fc
  .record({
    key: fc.constantFrom('p1', 'p2', 'p3'),
    attributes: fc.option(
      fc.record({
        rules: fc.array(rule, { maxLength: 3 }),
        roles: fc.constantFrom({ staff: [ME] }, { staff: [] }, { staff: ['other'] }),
      }),
      { nil: undefined, freq: 5 },
    ),
  })
  .map(
    (write): Write => ({ collection: '_policies', ...write, attributes: write.attributes as unknown as Attributes }),
  );
const attachment = fc
  .record({
    view: fc.constantFrom('v1', 'v2', 'v3'),
    collection: fc.constantFrom('a', 'a', 'b'),
    place: fc.constantFrom({}, {}, { key: 'k1' }, { prefix: 'k' }, { start: 'k2', end: 'm2' }),
    where: fc.constantFrom(
      undefined,
      { room: 'red' },
      { secret: 1 },
      { not: { secret: { exists: true } } },
      { n: { lt: 2 } },
    ),
    fields: fc.constantFrom(undefined, undefined, ['n', 'secret']),
    values: fc.constantFrom('changed', 'full', 'none'),
    onDenied: fc.constantFrom('ignore', 'error', 'event'),
    locks: fc.boolean(),
  })
  .map(({ place, where, fields, ...rest }): Write => {
    const all = { session: SESSION, ...rest, ...place, ...(where && { where }), ...(fields && { fields }) };
    return { collection: '_attachments', key: `${SESSION}/${rest.view}`, attributes: all as unknown as Attributes };
  });
const lockWrite = fc
  .record({ key: fc.constantFrom('l1', 'l2'), note: fc.nat(2), isThere: fc.boolean() })
  .map(({ key, note, isThere }): Write => {
    const scopes = [{ collection: 'a' }];
    const all = isThere ? { session: 'other', state: 'granted', scopes, note } : undefined;
    return { collection: '_locks', key, attributes: all as unknown as Attributes };
  });

const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('write' as const),
      writes: fc.uniqueArray(
        fc.oneof({ weight: 6, arbitrary: item }, { weight: 1, arbitrary: lockWrite }, { weight: 1, arbitrary: policy }),
        { minLength: 1, maxLength: 4, selector: ({ collection, key }) => `${collection}/${key}` },
      ),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('write' as const), writes: fc.tuple(policy) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('write' as const), writes: fc.tuple(attachment) }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('deliver' as const), turns: fc.nat(30) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('leap' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('compact' as const), kept: fc.nat(3) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('cut' as const), permille: fc.integer({ min: 1, max: 1000 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('stall' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('bookmark' as const) }) },
);

/** Knows what the subject may see at each revision. */
class Oracle {
  readonly #seen = new Map<number, Items>();

  constructor(private readonly pool: MemoryPool) {}

  rulesAt(revision: number): PolicyRule[] {
    const policies = [...this.pool.itemsAt(revision).values()].filter(({ collection }) => collection === '_policies');
    return rulesFor(
      policies.map((each) => each.attributes as unknown as PolicyItem),
      ME,
    );
  }

  seenAt(revision: number): Items {
    let seen = this.#seen.get(revision);
    if (!seen) {
      const rules = this.rulesAt(revision);
      seen = new Map(
        [...this.pool.itemsAt(revision)].flatMap(([id, each]): [string, Item][] => {
          // A session's own attachments are its own.
          const told = each.collection === '_attachments' ? each : visible(each, 'watch', rules);
          return told ? [[id, told]] : [];
        }),
      );
      this.#seen.set(revision, seen);
    }
    return seen;
  }

  /** Nothing that a change tells was hidden before its commit and after it. */
  check(
    revision: number,
    { op, collection, key, changed, removed, attributes: told = {}, previous = {} }: ToldChange,
  ): void {
    const id = `${collection}/${key}`;
    const [before, after] = [this.#at(revision - 1, id), this.#at(revision, id)];
    for (const name of [...changed, ...removed]) {
      const wasShown = before.item !== undefined && shows(before.item, name, 'watch', before.rules);
      const isShown = after.item !== undefined && shows(after.item, name, 'watch', after.rules);
      if (!wasShown && !isShown) fail(`${op} of ${id} at ${revision} names ${name}`);
    }
    for (const name of Object.keys(told))
      if (!after.item || !shows(after.item, name, 'watch', after.rules))
        fail(`${op} of ${id} at ${revision} carries ${name}`);
    for (const name of Object.keys(previous)) {
      if (!before.item || !shows(before.item, name, 'watch', before.rules))
        fail(`${id} at ${revision} had ${name} hidden`);
      if (!shows(before.item, name, 'watch', after.rules)) fail(`${id} at ${revision} hides what ${name} was`);
    }
  }

  #at(revision: number, id: string): { item: Item | undefined; rules: PolicyRule[] } {
    return { item: this.pool.itemsAt(revision).get(id), rules: this.rulesAt(revision) };
  }
}

function fail(what: string): never {
  throw new Error(what);
}

test('copies of all views are what the subject may see at each id, and nothing else is told', async () => {
  let [runs, steps, told] = [0, 0, 0];
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 20, maxLength: 60, size: 'max' }),
      fc.tuple(attachment, policy, rule),
      fc.integer({ min: 1, max: 5 }),
      async (all, [attached, set, first], pageItems) => {
        runs++;
        steps += all.length;
        const pool = new MemoryPool(COLLECTIONS, pageItems);
        const oracle = new Oracle(pool);
        const check = (revision: number, change: ToldChange) => {
          told++;
          oracle.check(revision, change);
        };
        const story = new Story(pool, SESSION, { subject, seenAt: (revision) => oracle.seenAt(revision), check });
        const { reader } = story;
        // Most of a policy denies: without one that allows there would be little to tell.
        const allowing = { ...first, effect: 'allow', actions: ['watch'], who: { subjects: [ME] }, collections: ['*'] };
        pool.commit([
          { collection: '_policies', key: 'p0', attributes: { rules: [allowing] } as unknown as Attributes },
        ]);
        pool.commit([attached]);
        story.open();
        await settled();
        pool.commit([set]);
        for (const each of all) await story.take(each);
        pool.deliver();
        story.connection.go();
        await settled(600);
        story.bookmark();
        await story.cut();
        // Nothing is held back for ever.
        expect([reader.cursor, reader.bye]).toEqual([`e-${pool.revision}`, undefined]);
      },
    ),
    { numRuns: 100_000, interruptAfterTimeLimit: RUNS_MS, markInterruptAsFailure: false },
  );
  console.log(`${runs} stories of ${steps} steps, ${told} changes told`);
  expect(steps).toBeGreaterThan(2000);
  expect(told).toBeGreaterThan(1000);
}, 600_000);
