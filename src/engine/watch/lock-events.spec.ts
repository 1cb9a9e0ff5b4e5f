import { expect, it } from 'vitest';
import { type Attributes, type Change, changeBetween, ItemState } from '../state/model.js';
import { lockEventsOf } from './lock-events.js';

function told(
  before: Attributes | undefined,
  after: Attributes | undefined,
  reason?: Change['reason'],
): [session: string, data: object][] {
  const state = (attributes: Attributes | undefined, revision: number) =>
    attributes && new ItemState(undefined, revision, 1, { session: 'anna', ...attributes });
  const change = changeBetween({ collection: '_locks', key: 'l1' }, state(before, 1), state(after, 2)) as Change;
  const events = lockEventsOf({ ...change, ...(reason && { reason }) });
  return events.map(({ session, data }) => [session, data]);
}

const granted = { state: 'granted', fence: 7 };
const waiting = { state: 'waiting', waitsFor: ['l2'], waitsForSessions: ['bert'] };
const contended = (lock: string, session: string) => [session, { lock, type: 'contended', by: 'anna' }] as const;

it.each<
  [
    says: string,
    before: Attributes | undefined,
    after: Attributes | undefined,
    events: (readonly [string, object])[],
    reason?: Change['reason'],
  ]
>([
  ['a lock that is granted at once is in the answer already', undefined, granted, []],
  ['a wait that ends with the grant', waiting, granted, [['anna', { lock: 'l1', type: 'granted', fence: 7 }]]],
  [
    'a wider grant has a new fence',
    { ...granted, mode: 'shared' },
    { ...granted, mode: 'update', fence: 9 },
    [['anna', { lock: 'l1', type: 'granted', fence: 9 }]],
  ],
  ['a narrower grant keeps its fence', { ...granted, mode: 'update' }, { ...granted, mode: 'shared' }, []],
  ['who holds what somebody begins to wait for', undefined, waiting, [contended('l2', 'bert')]],
  [
    'only those who weren’t waited for before',
    waiting,
    { ...waiting, waitsFor: ['l3', 'l2'], waitsForSessions: ['carl', 'bert'] },
    [contended('l3', 'carl')],
  ],
  ['a wait that goes on says nothing', { ...waiting, note: 'a' }, { ...waiting, note: 'b' }, []],
  ['a wait that goes on for less', { ...waiting, waitsFor: ['l2', 'l3'] }, waiting, []],
  [
    'a lock that will be broken',
    granted,
    { ...granted, breakAt: '2026-01-01T00:00:00.000Z' },
    [['anna', { lock: 'l1', type: 'expiring', breaksAt: '2026-01-01T00:00:00.000Z' }]],
  ],
  ['a break that is taken back', { ...granted, breakAt: 'soon' }, granted, []],
  ['a lock that was broken', granted, undefined, [['anna', { lock: 'l1', type: 'broken' }]], 'broken'],
  [
    'a wait that took too long',
    waiting,
    undefined,
    [['anna', { lock: 'l1', type: 'lost', reason: 'timeout' }]],
    'timeout',
  ],
  [
    'a wait for more than is held that took too long',
    { ...waiting, fence: 7, wanted: {} },
    granted,
    [['anna', { lock: 'l1', type: 'lost', reason: 'timeout', fence: 7 }]],
    'timeout',
  ],
  ['a wait for more that its session gives up', { ...waiting, fence: 7, wanted: {} }, granted, []],
  [
    'a resumed session, whose locks have new fences',
    { ...waiting, fence: 7, wanted: {} },
    { ...waiting, fence: 9, wanted: {} },
    [['anna', { lock: 'l1', type: 'granted', fence: 9 }]],
  ],
  [
    'a lock that went with its session',
    granted,
    undefined,
    [['anna', { lock: 'l1', type: 'lost', reason: 'expired' }]],
    'expired',
  ],
  ['a release, which its session asked for', granted, undefined, []],
])('%s', (_says, before, after, events, reason) => expect(told(before, after, reason)).toEqual(events));
