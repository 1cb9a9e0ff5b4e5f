/**
 * The judge of histories finds what it is there for: a sound history, made by hand, passes, and each way of tampering with it is
 * found by whom it concerns. So a green run of histories.test.ts says something.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Attributes, LoggedChange } from './client.js';
import type { Operation, Outcome, ReadItem, ReadRequest, Watch, WatchEvent, WriteRequest } from './history.js';
import { buildJudge, judge } from './judging.js';

type Change = Pick<LoggedChange, 'op' | 'collection' | 'key' | 'changed' | 'removed' | 'attributes' | 'previous'>;

interface Made {
  commits: { revision: number; cursor: string; changes: Change[] }[];
  ops: { -readonly [name in keyof Operation]: Operation[name] }[];
  watches: (Omit<Watch, 'events'> & { events: { -readonly [name in keyof WatchEvent]: WatchEvent[name] }[] })[];
}

const EPOCH = 'e';
const at = (revision: number) => `${EPOCH}-${revision}`;

const change = (op: Change['op'], key: string, attributes: Attributes, previous: Attributes = {}): Change => {
  const changed = [...new Set([...Object.keys(attributes), ...Object.keys(previous)])].sort();
  const removed = changed.filter((name) => !(name in attributes));
  return { op, collection: 'things', key, changed, removed, attributes, previous };
};
const commit = (revision: number, ...changes: Change[]) => ({ revision, cursor: at(revision), changes });

/** Each request takes ten units of time from a hundred times its number on; two at the same time are told so. */
const op = (
  n: number,
  client: number,
  request: WriteRequest | ReadRequest,
  outcome: Outcome,
  takes = 10,
): Operation => ({ type: 'op', client, node: 0, call: n * 100, return: n * 100 + takes, request, outcome });
const write = (token: string, more: Partial<WriteRequest>): WriteRequest => ({
  ...{ kind: 'write', token, puts: [], deletes: [] },
  ...more,
});
const put = (key: string, how: 'put' | 'merge' | 'increment' = 'put') => ({ puts: [{ key, how }] });
const done = (revision: number, more: Partial<Extract<Outcome, { outcome: 'done' }>> = {}): Outcome => ({
  ...{ outcome: 'done', at: revision, committed: true, values: {}, existed: [] },
  ...more,
});
const read = (revision: number, ...items: ReadItem[]): Outcome => ({ outcome: 'done', at: revision, items });
const item = (key: string, revision: number, createdRevision: number, attributes: Attributes): ReadItem => ({
  ...{ key, revision, createdRevision, attributes },
});

const told = (time: number, { revision, changes }: Made['commits'][number]): WatchEvent => ({
  ...{ time, event: 'changes', cursor: at(revision), data: { revision, changes } },
});
const hello = (time: number): WatchEvent => ({ time, event: 'hello', data: { epoch: EPOCH } });
const reached = (time: number, event: 'live' | 'bookmark', revision: number): WatchEvent => ({
  ...{ time, event, cursor: at(revision), data: { revision } },
});

const COMMITS = [
  commit(2, change('add', 'a1', { t: 't1' })),
  commit(3, change('change', 'a1', { t: 't2' }, { t: 't1' })),
  commit(4, change('add', 'a2', { t: 't3' }), change('add', 'b1', { t: 't3' })),
  commit(5, change('delete', 'a1', {}, { t: 't2' })),
  commit(6, change('change', 'b1', { t: 't5', n: 1 }, { t: 't3' })),
  commit(7, change('add', 'z', { t: 't6' })),
] as const;

/** Writers, a reader, a write of which nobody knows, a feed that resumes, and an attachment. */
function sound(): Made {
  const feed = { type: 'watch', watcher: 'feed', node: 0, way: 'feed', values: 'full' } as const;
  return structuredClone({
    commits: [...COMMITS],
    ops: [
      op(1, 1, write('t1', put('a1')), done(2)),
      op(2, 1, write('t2', { ...put('a1'), condition: { key: 'a1', revision: 2 } }), done(3)),
      op(3, 2, { kind: 'get', key: 'a1' }, read(3, item('a1', 3, 2, { t: 't2' }))),
      op(4, 1, write('t3', { puts: [...put('a2').puts, ...put('b1').puts] }), done(4)),
      op(5, 2, write('no', { ...put('a1'), condition: { key: 'a1', revision: 2 } }), { outcome: 'refused', at: 4 }),
      op(6, 1, write('t4', { deletes: ['a1'] }), done(5, { existed: ['a1'] })),
      op(7, 3, write('t5', put('b1', 'increment')), { outcome: 'unknown', why: 'cut' }),
      op(8, 2, { kind: 'range', key: 'b', minRevision: 6 }, read(6, item('b1', 6, 4, { t: 't5', n: 1 }))),
      op(9, 2, write('t9', put('c')), { outcome: 'failed', why: '503' }),
      op(10, 1, write('t6', put('z')), done(7)),
    ],
    watches: [
      {
        ...{ ...feed, open: 50, close: 450 },
        events: [hello(51), reached(52, 'live', 1), told(105, COMMITS[0]), told(205, COMMITS[1])],
      },
      {
        ...{ ...feed, since: at(3), open: 460, close: 2000 },
        events: [
          hello(461),
          ...[told(462, COMMITS[2]), reached(463, 'live', 4), told(605, COMMITS[3]), told(705, COMMITS[4])],
          ...[reached(1020, 'bookmark', 6), told(1021, COMMITS[5])],
        ],
      },
      {
        ...{ ...feed, watcher: 'attach', way: 'attach', prefix: 'b', open: 500, close: 2000 },
        events: [
          hello(501),
          { time: 502, event: 'snapshot', data: { revision: 4, part: 1, items: [item('b1', 4, 4, { t: 't3' })] } },
          ...[reached(503, 'live', 4), told(706, COMMITS[4]), reached(1500, 'bookmark', 7)],
        ],
      },
    ],
  }) as Made;
}

const outcomeOf = (made: Made, i: number, outcome: Outcome) => {
  (made.ops[i] as Made['ops'][number]).outcome = outcome;
};
const eventsOf = (made: Made, i: number) => (made.watches[i] as Made['watches'][number]).events;

let folder: string;
beforeAll(buildJudge, 900_000);
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'stargus-judge-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function judged(made: Made): Promise<string> {
  const lines = [
    { type: 'about', name: 'made by hand', seed: 0, base: at(1) },
    ...made.commits.map((each) => ({ type: 'commit', ...each })),
    ...made.ops,
    ...made.watches,
  ];
  writeFileSync(path.join(folder, 'history.ndjson'), lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  return (await judge(folder)).faults.map(({ by, what }) => `${by}: ${what}`).join('\n');
}

describe('the judge of histories', () => {
  it('passes a sound history', async () => {
    expect(await judged(sound())).toBe('');
  });

  it.each<[tampering: string, tamper: (made: Made) => void, found: readonly RegExp[]]>([
    [
      'a read of the past',
      (made) => outcomeOf(made, 2, read(2, item('a1', 2, 2, { t: 't1' }))),
      [
        /^porcupine: not linearizable, items: a1/m,
        /^log: get a1 was asked for when revision 3 had been told/m,
        /^etcd/m,
      ],
    ],
    [
      'a read of what is in no state',
      (made) => outcomeOf(made, 2, read(3, item('a1', 3, 2, { t: 't1' }))),
      [/^porcupine/m, /^log: get a1 at 3/m, /^etcd/m],
    ],
    [
      'a listing that lacks an item',
      (made) => outcomeOf(made, 7, read(6)),
      [/^porcupine/m, /^log: range b at 6 lacks b1/m],
    ],
    [
      'a read that is older than was asked for',
      (made) => outcomeOf(made, 7, read(4, item('b1', 4, 4, { t: 't3' }))),
      [/^log: a read of b was answered at 4, at least 6/m],
    ],
    [
      'a condition that was ignored',
      (made) => {
        made.ops[1] = op(2, 1, write('t2', { ...put('a1'), condition: { key: 'a1', revision: 1 } }), done(3));
      },
      [/^porcupine: not linearizable, items: a1/m, /^log: revision 3: t2 was done though a1 was at revision 2/m],
    ],
    [
      'a refusal of a condition that held',
      (made) => {
        made.ops[4] = op(5, 2, write('no', { ...put('a1'), condition: { key: 'a1', revision: 3 } }), {
          ...{ outcome: 'refused', at: 4 },
        });
      },
      [/^porcupine/m, /^log: no was refused at 4, where its condition held/m],
    ],
    [
      'an acknowledged write that is lost',
      (made) => made.ops.splice(9, 0, op(9.5, 1, write('lost', put('c')), done(7))),
      [/^log: lost was acknowledged at 7, and the log has it at 0/m],
    ],
    [
      'an acknowledgement of another revision',
      (made) => outcomeOf(made, 0, done(3)),
      [/^log: t1 was acknowledged at 3, and the log has it at 2/m],
    ],
    [
      'a write of which it was said that it wasn’t done',
      (made) => outcomeOf(made, 6, { outcome: 'failed', why: '503' }),
      [/^log: t5 was failed \(503\), and the log has it at 6/m],
    ],
    [
      'a refused write that was done',
      (made) => {
        made.commits.push(commit(8, change('add', 'a1', { t: 'no' })));
      },
      [/^log: no was refused \(\), and the log has it at 8/m],
    ],
    [
      'a commit of nobody',
      (made) => {
        made.commits.push(commit(8, change('add', 'x', { t: 'who' })));
      },
      [/^log: revision 8 has add x who\|\|0, which nobody asked for/m, /^etcd/m],
    ],
    [
      'a write that was done twice',
      (made) => {
        made.commits.push(commit(8, change('change', 'z', { t: 't6' }, { t: 't6' })));
      },
      [/^log: revision 8 has change z t6\|\|0, which nobody asked for, or it had been done already/m],
    ],
    ['a hole in the log', (made) => made.commits.splice(2, 1), [/^log: the log has revision 5 where 4 is next/m]],
    [
      'an order that contradicts the clock',
      (made) => {
        // The write at revision 3 is asked for after that of revision 4 was acknowledged.
        [made.ops[1], made.ops[3]] = [
          { ...(made.ops[3] as Operation), call: 200, return: 210 },
          { ...(made.ops[1] as Operation), call: 400, return: 410 },
        ];
        made.ops.splice(2, 1);
      },
      [/^log: t2 was asked for when revision 4 had been told, and is at 3/m, /^etcd: Linearization failed/m],
    ],
    [
      'a count that is answered twice',
      (made) => outcomeOf(made, 6, done(6, { values: { b1: 2 } })),
      [/^porcupine/m, /^log: t5 was answered that b1 counts 2, it counts 1/m],
    ],
    [
      'events out of order',
      (made) => {
        const events = eventsOf(made, 0);
        [events[2], events[3]] = [told(105, COMMITS[1]), told(205, COMMITS[0])];
      },
      [/^etcd: Broke watch guarantee: .*ordered/m],
    ],
    [
      'an event that comes twice',
      (made) => eventsOf(made, 1).splice(2, 0, told(463, COMMITS[2])),
      [/^etcd: Broke watch guarantee: .*unique/m],
    ],
    [
      'a commit in two events',
      (made) => {
        const [first, second] = COMMITS[2].changes as [Change, Change];
        eventsOf(made, 1).splice(1, 1, told(462, commit(4, first)), told(463, commit(4, second)));
      },
      [/^etcd: Broke watch guarantee: .*atomic/m],
    ],
    [
      'an event that is missing between two',
      (made) => eventsOf(made, 1).splice(3, 1),
      [/^etcd: Broke watch guarantee: .*reliable/m],
    ],
    [
      'an event that is missing where a watch resumes',
      (made) => eventsOf(made, 1).splice(1, 1),
      [/^etcd: Broke watch guarantee: .*resumable/m],
    ],
    [
      'a bookmark that comes too early',
      (made) => eventsOf(made, 1).splice(3, 0, reached(604, 'bookmark', 5)),
      [/^etcd: Broke watch guarantee: .*bookmarkable/m],
    ],
    [
      'a bookmark that hides an event',
      (made) => eventsOf(made, 2).splice(3, 1),
      [/^etcd: Broke watch guarantee: .*reliable/m],
    ],
    [
      'an event that isn’t for the watcher',
      (made) => eventsOf(made, 2).splice(4, 0, told(1022, COMMITS[5])),
      [/^watching: attach at node 1: is told of z/m, /^etcd: event not matching event filter/m],
    ],
    [
      'an event of another value',
      (made) => {
        eventsOf(made, 0)[3] = told(205, commit(3, change('change', 'a1', { t: 'other' }, { t: 't1' })));
      },
      [/^etcd: Broke watch guarantee: .*reliable/m],
    ],
    [
      'a former value that never was',
      (made) => {
        eventsOf(made, 0)[3] = told(205, commit(3, change('change', 'a1', { t: 't2' }, { t: 't0' })));
      },
      [/^watching: revision 3: of a1 was t1\|\|0 before/m],
    ],
    [
      'a change that is told as an addition',
      (made) => {
        const [first] = COMMITS[1].changes as [Change];
        eventsOf(made, 0)[3] = told(205, commit(3, { ...first, op: 'add' }));
      },
      [/^etcd: Incorrect event IsCreate/m],
    ],
    [
      'a snapshot of no state',
      (made) => {
        const [, snapshot] = eventsOf(made, 2);
        Object.assign(snapshot as WatchEvent, {
          data: { revision: 4, part: 1, items: [item('b1', 4, 4, { t: 't1' })] },
        });
      },
      [/^watching: the snapshot of attach at 4 has b1/m],
    ],
    [
      'a commit that is told before it was asked for',
      (made) => Object.assign(eventsOf(made, 0)[2] as WatchEvent, { time: 60 }),
      [/^watching: feed at node 1: is told 2 before that was asked for/m],
    ],
    [
      'a new epoch with an old revision',
      (made) => Object.assign(eventsOf(made, 1)[2] as WatchEvent, { cursor: 'f-4' }),
      [/^watching: feed at node 1: live of revision 4 in the epoch e has the cursor f-4/m],
    ],
    [
      'a reset where the log has it all',
      (made) => eventsOf(made, 1).splice(1, 0, { time: 461, event: 'reset', data: { reason: 'compacted' } }),
      [/^watching: feed at node 1: is told reset \(compacted\)/m],
    ],
  ])('finds %s', async (_tampering, tamper, found) => {
    const made = sound();
    tamper(made);
    const faults = await judged(made);
    for (const pattern of found) expect(faults).toMatch(pattern);
  });
});
