import { expect, test } from 'vitest';
import { type Item, itemOf } from './item.js';
import { SparseValues } from './sparse-values.js';

/** A server that answers when it is told to, and a mirror that knows of what it is told. */
function source() {
  const known = new Set<string>();
  let revision = 0;
  const asked: { key: string; minRevision: number; answer(item: Item | undefined): void }[] = [];
  const values = new SparseValues(1_000, {
    has: (key) => known.has(key),
    revision: () => revision,
    ask: (key, minRevision) => new Promise((resolve) => asked.push({ key, minRevision, answer: resolve })),
  });
  /** A commit alters an item; undefined: takes it away. */
  const commit = (at: number, key: string, isThere = true) => {
    revision = at;
    if (isThere) known.add(key);
    else known.delete(key);
    values.changed(key, at);
  };
  return { known, asked, values, commit };
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

test('what isn’t there isn’t asked for', async () => {
  const { asked, values } = source();
  expect(await values.fetch('a')).toBeUndefined();
  expect(asked).toEqual([]);
});

test('many ask once, and it is kept until it changes', async () => {
  const { asked, values, commit } = source();
  commit(3, 'a');
  const both = [values.fetch('a'), values.fetch('a')];
  asked[0]?.answer(itemOf('a', 3, { n: 1 }));
  expect(await Promise.all(both)).toEqual([itemOf('a', 3, { n: 1 }), itemOf('a', 3, { n: 1 })]);
  commit(4, 'b');
  await values.fetch('a');
  expect(asked).toHaveLength(1);
  commit(5, 'a');
  expect(values.kept.items).toBe(0);
});

test('a change that comes while it is asked for makes it be asked again', async () => {
  const { asked, values, commit } = source();
  commit(3, 'a');
  const fetching = values.fetch('a');
  commit(5, 'a');
  asked[0]?.answer(itemOf('a', 3, { n: 1 }));
  await turn();
  expect(asked[1]).toMatchObject({ minRevision: 5 });
  asked[1]?.answer(itemOf('a', 5, { n: 2 }));
  expect(await fetching).toMatchObject({ revision: 5, attributes: { n: 2 } });
});

test('what is newer than the mirror knows is kept when it comes to know it', async () => {
  const { asked, values, commit } = source();
  commit(3, 'a');
  const fetching = values.fetch('a');
  asked[0]?.answer(itemOf('a', 5, { n: 2 }));
  await fetching;
  for (const revision of [4, 5]) commit(revision, 'a');
  expect(values.kept.items).toBe(1);
  commit(6, 'a', false);
  expect(values.kept).toEqual({ items: 0, bytes: 0 });
});

test('an item that is older than the commit that told of it is asked for once', async () => {
  const { asked, values, commit } = source();
  // Several commits that are told as one, by a server that doesn't say which of them altered it.
  commit(10, 'a');
  const fetching = values.fetch('a');
  expect(asked[0]).toMatchObject({ minRevision: 10 });
  asked[0]?.answer(itemOf('a', 7, { n: 1 }));
  expect(await fetching).toMatchObject({ revision: 7 });
  expect(await values.fetch('a')).toMatchObject({ revision: 7 });
  expect(asked).toHaveLength(1);
  // A policy shows more of it, though nobody wrote it.
  commit(20, 'a');
  const again = values.fetch('a');
  expect(asked[1]).toMatchObject({ minRevision: 20 });
  asked[1]?.answer(itemOf('a', 7, { n: 1, secret: 2 }));
  expect((await again)?.attributes).toEqual({ n: 1, secret: 2 });
});

test('nothing of another life of the pool is kept, where revisions begin anew', async () => {
  const { asked, values, commit } = source();
  commit(50, 'a');
  commit(51, 'b');
  const [kept, late] = [values.fetch('a'), values.fetch('b')];
  asked[0]?.answer(itemOf('a', 50, { life: 1 }));
  await kept;
  values.reset();
  for (const [at, key] of [
    [1, 'a'],
    [2, 'b'],
  ] as const)
    commit(at, key);
  asked[1]?.answer(itemOf('b', 51, { life: 1 }));
  const both = [values.fetch('a'), late];
  await turn();
  expect(asked.slice(2).map(({ key, minRevision }) => [key, minRevision])).toEqual([
    ['a', 2],
    ['b', 2],
  ]);
  asked[2]?.answer(itemOf('a', 1, { life: 2 }));
  asked[3]?.answer(itemOf('b', 2, { life: 2 }));
  expect((await Promise.all(both)).map((item) => item?.attributes.life)).toEqual([2, 2]);
});

test('what couldn’t be had is asked for again', async () => {
  const known = { has: () => true, revision: () => 1 };
  let asked = 0;
  const values = new SparseValues(1_000, {
    ...known,
    ask: async (key) => {
      if (++asked === 1) throw new Error('away');
      return itemOf(key, 1, {});
    },
  });
  await expect(values.fetch('a')).rejects.toThrow('away');
  expect(await values.fetch('a')).toMatchObject({ key: 'a' });
});
