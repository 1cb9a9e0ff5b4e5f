/** The checker of exclusion.ts finds what it is there for: a sound history passes, and each way of tampering with it doesn't. */
import { describe, expect, it } from 'vitest';
import type { Attributes, LoggedChange, LoggedCommit } from './client.js';
import { COUNTERS, checkExclusion, type Step, type WriteStep } from './exclusion.js';

type Change = Pick<LoggedChange, 'op' | 'collection' | 'key' | 'attributes' | 'reason'>;

const commit = (revision: number, ...changes: Change[]): LoggedCommit => ({
  ...{ revision, cursor: `e-${revision}`, time: '', subject: '' },
  changes: changes.map((change) => ({ changed: [], removed: [], previous: {}, ...change })),
});
const lock = (key: string, session: string, fence?: number, item = 'a'): Change => ({
  ...{ op: fence === undefined ? 'add' : 'change', collection: '_locks', key },
  attributes: {
    ...{ session, scopes: [{ collection: COUNTERS, key: item }] },
    ...(fence !== undefined && { fence }),
  } as Attributes,
});
const free = (key: string, reason?: string): Change => ({
  ...{ op: 'delete', collection: '_locks', key, attributes: {} },
  ...(reason !== undefined && { reason }),
});
const put = (last: string, count: number, key = 'a'): Change => ({
  ...{ op: 'change', collection: COUNTERS, key, attributes: { count, last } },
});
const write = (token: string, count: number, by: string, fence: number): WriteStep => ({
  ...{ step: 'write', token, item: 'a', count, lock: by, fence },
});
const written = (token: string, revision: number): Step => ({ step: 'written', token, revision });
const refused = (token: string, status = 412, code = 'lockLost'): Step => ({ step: 'refused', token, status, code });

/** One counts and stalls, its lease runs out, two counts, one comes too late; then three goes on for two. */
const LOG: readonly LoggedCommit[] = [
  commit(1, lock('L1', 'one', 1)),
  commit(2, lock('L2', 'two')),
  commit(3, put('one.1', 1)),
  commit(4, free('L1', 'expired'), lock('L2', 'two', 4)),
  commit(5, put('two.1', 2)),
  commit(6, lock('L2', 'two', 6)),
  commit(7, put('two.2', 3)),
  commit(8, free('L2')),
];
const STEPS: readonly Step[] = [
  write('one.1', 1, 'L1', 1),
  written('one.1', 3),
  write('one.2', 2, 'L1', 1),
  write('two.1', 2, 'L2', 4),
  refused('one.2'),
  { step: 'unanswered', token: 'two.1' },
  write('two.2', 3, 'L2', 6),
  written('two.2', 7),
];

const withCommit = (...changed: LoggedCommit[]) =>
  LOG.map((each) => changed.find(({ revision }) => revision === each.revision) ?? each);
const withStep = (i: number, ...instead: Step[]) => STEPS.toSpliced(i, 1, ...instead);

describe('the checker of exclusion', () => {
  it('passes a sound history, and tells what was in it', () => {
    expect(checkExclusion(LOG, STEPS)).toEqual({
      ...{ faults: [], applied: 3, acknowledged: 2, refused: 1, unanswered: 1, unansweredApplied: 1 },
      ...{ takeovers: 1, resumptions: 1 },
    });
  });

  it.each<[says: string, log: readonly LoggedCommit[], steps: readonly Step[], fault: string]>([
    [
      'a lost update',
      withCommit(commit(5, put('two.1', 1))),
      withStep(3, write('two.1', 1, 'L2', 4)),
      'update was lost',
    ],
    [
      'a late holder’s write',
      withCommit(commit(7, put('one.2', 2))),
      STEPS,
      'one.2 wrote a by L1;1, which then was not held',
    ],
    [
      'a refused write that was applied',
      withCommit(commit(7, put('one.2', 2))),
      STEPS,
      'was refused (412), and the log has it',
    ],
    ['a write under an older fence', LOG, withStep(6, write('two.2', 3, 'L2', 4)), 'which then was held since 6'],
    ['a write under a fence that was granted later', LOG, withStep(3, write('two.1', 2, 'L2', 6)), 'held since 4'],
    [
      'a write to another item than was locked',
      withCommit(commit(1, lock('L1', 'one', 1, 'b'))),
      STEPS,
      'held since 1 on b',
    ],
    [
      'an acknowledged write that is gone',
      LOG.filter(({ revision }) => revision !== 7),
      STEPS,
      'the log has it at undefined',
    ],
    ['an acknowledgement of another revision', LOG, withStep(1, written('one.1', 4)), 'the log has it at 3'],
    ['a write that was applied twice', withCommit(commit(7, put('two.1', 3))), STEPS, 'applied at 5 already'],
    ['a write of nobody', LOG, withStep(6, write('other', 3, 'L2', 6)), 'nobody wrote two.2'],
    ['two holders', withCommit(commit(2, lock('L2', 'two', 2))), STEPS, 'held by one and by two'],
    [
      'a fence that isn’t the revision',
      withCommit(commit(6, lock('L2', 'two', 5))),
      STEPS,
      'granted under the fence 5',
    ],
    ['a refusal of who still held it', LOG, [...STEPS, write('two.3', 4, 'L3', 9), refused('two.3')], 'never ended'],
    ['a refusal for another reason', LOG, withStep(4, refused('one.2', 423, 'locked')), 'refused with 423 locked'],
    ['a lock that is never given back', LOG.slice(0, -1), STEPS, 'still held at the end'],
    ['a client that failed', LOG, [...STEPS, { step: 'failed', detail: 'why' }], 'a client failed: why'],
  ])('finds %s', (_says, log, steps, fault) => {
    expect(checkExclusion(log, steps).faults.join('\n')).toContain(fault);
  });
});
