/**
 * The table of locks beside one that is too simple to be wrong: a scope there is the set of all points that lie in it, a point
 * being an attribute of an item of a small pool, and everything is worked out anew from a list of locks.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Lock } from './lock.js';
import { LockTable, type Write } from './lock-table.js';
import type { Mode } from './mode.js';
import { cover, overlap, regionOf, type Scope } from './scope.js';

// The pool: between any two bounds of the scopes below lies a key of it, and one name belongs to no scope.

const COLLECTIONS = ['rooms', 'halls', '_dictionary'];
const UNITS = ['!', 'a', 'b', 'c'];
const PAIRS = UNITS.flatMap((first) => UNITS.map((second) => first + second));
const KEYS = [...UNITS, ...PAIRS, ...PAIRS.map((pair) => `${pair}!`)];
const NAMES = ['x', 'y', 'z'];

const POINTS: readonly Required<Pick<Scope, 'collection' | 'key'> & { name: string }>[] = COLLECTIONS.flatMap(
  (collection) => KEYS.flatMap((key) => NAMES.map((name) => ({ collection, key, name }))),
);

const pointsKnown = new Map<string, bigint>();

/** The points of a scope as the bits of a number. */
function pointsOf(scope: Scope): bigint {
  const text = JSON.stringify(scope);
  let points = pointsKnown.get(text);
  if (points === undefined) {
    points = BigInt(`0b${POINTS.map((point) => Number(liesIn(point, scope))).join('')}`);
    pointsKnown.set(text, points);
  }
  return points;
}

/** All these keys are ASCII, where JavaScript's order is that of bytes. */
function liesIn(point: (typeof POINTS)[number], { collection, key, prefix, start, end, attributes }: Scope): boolean {
  return (
    (collection === undefined || point.collection === collection) &&
    (key === undefined || point.key === key) &&
    (prefix === undefined || point.key.startsWith(prefix)) &&
    (start === undefined || point.key >= start) &&
    (end === undefined || point.key < end) &&
    (attributes === undefined || attributes.includes(point.name))
  );
}

const touch = (a: Scope, b: Scope): boolean => (pointsOf(a) & pointsOf(b)) !== 0n;
const includes = (outer: Scope, inner: Scope): boolean => (pointsOf(inner) & ~pointsOf(outer)) === 0n;

interface Claim {
  readonly mode: Mode;
  readonly scopes: readonly Scope[];
}

const TOGETHER = ['shared shared', 'shared update', 'update shared'];

function clash(a: Claim | undefined, b: Claim | undefined): boolean {
  if (!a || !b || TOGETHER.includes(`${a.mode} ${b.mode}`)) return false;
  return a.scopes.some((one) => b.scopes.some((other) => touch(one, other)));
}

/** The table as a list. */
class Naive {
  readonly locks: readonly Lock[];

  constructor(locks: Iterable<Lock>) {
    this.locks = [...locks];
  }

  get queue(): readonly Lock[] {
    return this.locks.filter(({ wanted }) => wanted).sort((a, b) => (isAhead(a, b) ? -1 : 1));
  }

  bytes(session?: string): number {
    const counted = this.locks.filter((lock) => session === undefined || lock.session === session);
    return counted.reduce((sum, { bytes = 0 }) => sum + bytes, 0);
  }

  blockers(waiter: Lock): Lock[] {
    return this.locks.filter((other) => stands(other, waiter));
  }

  /** For every waiting lock, by id. */
  waitsFor(): Map<string, string[]> {
    const reaches = new Map<string, Set<string>>(this.locks.map(({ id }) => [id, new Set()]));
    const edges = new Map<string, string[]>();
    for (const waiter of this.queue) {
      const blockers = this.blockers(waiter);
      const below = blockers.filter((other) => !other.wanted || isAhead(other, waiter)).map(({ id }) => id);
      const reached = new Set(below.flatMap((id) => [...(reaches.get(id) ?? [])]));
      const ids = blockers.map(({ id }) => id).filter((id) => !below.includes(id) || !reached.has(id));
      edges.set(waiter.id, ids.sort());
      reaches.set(waiter.id, new Set([...below, ...reached]));
    }
    return edges;
  }

  /** The sessions that each waits for. */
  waits(waiters: readonly Lock[]): Set<string> {
    return new Set(waiters.flatMap((waiter) => this.blockers(waiter).map(({ session }) => session)));
  }

  inCycle(waiter: Lock): boolean {
    const reached = this.waits([waiter]);
    for (const session of reached) {
      for (const next of this.waits(this.queue.filter((lock) => lock.session === session))) reached.add(next);
    }
    return reached.has(waiter.session);
  }

  isCycle(waiter: Lock, sessions: readonly string[]): boolean {
    return sessions.every((session, i) => {
      const waiters = i === 0 ? [waiter] : this.queue.filter((lock) => lock.session === session);
      return this.waits(waiters).has(sessions[(i + 1) % sessions.length] as string);
    });
  }

  refusing({ collection, key, names }: Write, sessions: ReadonlySet<string>): Lock[] {
    const parts = this.heldAt(collection, key).filter(({ lock }) => !sessions.has(lock.session));
    return parts
      .filter(({ scope }) => !scope.attributes || scope.attributes.some((name) => names.includes(name)))
      .map(({ lock }) => lock);
  }

  holds({ collection, key, names }: Write, sessions: ReadonlySet<string>): boolean {
    const scopes = this.heldAt(collection, key)
      .filter(({ lock }) => sessions.has(lock.session))
      .map(({ scope }) => scope);
    if (names.length === 0) return scopes.some(({ attributes }) => !attributes);
    return names.every((name) => scopes.some(({ attributes }) => !attributes || attributes.includes(name)));
  }

  heldAt(collection: string, key: string): { lock: Lock; scope: Scope }[] {
    return this.held.filter(({ scope }) => NAMES.some((name) => liesIn({ collection, key, name }, scope)));
  }

  get held(): { lock: Lock; scope: Scope }[] {
    return this.locks.flatMap((lock) => (lock.held?.scopes ?? []).map((scope) => ({ lock, scope })));
  }
}

function stands(other: Lock, waiter: Lock): boolean {
  if (other.session === waiter.session) return false;
  return clash(other.held, waiter.wanted) || (isAhead(other, waiter) && clash(other.wanted, waiter.wanted));
}

function isAhead(a: Lock, b: Lock): boolean {
  if (!a.wanted || !b.wanted) return false;
  if (!a.held !== !b.held) return a.held !== undefined;
  return a.wanted.queued === b.wanted.queued ? a.id < b.id : a.wanted.queued < b.wanted.queued;
}

// What is asked and done.

const bound = fc.constantFrom('a', 'b', 'aa', 'ab', 'ba', 'bb');
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const attributes = maybe(fc.constantFrom<string[]>(['x'], ['y'], ['x', 'y']));

const scope: fc.Arbitrary<Scope> = fc
  .oneof(
    { weight: 1, arbitrary: fc.record({ attributes }) },
    { weight: 1, arbitrary: fc.record({ collection: fc.constantFrom(...COLLECTIONS), attributes }) },
    { weight: 3, arbitrary: fc.record({ collection: fc.constantFrom('rooms', 'halls'), key: bound, attributes }) },
    {
      weight: 3,
      arbitrary: fc.record({
        collection: fc.constantFrom('rooms', 'halls'),
        prefix: maybe(bound),
        start: maybe(bound),
        end: maybe(bound),
        attributes,
      }),
    },
  )
  .filter((each) => pointsOf(each) !== 0n);

/** On few items, so that queues are long. */
const crowded: fc.Arbitrary<Scope> = fc.constantFrom('a', 'b', 'aa', 'ab').map((key) => ({ collection: 'rooms', key }));

const mode = fc.constantFrom<Mode>('shared', 'update', 'exclusive');
const session = fc.constantFrom('s0', 's1', 's2', 's3', 's4');

function stepsOn(scopes: fc.Arbitrary<Scope>, locksMax: number, sessions: fc.Arbitrary<string>) {
  const id = fc.nat(locksMax - 1).map((n) => `l${n}`);
  const claim = fc.record({ mode, scopes: fc.array(scopes, { minLength: 1, maxLength: 3 }) });
  const held = claim.map((each) => ({ ...each, fence: 1 }));
  const wanted = fc.tuple(claim, fc.nat(9)).map(([each, queued]) => ({ ...each, queued }));
  const lock = fc.oneof(fc.record({ wanted }), fc.record({ held }), fc.record({ held, wanted }));
  const requestId = fc.boolean();
  return fc.array(
    fc.oneof(
      { weight: 5, arbitrary: fc.record({ act: fc.constant('put' as const), id, session: sessions, lock, requestId }) },
      { weight: 1, arbitrary: fc.record({ act: fc.constant('convert' as const), id, wanted }) },
      { weight: 1, arbitrary: fc.record({ act: fc.constant('narrow' as const), id, held }) },
      { weight: 4, arbitrary: fc.record({ act: fc.constantFrom('remove' as const, 'grant' as const), id }) },
      { weight: 1, arbitrary: fc.record({ act: fc.constant('note' as const), id, note: fc.string() }) },
      { weight: 1, arbitrary: fc.record({ act: fc.constant('requeue' as const), id, queued: fc.nat(9) }) },
      {
        weight: 2,
        arbitrary: fc.record({ act: fc.constantFrom('mark' as const, 'mark' as const, 'settle' as const) }),
      },
      { weight: 2, arbitrary: fc.record({ act: fc.constant('rollback' as const), to: fc.nat(9) }) },
    ),
    // By itself fast-check would rarely take more than ten.
    { maxLength: 60, size: 'max' },
  );
}

type Step = ReturnType<typeof stepsOn> extends fc.Arbitrary<(infer S)[]> ? S : never;
/** A step that is about one lock. */
type Change = Extract<Step, { id: string }>;

/** What becomes of a lock by a step; undefined: the step isn't one of a lock that is like this. */
function afterStep(step: Change, lock: Lock | undefined): Lock | undefined {
  switch (step.act) {
    case 'put': {
      const { id, session, requestId } = step;
      return { id, session, bytes: id.length, ...step.lock, ...(requestId && { requestId: `r${id}` }) };
    }
    case 'convert':
      return lock?.held && { ...lock, wanted: step.wanted };
    case 'narrow':
      return lock?.held && { ...lock, held: step.held };
    case 'note':
      return lock && ({ ...lock, note: step.note } as Lock);
    case 'requeue':
      return lock?.wanted && { ...lock, wanted: { ...lock.wanted, queued: step.queued } };
    case 'grant':
      return lock?.wanted && { ...withoutWanted(lock), held: { ...lock.wanted, fence: 2 } };
    default:
      return undefined;
  }
}

function withoutWanted({ wanted: _, ...lock }: Lock): Lock {
  return lock;
}

/** Both tables, brought through the same. */
class Pair {
  readonly table = new LockTable();
  locks = new Map<string, Lock>();
  #marks: { mark: number; locks: Map<string, Lock> }[] = [];

  run(step: Step): void {
    if ('id' in step) this.#change(step);
    else if ('to' in step) this.#rollback(step.to);
    else if (step.act === 'settle') this.#settle();
    else this.#marks.push({ mark: this.table.mark(), locks: new Map(this.locks) });
  }

  #settle(): void {
    this.table.settle();
    this.#marks = [];
  }

  #rollback(to: number): void {
    const target = this.#marks[to % this.#marks.length];
    if (!target) return;
    this.#marks = this.#marks.slice(0, this.#marks.indexOf(target) + 1);
    this.table.rollback(target.mark);
    this.locks = new Map(target.locks);
  }

  #change(step: Change): void {
    const { id } = step;
    const lock = afterStep(step, this.locks.get(id));
    if (!lock && step.act !== 'remove') return;
    const before = new Naive(this.locks.values()).waitsFor();
    if (lock) this.locks.set(id, lock);
    else this.locks.delete(id);
    const now = new Naive(this.locks.values());
    const after = now.waitsFor();
    const changed = now.queue
      .map((each) => each.id)
      .filter((each) => (lock && each === id) || String(before.get(each)) !== String(after.get(each)));
    expect(lock ? this.table.put(lock) : this.table.remove(id)).toEqual(changed);
  }
}

const writes: Write[] = ['a', 'ab', 'b!'].flatMap((key) =>
  [[], ['x'], ['x', 'y'], ['z']].map((names) => ({ collection: 'rooms', key, names })),
);
const somebody = [new Set<string>(), new Set(['s0']), new Set(['s1', 's2'])];

function expectAlike(table: LockTable, locks: ReadonlyMap<string, Lock>): void {
  const naive = new Naive(locks.values());
  expect(table.size).toBe(locks.size);
  expect(table.waiting).toBe(naive.queue.length);
  expect(table.bytes).toBe(naive.bytes());
  expect(table.edges).toBe([...naive.waitsFor().values()].reduce((sum, { length }) => sum + length, 0));
  for (const session of new Set(naive.locks.map((lock) => lock.session))) {
    expect(table.countOf(session)).toBe(naive.locks.filter((lock) => lock.session === session).length);
    expect(table.bytesOf(session)).toBe(naive.bytes(session));
  }
  for (const lock of naive.locks) {
    expect(table.get(lock.id)).toBe(lock);
    if (lock.requestId) expect(table.byRequest(lock.session, lock.requestId)).toBe(lock);
  }
  expectSameWaits(table, naive);
  expectSameWrites(table, naive);
}

function expectSameWaits(table: LockTable, naive: Naive): void {
  const waitsFor = naive.waitsFor();
  for (const lock of naive.locks) {
    expect(table.waitsFor(lock.id)).toEqual(waitsFor.get(lock.id) ?? []);
    expect(table.isReady(lock.id)).toBe(waitsFor.get(lock.id)?.length === 0);
    if (!lock.wanted) continue;
    const { id, session, held, wanted } = lock;
    const found = table.blockers({ id, session, ...wanted, converts: held !== undefined }, 100);
    expect(new Set(found)).toEqual(new Set(naive.blockers(lock)));
    const holding = found.map((other) => clash(other.held, wanted));
    expect(holding).toEqual([...holding].sort((a, b) => Number(b) - Number(a)));
    expect(table.blockers({ id, session, ...wanted, converts: held !== undefined }, 2)).toEqual(found.slice(0, 2));
    const cycle = table.cycle(id);
    expect(cycle !== undefined).toBe(naive.inCycle(lock));
    if (!cycle) continue;
    expect(cycle[0]).toBe(session);
    expect(new Set(cycle).size).toBe(cycle.length);
    expect(naive.isCycle(lock, cycle)).toBe(true);
  }
}

function expectSameWrites(table: LockTable, naive: Naive): void {
  for (const sessions of somebody) {
    for (const write of writes) {
      const refusing = naive.refusing(write, sessions);
      const found = table.refusing(write, sessions);
      if (refusing.length === 0) expect(found).toBeUndefined();
      else expect(refusing).toContain(found);
      expect(table.holds(write, sessions)).toBe(naive.holds(write, sessions));
    }
    for (const region of [{}, { collection: 'rooms' }, { collection: 'halls', prefix: 'a', attributes: ['y'] }]) {
      const there = naive.held.filter((each) => !sessions.has(each.lock.session) && touch(each.scope, region));
      const found = table.overlapping(regionOf(region), sessions);
      if (there.length === 0) expect(found).toBeUndefined();
      else expect(there.map(({ lock }) => lock)).toContain(found);
    }
  }
  for (const session of ['s0', 's1']) {
    const own = naive.locks.filter((lock) => lock.session === session);
    expect(new Set(table.ofSession(session))).toEqual(new Set(own));
  }
}

/** The same locks put into a new table, in the order of `seeds`. */
function rebuilt(locks: ReadonlyMap<string, Lock>, seeds: readonly number[]): LockTable {
  const table = new LockTable();
  const shuffled = [...locks.values()].map((lock, i) => ({ lock, at: seeds[i % seeds.length] ?? 0 }));
  for (const { lock } of shuffled.sort((a, b) => a.at - b.at)) table.put(lock);
  return table;
}

const seeds = fc.array(fc.nat(1000), { minLength: 40, maxLength: 40 });

describe('a table of locks is like the naive one', () => {
  it.each([
    ['on scopes of every kind', stepsOn(scope, 8, session), 100],
    [
      'where long queues cross',
      stepsOn(
        crowded,
        20,
        fc.nat(14).map((n) => `s${n}`),
      ),
      80,
    ],
  ])('%s, after every step, and however it came to be', (_, steps, numRuns) => {
    fc.assert(
      fc.property(steps, seeds, (all, order) => {
        const pair = new Pair();
        for (const step of all) {
          pair.run(step);
          expectAlike(pair.table, pair.locks);
        }
        const other = rebuilt(pair.locks, order);
        expectAlike(other, pair.locks);
        for (const id of pair.locks.keys()) expect(other.cycle(id)).toEqual(pair.table.cycle(id));
      }),
      { numRuns },
    );
  });
});

describe('scopes', () => {
  it('overlap where they share a point, and cover where they have all', () => {
    fc.assert(
      fc.property(scope, scope, (a, b) => {
        expect(overlap(regionOf(a), regionOf(b))).toBe(touch(a, b));
        expect(cover([regionOf(a)], regionOf(b))).toBe(includes(a, b));
      }),
      { numRuns: 3000 },
    );
  });

  it('cover together where the union of their points does', () => {
    fc.assert(
      fc.property(fc.array(scope, { maxLength: 4 }), scope, (outer, inner) => {
        // Collections without number are not covered by those that this pool has.
        const counted = outer.filter((each) => inner.collection !== undefined || each.collection === undefined);
        const union = counted.reduce((points, each) => points | pointsOf(each), 0n);
        expect(cover(outer.map(regionOf), regionOf(inner))).toBe((pointsOf(inner) & ~union) === 0n);
      }),
      { numRuns: 5000 },
    );
  });
});

describe('two locks', () => {
  const AT: Scope[] = [
    {},
    { collection: 'rooms' },
    { collection: 'halls' },
    { collection: 'rooms', prefix: 'a' },
    { collection: 'rooms', prefix: 'b' },
    { collection: 'rooms', start: 'a', end: 'ab' },
    { collection: 'rooms', start: 'ab', end: 'b' },
    { collection: 'rooms', key: 'ab' },
    { collection: 'rooms', key: 'b' },
    { collection: 'halls', key: 'ab' },
  ];
  const SCOPES = AT.flatMap((at) => [at, { ...at, attributes: ['x'] }, { ...at, attributes: ['y', 'z'] }]);
  const MODES: Mode[] = ['shared', 'update', 'exclusive'];
  const pairs = SCOPES.flatMap((a) => SCOPES.map((b) => [a, b] as const));

  it.each(MODES.flatMap((held) => MODES.map((wanted) => [held, wanted] as const)))(
    'in modes %s and %s exclude each other where their scopes overlap, but for those of one session',
    (heldMode, wantedMode) => {
      for (const [a, b] of pairs) {
        for (const session of ['same', 'other']) {
          const table = new LockTable();
          const held = { mode: heldMode, scopes: [a], fence: 1 };
          const wanted = { mode: wantedMode, scopes: [b], queued: 2 };
          table.put({ id: 'held', session: 'same', held });
          table.put({ id: 'wanted', session, wanted });
          const waits = session === 'other' && clash(held, wanted);
          expect(table.waitsFor('wanted'), JSON.stringify([a, b, session])).toEqual(waits ? ['held'] : []);
        }
      }
    },
  );
});
