import { describe, expect, it } from 'vitest';
import type { Lock } from './lock.js';
import { LockTable } from './lock-table.js';
import type { Mode } from './mode.js';
import type { Scope } from './scope.js';

const ROOM: Scope = { collection: 'rooms', key: '1' };
const HALL: Scope = { collection: 'halls', key: '1' };

/** A pool's locks and its revision; a lock is named for its session where the story has one of each. */
class Story {
  readonly table = new LockTable();
  #revision = 0;

  holds(session: string, mode: Mode, scopes: Scope[] = [ROOM], id = session): string[] {
    return this.table.put({ id, session, held: { mode, scopes, fence: ++this.#revision } });
  }

  asks(session: string, mode: Mode, scopes: Scope[] = [ROOM], id = session): string[] {
    return this.table.put({ id, session, wanted: { mode, scopes, queued: ++this.#revision } });
  }

  /** A holder asks for more. */
  converts(id: string, mode: Mode, scopes: Scope[] = [ROOM]): string[] {
    return this.table.put({ ...this.#lock(id), wanted: { mode, scopes, queued: ++this.#revision } });
  }

  grant(id: string): string[] {
    const { wanted, ...lock } = this.#lock(id);
    const { mode, scopes } = wanted ?? fail();
    return this.table.put({ ...lock, held: { mode, scopes, fence: ++this.#revision } });
  }

  #lock(id: string): Lock {
    return this.table.get(id) ?? fail();
  }
}

function fail(): never {
  throw new Error('The story is wrong.');
}

describe('the queue', () => {
  it('lets each wait for the one before it, and a release touch only the next', () => {
    const story = new Story();
    story.holds('holder', 'exclusive');
    const ids = Array.from({ length: 1000 }, (_, i) => `w${i}`);
    for (const [i, id] of ids.entries()) {
      expect(story.asks(id, 'exclusive')).toEqual([id]);
      expect(story.table.waitsFor(id)).toEqual([ids[i - 1] ?? 'holder']);
    }
    expect(story.table.remove('holder')).toEqual(['w0']);
    expect(story.table.waitsFor('w0')).toEqual([]);
    for (const [i, id] of ids.entries()) {
      expect(story.grant(id)).toEqual([]);
      expect(story.table.remove(id)).toEqual(ids.slice(i + 1, i + 2));
    }
    expect(story.table.size).toBe(0);
  });

  it('closes when one of its middle gives up', () => {
    const story = new Story();
    for (const id of ['a', 'b', 'c', 'd']) story.asks(id, 'exclusive');
    expect(story.table.remove('b')).toEqual(['c']);
    expect(story.table.waitsFor('c')).toEqual(['a']);
    expect(story.table.waitsFor('d')).toEqual(['c']);
  });

  it('gives back what was waited for through one that gives up', () => {
    const story = new Story();
    story.holds('a', 'exclusive', [HALL]);
    story.asks('b', 'exclusive', [ROOM, HALL]);
    story.asks('c', 'exclusive', [ROOM]);
    story.asks('d', 'exclusive', [ROOM, HALL]);
    expect(story.table.waitsFor('d')).toEqual(['c']);
    expect(story.table.remove('b')).toEqual(['c', 'd']);
    expect(story.table.waitsFor('c')).toEqual([]);
    expect(story.table.waitsFor('d')).toEqual(['a', 'c']);
  });

  it('mends those behind a gap in their order, so that none waits twice for the same', () => {
    const story = new Story();
    const item = (key: string): Scope => ({ collection: 'rooms', key });
    story.holds('holder', 'exclusive', [item('a')]);
    story.asks('gone', 'exclusive', [item('a'), item('b'), item('c')]);
    story.asks('keeps', 'exclusive', [item('a'), item('c')]);
    story.asks('loses', 'exclusive', [item('b')]);
    story.asks('last', 'exclusive', [item('a'), item('b'), item('c')]);
    expect(story.table.waitsFor('last')).toEqual(['keeps', 'loses']);
    expect(story.table.remove('gone')).toEqual(['keeps', 'loses']);
    expect(story.table.waitsFor('loses')).toEqual([]);
    expect(story.table.waitsFor('keeps')).toEqual(['holder']);
    expect(story.table.waitsFor('last')).toEqual(['keeps', 'loses']);
  });

  it('lets nobody pass one that waits ahead', () => {
    const story = new Story();
    story.holds('reader', 'shared');
    story.asks('writer', 'exclusive');
    story.asks('late', 'shared');
    expect(story.table.waitsFor('late')).toEqual(['writer']);
    story.asks('elsewhere', 'shared', [HALL]);
    expect(story.table.isReady('elsewhere')).toBe(true);
  });

  it('takes a conversion before those who hold nothing', () => {
    const story = new Story();
    story.holds('a', 'shared');
    story.holds('b', 'shared');
    story.asks('writer', 'exclusive');
    expect(story.converts('a', 'exclusive')).toEqual(['a', 'writer']);
    expect(story.table.waitsFor('a')).toEqual(['b']);
    expect(story.table.waitsFor('writer')).toEqual(['a']);
    expect(story.table.remove('b')).toEqual(['a']);
    expect(story.table.isReady('a')).toBe(true);
    expect(story.grant('a')).toEqual([]);
    expect(story.table.waitsFor('writer')).toEqual(['a']);
  });

  it('takes conversions in the order in which they were asked for', () => {
    const story = new Story();
    for (const id of ['a', 'b']) story.holds(id, 'shared', [{ collection: id }]);
    story.holds('c', 'exclusive');
    story.converts('b', 'exclusive');
    story.converts('a', 'exclusive');
    expect(story.table.waitsFor('b')).toEqual(['c']);
    expect(story.table.waitsFor('a')).toEqual(['b']);
  });
});

describe('the modes', () => {
  it('let two readers and one who may write be together', () => {
    const story = new Story();
    story.holds('a', 'shared');
    story.holds('b', 'shared');
    story.asks('u', 'update');
    expect(story.table.isReady('u')).toBe(true);
    story.grant('u');
    story.asks('c', 'shared');
    expect(story.table.isReady('c')).toBe(true);
  });

  it('keep a second one that may write waiting', () => {
    const story = new Story();
    story.holds('u', 'update');
    story.asks('v', 'update');
    expect(story.table.waitsFor('v')).toEqual(['u']);
  });

  it('bind no session against itself', () => {
    const story = new Story();
    story.holds('s', 'exclusive', [{}], 'one');
    story.asks('s', 'exclusive', [ROOM], 'two');
    expect(story.table.isReady('two')).toBe(true);
    expect([...story.table.ofSession('s')].map(({ id }) => id)).toEqual(['one', 'two']);
  });
});

describe('a deadlock', () => {
  it.each([2, 3, 4, 5])('of %i sessions is found by the one that closes it', (count) => {
    const story = new Story();
    const sessions = Array.from({ length: count }, (_, i) => `s${i}`);
    const room = (i: number): Scope => ({ collection: 'rooms', key: String(i % count) });
    for (const [i, session] of sessions.entries()) story.holds(session, 'exclusive', [room(i)]);
    const last = count - 1;
    for (const [i, session] of sessions.entries()) {
      story.asks(session, 'shared', [room(i + 1)], `wait${i}`);
      if (i < last) expect(story.table.cycle(`wait${i}`)).toBeUndefined();
    }
    expect(story.table.cycle(`wait${last}`)).toEqual([`s${last}`, ...sessions.slice(0, last)]);
    story.table.remove(`wait${last}`);
    expect(story.table.cycle('wait0')).toBeUndefined();
  });

  it('of two readers that both would write is found', () => {
    const story = new Story();
    story.holds('a', 'shared');
    story.holds('b', 'shared');
    story.converts('a', 'exclusive');
    expect(story.table.cycle('a')).toBeUndefined();
    story.converts('b', 'exclusive');
    expect(story.table.cycle('b')).toEqual(['b', 'a']);
    // Others wait for both: none of them is lost because each waits for the other.
    story.asks('c', 'exclusive');
    expect(story.table.isReady('c')).toBe(false);
    expect(story.table.cycle('c')).toBeUndefined();
  });

  it('through the queue is found too', () => {
    const story = new Story();
    story.holds('a', 'shared');
    story.holds('b', 'exclusive', [HALL]);
    story.asks('b', 'exclusive', [ROOM], 'b2');
    story.asks('c', 'shared');
    story.asks('a', 'exclusive', [HALL], 'a2');
    expect(story.table.cycle('a2')).toEqual(['a', 'b']);
    expect(story.table.cycle('c')).toBeUndefined();
  });
});

describe('a write', () => {
  const write = { collection: 'rooms', key: '1', names: ['color'] };

  it('is refused by a lock of another session in any mode', () => {
    for (const mode of ['shared', 'update', 'exclusive'] as const) {
      const story = new Story();
      story.holds('a', mode);
      expect(story.table.refusing(write, new Set())?.id).toBe('a');
      expect(story.table.refusing(write, new Set(['a']))).toBeUndefined();
      expect(story.table.refusing({ ...write, key: '2' }, new Set())).toBeUndefined();
    }
  });

  it('is not refused by one that waits', () => {
    const story = new Story();
    story.asks('a', 'exclusive');
    expect(story.table.refusing(write, new Set())).toBeUndefined();
    expect(story.table.holds(write, new Set(['a']))).toBe(false);
  });

  it('meets a lock on attributes by what it sets', () => {
    const story = new Story();
    story.holds('a', 'exclusive', [{ attributes: ['color'] }]);
    story.holds('b', 'exclusive', [{ ...ROOM, attributes: ['size'] }]);
    const of = (...names: string[]) => ({ ...write, names });
    expect(story.table.refusing(of('name'), new Set())).toBeUndefined();
    expect(story.table.refusing(of(), new Set())).toBeUndefined();
    expect(story.table.refusing(of('name', 'size'), new Set())?.id).toBe('b');
    expect(story.table.holds(of('color', 'size'), new Set(['a', 'b']))).toBe(true);
    expect(story.table.holds(of('color', 'size'), new Set(['a']))).toBe(false);
    expect(story.table.holds(of(), new Set(['a', 'b']))).toBe(false);
  });

  it('into a part of a collection meets the locks on the items there', () => {
    const story = new Story();
    story.holds('a', 'shared', [{ collection: 'rooms', prefix: '1' }]);
    const at = (scope: Scope) =>
      story.table.overlapping({ collection: scope.collection, range: {}, attributes: undefined }, new Set());
    expect(at({ collection: 'rooms' })?.id).toBe('a');
    expect(at({})?.id).toBe('a');
    expect(at({ collection: 'halls' })).toBeUndefined();
  });
});

describe('what stands in the way of a request', () => {
  it('is told with holders first, and no more than asked for', () => {
    const story = new Story();
    story.asks('w', 'exclusive');
    story.holds('h', 'shared');
    const request = { id: 'new', session: 's', mode: 'exclusive', scopes: [ROOM], queued: 9, converts: false } as const;
    const ids = (max: number) => story.table.blockers(request, max).map(({ id }) => id);
    expect(ids(9)).toEqual(['h', 'w']);
    expect(ids(1)).toEqual(['h']);
    expect(story.table.blockers({ ...request, converts: true }, 9).map(({ id }) => id)).toEqual(['h']);
    expect(story.table.blockers({ ...request, mode: 'shared' }, 9).map(({ id }) => id)).toEqual(['w']);
  });
});

describe('a request', () => {
  it('is found again by its name while its lock is there', () => {
    const { table } = new Story();
    table.put({ id: 'a', session: 's', requestId: 'r', wanted: { mode: 'shared', scopes: [ROOM], queued: 1 } });
    expect(table.byRequest('s', 'r')?.id).toBe('a');
    expect(table.byRequest('t', 'r')).toBeUndefined();
    table.remove('a');
    expect(table.byRequest('s', 'r')).toBeUndefined();
  });
});

describe('a rollback', () => {
  it('undoes what came after its mark, and a settled journal nothing', () => {
    const story = new Story();
    story.holds('a', 'exclusive');
    const first = story.table.mark();
    story.asks('b', 'exclusive');
    const second = story.table.mark();
    story.table.remove('a');
    expect(story.table.isReady('b')).toBe(true);
    story.table.rollback(second);
    expect(story.table.waitsFor('b')).toEqual(['a']);
    story.table.rollback(first);
    expect([story.table.size, story.table.waiting]).toEqual([1, 0]);
    story.asks('c', 'shared');
    story.table.settle();
    expect(story.table.mark()).toBe(0);
    story.table.rollback(0);
    expect(story.table.waitsFor('c')).toEqual(['a']);
  });
});
