import { describe, expect, it } from 'vitest';
import { clear } from '../access/lens.js';
import { limits } from '../limits.js';
import type { IndexRangeRequest, ItemSource, RangeRequest, StoredItem } from '../ports.js';
import type { Json } from '../state/json.js';
import { compareKeys, isInRange } from '../state/key-order.js';
import { Aggregation } from './aggregate.js';
import { Budget } from './budget.js';
import { parseFilter } from './filter.js';
import { parseAggregates, parseOrder, parsePaths } from './request.js';
import { eachMatch, findPage } from './run.js';
import type { Scope } from './scope.js';

/** A collection in memory, read in one portion, so that nothing but a query itself gives others a turn. */
function scopeOf(values: readonly Json[], bounds: Partial<Scope> = {}): Scope {
  const items: StoredItem[] = values.map((v, i) => ({
    collectionId: 1,
    key: `k${String(i).padStart(4, '0')}`,
    json: JSON.stringify({ v }),
    revision: i + 1,
    createdRevision: i + 1,
  }));
  const source: ItemSource = {
    range: async (_poolId: number, { after, limit, ...range }: RangeRequest) => {
      const found = items.filter(
        ({ key }) => isInRange(key, range) && (after === undefined || compareKeys(key, after) > 0),
      );
      return { items: found.slice(0, limit), more: found.length > limit };
    },
    indexRange: async (_poolId: number, _request: IndexRangeRequest) => ({ items: [], more: false }),
    items: async (_poolId, places) => items.filter((item) => places.some(({ key }) => key === item.key)),
    countRange: async () => items.length,
    countIndex: async () => 0,
  };
  return {
    source,
    poolId: 1,
    collectionId: 1,
    indexes: [],
    items: items.length,
    lens: clear,
    sight: clear,
    scanItemsMax: 1000,
    comparisonStepsMax: Number.MAX_SAFE_INTEGER,
    ...bounds,
  };
}

/** How often others had a turn while the work went on. */
async function turnsDuring(work: () => Promise<unknown>): Promise<number> {
  let turns = 0;
  let isDone = false;
  const count = () => {
    turns++;
    if (!isDone) setImmediate(count);
  };
  setImmediate(count);
  await work();
  isDone = true;
  return turns;
}

const MEMBERS = 4000;
/** Objects that differ only in the last of many members. */
const large = (amount: number): Json[] =>
  Array.from({ length: amount }, (_, i) => ({
    ...Object.fromEntries(Array.from({ length: MEMBERS }, (_each, j) => [`n${(j * 7919) % MEMBERS}`, 1])),
    z: amount - i,
  }));
const request = { filter: undefined, range: {}, order: [], limit: 50, bytesMax: 1e6 };
const refused = (code: string, detail: string) =>
  expect.objectContaining({ code, detail: expect.stringContaining(detail) });

describe('a query of large values', () => {
  it('gives others a turn while it sorts', async () => {
    const scope = scopeOf(large(30));
    let keys: string[] = [];
    const turns = await turnsDuring(async () => {
      const page = await findPage(scope, { ...request, order: parseOrder(['v'], '/order'), limit: 2 });
      keys = page.items.map(({ key }) => key);
    });
    expect(keys).toEqual(['k0029', 'k0028']);
    expect(turns).toBeGreaterThan(10);
  });

  it('gives others a turn within an item, and asks no more than decides', async () => {
    const scope = scopeOf(large(1));
    const filter = (value: number) =>
      parseFilter({ or: Array.from({ length: 33 }, () => ({ v: { lt: { n0: value } } })) }, '/where');
    const turns = await turnsDuring(() => findPage(scope, { ...request, filter: filter(1) }));
    expect(turns).toBeGreaterThan(1);
    const { items } = await findPage(scope, { ...request, filter: filter(2) });
    expect(items).toHaveLength(1);
  });

  it.each<[says: string, run: (scope: Scope) => Promise<unknown>]>([
    ['sorted', (scope) => findPage(scope, { ...request, order: parseOrder(['-v'], '/order') })],
    ['filtered', (scope) => findPage(scope, { ...request, filter: parseFilter({ v: { gt: { n0: 0 } } }, '/where') })],
    [
      'grouped',
      async (scope) => {
        const budget = new Budget(scope);
        const aggregation = new Aggregation(
          parseAggregates({ n: { count: 'v' } }, '/aggregates'),
          parsePaths(['v'], '/groupBy', 1),
        );
        await eachMatch(scope, request, (item) => aggregation.add(item, budget), budget);
        return aggregation.groups(budget);
      },
    ],
  ])('is refused when comparing what is %s costs too much, by name of the bound', async (_says, run) => {
    const values = large(30);
    await run(scopeOf(values));
    await expect(run(scopeOf(values, { comparisonStepsMax: 20_000 }))).rejects.toThrow(
      refused('scanLimit', '20000 steps'),
    );
  });

  it('reads no more at once than others can wait for', async () => {
    const scope = scopeOf([1]);
    const asked: number[] = [];
    const range: ItemSource['range'] = (poolId, wanted) => {
      asked.push(wanted.bytesMax);
      return scope.source.range(poolId, wanted);
    };
    await findPage({ ...scope, source: { ...scope.source, range } }, request);
    expect(asked).toEqual([limits.scanReadBytesMax]);
  });

  it('ends soon when nobody waits for it any more', async () => {
    let asked = 0;
    const isLeft = () => ++asked > 2;
    const query = findPage(scopeOf(large(30), { isLeft }), { ...request, order: parseOrder(['v'], '/order') });
    await expect(query).rejects.toThrow(refused('unavailable', 'left'));
    expect(asked).toBe(3);
  });

  it('is refused for long lists that are searched again and again', async () => {
    const values: Json[] = Array.from({ length: 30 }, () => Array.from({ length: 5000 }, () => ({})));
    const filter = parseFilter({ or: Array.from({ length: 33 }, (_, x) => ({ v: { has: { x } } })) }, '/where');
    await expect(findPage(scopeOf(values, { comparisonStepsMax: 1e6 }), { ...request, filter })).rejects.toThrow(
      refused('scanLimit', '1000000 steps'),
    );
  });

  it('costs nothing where the values are small', async () => {
    const scope = scopeOf(
      Array.from({ length: 1000 }, (_, i) => i % 10),
      { comparisonStepsMax: 0 },
    );
    const filter = parseFilter({ v: { gt: 3, in: [4, 5, 'x'] }, '/v/x': { exists: false } }, '/where');
    const { items } = await findPage(scope, { ...request, filter, order: parseOrder(['-v'], '/order') });
    expect(items).toHaveLength(50);
  });
});
