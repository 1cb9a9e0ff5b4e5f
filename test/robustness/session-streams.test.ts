/**
 * The stream of a session, in memory: views are attached, changed and detached while others write, the connection is cut
 * anywhere and resumed, its reader is slow, the node leaps over commits and the log is compacted. At each id the reader's
 * copies are the state.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Attributes } from '../../src/engine/state/model.js';
import { searching } from '../support/budget.js';
import { MemoryPool, type Write } from './memory-pool.js';
import { type Connection, SESSION, Story, settled } from './session-story.js';

const RUNS_MS = searching(10_000);
const COLLECTIONS = ['a', 'b', '_clients', '_attachments', '_locks'];

const item: fc.Arbitrary<Write> = fc.record({
  collection: fc.constantFrom('a', 'a', 'b'),
  key: fc.constantFrom('k1', 'k2', 'k3', 'm1', 'm2'),
  attributes: fc.option(
    fc.record(
      { room: fc.constantFrom('red', 'blue'), n: fc.nat(99), long: fc.constantFrom('x', 'y') },
      { requiredKeys: [], noNullPrototype: true },
    ),
    { nil: undefined },
  ),
});
const attachment = fc
  .record({
    view: fc.constantFrom('v1', 'v2', 'v3'),
    collection: fc.constantFrom('a', 'a', 'b', 'none'),
    place: fc.constantFrom({}, {}, { key: 'k1' }, { prefix: 'k' }, { start: 'k2', end: 'm2' }),
    where: fc.constantFrom(undefined, { room: 'red' }, { room: 'blue' }),
    fields: fc.constantFrom(undefined, undefined, ['n']),
    values: fc.constantFrom('changed', 'full', 'none'),
    locks: fc.boolean(),
  })
  .map(({ place, where, fields, ...rest }): Write => {
    const attributes = { session: SESSION, ...rest, ...place, ...(where && { where }), ...(fields && { fields }) };
    return {
      collection: '_attachments',
      key: `${SESSION}/${rest.view}`,
      attributes: attributes as unknown as Attributes,
    };
  });
const scope = fc.constantFrom({}, { collection: 'a' }, { collection: 'a', key: 'k1' }, { collection: 'b', key: 'm2' });
const lockWrite = fc
  .record({
    key: fc.constantFrom('l1', 'l2'),
    scopes: fc.option(fc.tuple(scope, scope), { nil: undefined }),
    note: fc.nat(2),
  })
  .map(({ key, scopes, note }): Write => {
    const attributes = scopes && { session: 'other', state: 'granted', scopes, note };
    return { collection: '_locks', key, attributes: attributes as unknown as Attributes };
  });
const detachment = fc
  .constantFrom('v1', 'v2', 'v3')
  .map((view): Write => ({ collection: '_attachments', key: `${SESSION}/${view}`, attributes: undefined }));

const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('write' as const),
      writes: fc.array(fc.oneof({ weight: 4, arbitrary: item }, { weight: 1, arbitrary: lockWrite }), {
        minLength: 1,
        maxLength: 3,
      }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('write' as const), writes: fc.tuple(attachment) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('write' as const), writes: fc.tuple(detachment, item) }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('deliver' as const), turns: fc.nat(4) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('leap' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('compact' as const), kept: fc.nat(3) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('cut' as const), permille: fc.integer({ min: 1, max: 1000 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('stall' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('bookmark' as const) }) },
);

test('copies of all views are the state at each id, however the connection is cut', async () => {
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 20, maxLength: 60, size: 'max' }),
      fc.integer({ min: 1, max: 5 }),
      async (steps, pageItems) => {
        runs++;
        const story = new Story(new MemoryPool(COLLECTIONS, pageItems));
        const { pool, reader } = story;
        story.open();
        for (const each of steps) await story.take(each);
        pool.deliver();
        story.connection.go();
        await settled();
        story.bookmark();
        await story.cut();
        // Nothing is held back for ever.
        expect([reader.cursor, reader.bye]).toEqual([`e-${pool.revision}`, undefined]);
      },
    ),
    { numRuns: 5000, interruptAfterTimeLimit: RUNS_MS, markInterruptAsFailure: false },
  );
  expect(runs).toBeGreaterThan(50);
}, 120_000);

const attach = (session: string, view: string, more: object = {}): Write => ({
  collection: '_attachments',
  key: `${session}/${view}`,
  attributes: { session, view, collection: 'a', values: 'changed', ...more },
});
const put = (key: string, attributes: Attributes, collection = 'a'): Write => ({ collection, key, attributes });
const lock = (id: string, attributes: Attributes | undefined, reason?: Write['reason']): Write => ({
  collection: '_locks',
  key: id,
  attributes,
  reason,
});

/** What was told, in a few words. */
function told({ text }: Connection): string[] {
  const frames = text.split('\n\n').filter((frame) => frame.startsWith('event'));
  return frames.map((frame) => {
    const [, event, id, json] = /^event: (\w+)\n(?:id: e-(\d+)\n)?data: (.*)$/.exec(frame) as RegExpExecArray;
    const { view, changes, lock: id_, type, reason } = JSON.parse(json as string);
    const seen = changes?.map((change: { key: string; view: string }) => `${change.view}:${change.key}`).join();
    return [event, view, seen, id_, type, reason, id && `#${id}`].filter((word) => word !== undefined).join(' ');
  });
}

describe('one stream', () => {
  test('tells of each commit once, with what each view sees of it', async () => {
    const story = new Story(new MemoryPool(COLLECTIONS, 10));
    story.open();
    await settled();
    await story.play([attach(SESSION, 'all'), attach(SESSION, 'some', { prefix: 'k' }), put('k0', { n: 0 })]);
    await story.play([put('k1', { n: 1 }), put('x', { n: 1 }), put('x', { n: 1 }, 'b')]);
    await story.play([put('x', { n: 2 }, 'b')]);
    await story.play([put('x', { n: 2 }), attach(SESSION, 'some', { collection: 'b' })]);
    await story.play([
      { collection: '_attachments', key: `${SESSION}/all`, attributes: undefined },
      put('x', { n: 3 }),
    ]);
    await story.play([put('x', { n: 3 }, 'b')]);
    expect(told(story.connection)).toEqual([
      'live #1',
      'snapshot all',
      'live all',
      'snapshot some',
      'live some #2',
      'changes all:k1,all:x,some:k1 #3',
      'changes all:x',
      'snapshot some',
      'live some #5',
      'bookmark #6',
      'changes some:x #7',
    ]);
  });

  test('tells of locks before what changed with them', async () => {
    const pool = new MemoryPool(COLLECTIONS, 10);
    const story = new Story(pool);
    story.open();
    await settled();
    await story.play([attach(SESSION, 'v')]);
    const own = { session: SESSION, state: 'granted', fence: 3 };
    await story.play([lock('l1', own)]);
    await story.play([
      lock('l2', { session: 'other', state: 'waiting', waitsFor: ['l1'], waitsForSessions: [SESSION] }),
      put('x', { n: 1 }),
    ]);
    await story.play([lock('l3', { session: SESSION, state: 'waiting' })]);
    await story.play([lock('l1', { ...own, breakAt: 'soon' }), lock('l3', undefined, 'timeout')]);
    await story.play([lock('l1', undefined, 'broken'), lock('l2', { session: 'other', state: 'granted', fence: 7 })]);
    const live = ['live #1', 'snapshot v', 'live v #2'];
    const locks = ['lock l1 expiring', 'lock l3 lost timeout #6', 'lock l1 broken #7'];
    expect(told(story.connection)).toEqual([...live, 'lock l1 contended', 'changes v:x #4', ...locks]);
    // Who comes back is told of them again.
    story.reader.cursor = 'e-4';
    story.connection.destroy();
    story.open();
    await settled();
    expect(told(story.connection)).toEqual([...locks, 'live v #7']);
  });

  test.each<[says: string, write: Attributes | undefined, subject: string, bye: string | undefined]>([
    ['is ended by somebody', undefined, 'somebody', 'deleted'],
    ['is over', undefined, 'system', 'expired'],
    ['is resumed elsewhere', { epoch: 2 }, 'somebody', 'expired'],
    ['gets a note', { epoch: 1, meta: 1 }, 'somebody', undefined],
  ])('a session that %s', async (_says, attributes, subject, bye) => {
    const story = new Story(new MemoryPool(COLLECTIONS, 10));
    story.open();
    await story.play([attach(SESSION, 'v')]);
    await story.play([{ collection: '_clients', key: SESSION, attributes }, put('x', { n: 1 })], subject);
    const last = told(story.connection).at(-1);
    expect(last).toBe(bye ? `bye ${bye}` : 'changes v:x #3');
    expect(story.connection.closed).toBe(bye !== undefined);
  });
});

test('a thousand sessions that see the same share every byte of it', async () => {
  const pool = new MemoryPool(COLLECTIONS, 10);
  const stories = Array.from({ length: 1000 }, (_, i) => new Story(pool, `s${i}`));
  // Some have views of their own beside.
  pool.commit(stories.map((_, i) => attach(`s${i}`, 'v')));
  pool.commit(stories.slice(0, 500).map((_, i) => attach(`s${i}`, 'own', { key: `k${i}` })));
  for (const story of stories) story.open();
  await settled();
  for (const { connection } of stories) connection.buffers.length = 0;
  for (let n = 0; n < 3; n++) pool.commit([put('x', { n }), put('y', { n })]);
  pool.deliver();
  pool.commit([put('z', { n: 1 }), put('k7', { n: 1 })]);
  pool.deliver();
  const sent = stories.map(({ connection }) => connection.buffers);
  // The commits of one turn are one write.
  expect(new Set(sent.map((buffers) => buffers.length))).toEqual(new Set([2]));
  expect(new Set(sent.flat()).size).toBe(3);
  for (const { connection } of stories) connection.destroy();
});
