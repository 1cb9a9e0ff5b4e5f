/**
 * A change of policy while many watch, each of whom sees other items: every one of them is told exactly what it means to them, whether an
 * index leads to their items or all are looked through in one pass.
 */
import { describe, expect, it } from 'vitest';
import { accountOf, asOperator, People, startStrictServer } from '../support/people.js';
import { Scenario } from '../support/scenario.js';
import { databases } from '../support/server.js';
import type { SseEvent } from '../support/sse.js';

const NAMES = Array.from({ length: 12 }, (_, n) => `p${n}`);
const rule = (members: object) => ({
  effect: 'allow',
  actions: ['read', 'watch'],
  who: { anyone: true },
  collections: ['things'],
  ...members,
});
const OWN = { where: { owner: '$subject.id' } };
const named = (name: string) => (event: SseEvent) => event.event === name;

interface Thing {
  readonly owner: string;
  readonly helper: string;
  readonly pay: number;
}
/** Each owns three, and helps with three of others. */
const THINGS = new Map<string, Thing>(
  NAMES.flatMap((name, n) =>
    [0, 1, 2].map((i): [string, Thing] => [
      `${name}-${i}`,
      { owner: accountOf(name), helper: accountOf(NAMES[(n + 1 + i) % NAMES.length] as string), pay: i },
    ]),
  ),
);

type Told = readonly string[];
const keysWhere = (holds: (thing: Thing) => boolean) =>
  [...THINGS].filter(([, thing]) => holds(thing)).map(([key]) => key);
const owned = (me: string) => keysWhere(({ owner }) => owner === me);
const others = (me: string) => keysWhere(({ owner }) => owner !== me);
const each = (keys: Told, op: string) => keys.map((key) => `${op} ${key}`);

describe.each(databases)('a change of policy on $name', ({ name: database }) => {
  it.each<[says: string, before: object[], after: object[], told: (me: string) => Told]>([
    [
      'what is one’s own, without an attribute',
      [rule(OWN)],
      [rule({ ...OWN, attributes: ['owner', 'helper'] })],
      (me) => each(owned(me), 'change'),
    ],
    ['what is one’s own, then all', [rule(OWN)], [rule({})], (me) => each(others(me), 'add')],
    ['all, then what is one’s own', [rule({})], [rule(OWN)], (me) => each(others(me), 'delete')],
    ['what is one’s own, then nothing', [rule(OWN)], [], (me) => each(owned(me), 'delete')],
    ['nothing, then what is one’s own', [], [rule(OWN)], (me) => each(owned(me), 'add')],
    [
      'what is one’s own, then what one helps with',
      [rule(OWN)],
      [rule({ where: { helper: '$subject.id' } })],
      (me) => [
        ...each(owned(me), 'delete'),
        ...each(
          keysWhere(({ helper }) => helper === me),
          'add',
        ),
      ],
    ],
    [
      'what is one’s own, then some of it',
      [rule(OWN)],
      [rule({ where: { owner: '$subject.id', pay: { lt: 2 } } })],
      (me) =>
        each(
          keysWhere(({ owner, pay }) => owner === me && pay >= 2),
          'delete',
        ),
    ],
  ])('%s', async (_says, before, after, told) => {
    const server = await startStrictServer(database);
    for (const indexes of [[], ['owner', 'helper']]) {
      const scenario = new Scenario(server);
      const people = new People(scenario);
      const setPolicy = (rules: readonly object[]) =>
        scenario.calls(['PUT P/collections/_policies/items/main', { attributes: { rules } }, asOperator]);
      if (indexes.length > 0)
        await scenario.calls(['PUT P/collections/_dictionary/items/things', { attributes: { indexes } }, asOperator]);
      const ops = [...THINGS].map(([key, attributes]) => ({ op: 'put', collection: 'things', key, attributes }));
      const made = (await scenario.calls(['POST P/batch', { ops }, asOperator])).body.revision;
      // Who sees nothing at first is let in by a rule of no item.
      const nothing = rule({ where: { owner: 'nobody' } });
      await setPolicy([...before, nothing]);
      const streams = new Map(
        await Promise.all(
          NAMES.map(async (name) => [name, await scenario.watch('C/attach', await people.as(name))] as const),
        ),
      );
      for (const stream of streams.values()) await stream.waitFor(named('live'));
      const { revision } = (await setPolicy([...after, nothing])).body;
      for (const [name, stream] of streams) {
        const { data } = await stream.waitFor(named('changes'), 15_000);
        const changes = data.changes.map(({ op, key }: { op: string; key: string }) => `${op} ${key}`);
        expect(data.revision).toBe(revision);
        // The items are of the commit that made them, whenever they come into sight.
        for (const { op, revision: own } of data.changes) expect(own).toBe(op === 'delete' ? undefined : made);
        expect(changes.sort(), `${name}, indexes ${indexes}`).toEqual([...told(accountOf(name))].sort());
        stream.close();
      }
    }
  });
});
