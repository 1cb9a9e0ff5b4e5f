import { expect, test } from 'vitest';
import { type Item, itemOf } from './item.js';
import { SparseValues } from './sparse-values.js';

/** A server that answers when it is told to. */
function source() {
  const known = new Map<string, number>();
  const asked: { key: string; minRevision: number; answer(item: Item | undefined): void }[] = [];
  const values = new SparseValues(1_000, {
    revisionOf: (key) => known.get(key),
    ask: (key, minRevision) => new Promise((resolve) => asked.push({ key, minRevision, answer: resolve })),
  });
  return { known, asked, values };
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

test('what isn’t there isn’t asked for', async () => {
  const { asked, values } = source();
  expect(await values.fetch('a')).toBeUndefined();
  expect(asked).toEqual([]);
});

test('many ask once, and it is kept until it changes', async () => {
  const { known, asked, values } = source();
  known.set('a', 3);
  const both = [values.fetch('a'), values.fetch('a')];
  asked[0]?.answer(itemOf('a', 3, { n: 1 }));
  expect(await Promise.all(both)).toEqual([itemOf('a', 3, { n: 1 }), itemOf('a', 3, { n: 1 })]);
  await values.fetch('a');
  expect(asked).toHaveLength(1);
  known.set('a', 4);
  values.changed('a', 4);
  expect(values.kept.items).toBe(0);
});

test('a change that comes while it is asked for makes it be asked again', async () => {
  const { known, asked, values } = source();
  known.set('a', 3);
  const fetching = values.fetch('a');
  known.set('a', 5);
  values.changed('a', 5);
  asked[0]?.answer(itemOf('a', 3, { n: 1 }));
  await turn();
  expect(asked[1]).toMatchObject({ minRevision: 5 });
  asked[1]?.answer(itemOf('a', 5, { n: 2 }));
  expect(await fetching).toMatchObject({ revision: 5, attributes: { n: 2 } });
});

test('what is newer than the mirror knows is kept when it comes to know it', async () => {
  const { known, asked, values } = source();
  known.set('a', 3);
  const fetching = values.fetch('a');
  asked[0]?.answer(itemOf('a', 5, { n: 2 }));
  await fetching;
  for (const revision of [4, 5]) values.changed('a', revision);
  expect(values.kept.items).toBe(1);
  values.changed('a', undefined);
  expect(values.kept).toEqual({ items: 0, bytes: 0 });
});
