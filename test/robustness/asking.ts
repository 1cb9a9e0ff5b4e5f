/** Random collections, indexes and queries: small domains, so that values collide, around every border of types and bytes. */
import fc from 'fast-check';
import type { Json } from './client.js';
import type { Where } from './reference.js';

export const LONG = 'x'.repeat(253);
/** Few values, so that they collide: around every border of types, bytes and lengths. Long ones are cut in indexes. */
const scalars: Json[] = [
  ...[false, true, 0, 1, -1, 1.5, -2.25, 10, 2 ** 53, -1e21, 1e300, 5e-324],
  ...['', 'a', 'aa', 'ab', 'b', '10', '\0', 'a\0', 'a\0b', 'a\u0001', 'é', '\uffee', '😀', '😀a', '%', 'a_', "'"],
  ...[LONG, `${LONG}a`, `${LONG}aa`, `${LONG}é`, `${LONG}ab`, `${LONG}${LONG}a`, `${LONG}${LONG}b`],
];
const containers: Json[] = [
  ...[[], [1], [1, 2], ['a'], [null], [[]], [false, 'a'], [LONG, 1], [LONG, 2], [LONG, 'b', 2]],
  ...[{}, { k: 1 }, { k: null }, { k: 'a', l: 2 }, { l: 2, k: 'a' }, { l: [1] }, { k: { k: 1 } }, { k: LONG, l: 1 }],
];
const value = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom<Json>(1, 2, 'a', 'b', true) },
  { weight: 3, arbitrary: fc.constantFrom(...scalars) },
  { weight: 2, arbitrary: fc.constantFrom(...containers) },
);
const attributes = fc.dictionary(fc.constantFrom('a', 'b', 'c', 'or', 'ü/~'), value, { maxKeys: 5 });
const keyText = fc.string({
  unit: fc.constantFrom('a', 'b', 'B', 'é', '\uffee', '😀', ' '),
  minLength: 1,
  maxLength: 3,
});

/** Mostly the same two, so that filters, orders and indexes meet. */
const attributePath = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom('a', 'b') },
  { weight: 2, arbitrary: fc.constantFrom('c', '/a', '/or', '/ü~1~0', 'ü/~', '/a/k', '/a/0', '/c/k/k') },
);
const path = fc.oneof(
  { weight: 8, arbitrary: attributePath },
  { weight: 1, arbitrary: fc.constantFrom('/@key', '/@revision') },
);
const isOwn = (name: string) => name.startsWith('/@');
const isTop = (name: string) => isOwn(name) || !name.startsWith('/') || name.lastIndexOf('/') === 0;

const operand = (name: string): fc.Arbitrary<Json> => {
  if (name === '/@key') return keyText;
  if (name === '/@revision') return fc.integer({ min: 0, max: 40 });
  return isTop(name) ? value : fc.oneof(value, fc.constant(null));
};
const oneTest = path.chain((name): fc.Arbitrary<Where> => {
  const one = operand(name);
  const some = fc.array(one, { maxLength: 4 });
  const present = one.filter((wanted) => wanted !== null);
  const operators = fc.oneof(
    { weight: 4, arbitrary: one.map((eq): Where => ({ eq })) },
    { weight: 2, arbitrary: some.map((list): Where => ({ in: list })) },
    { weight: 1, arbitrary: fc.oneof(one, fc.constant(null)).map((ne): Where => ({ ne })) },
    { weight: 1, arbitrary: some.map((nin): Where => ({ nin })) },
    {
      weight: 4,
      arbitrary: fc.tuple(fc.constantFrom('lt', 'lte', 'gt', 'gte'), present).map((each) => Object.fromEntries([each])),
    },
    {
      weight: 2,
      arbitrary: fc
        .constantFrom('', 'a', 'x', LONG, `${LONG}a`, `${LONG}aaa`, '\0', '😀')
        .map((prefix): Where => ({ prefix })),
    },
    { weight: 1, arbitrary: one.map((has): Where => ({ has })) },
    { weight: 2, arbitrary: fc.boolean().map((exists): Where => ({ exists })) },
  );
  return fc.array(operators, { minLength: 1, maxLength: 2 }).map((each) => ({ [name]: Object.assign({}, ...each) }));
});
const joined = (parts: fc.Arbitrary<Where>) =>
  fc.array(parts, { minLength: 1, maxLength: 3 }).map((each): Where => Object.assign({}, ...each));
const { where } = fc.letrec<{ where: Where; logic: Where }>((tie) => ({
  where: fc.oneof(
    { maxDepth: 3, depthIdentifier: 'where' },
    { weight: 4, arbitrary: joined(oneTest) },
    { weight: 2, arbitrary: fc.tuple(joined(oneTest), tie('logic')).map(([a, b]) => ({ ...a, ...b })) },
    { weight: 1, arbitrary: tie('logic') },
  ),
  logic: fc.oneof(
    { depthIdentifier: 'where' },
    fc.array(tie('where'), { maxLength: 3, depthIdentifier: 'where' }).map((or): Where => ({ or })),
    fc.array(oneTest, { minLength: 1, maxLength: 3 }).map((or): Where => ({ or })),
    fc.array(tie('where'), { maxLength: 3, depthIdentifier: 'where' }).map((and): Where => ({ and })),
    tie('where').map((not): Where => ({ not })),
  ),
}));

const signed = (names: fc.Arbitrary<string>) =>
  fc.tuple(names, fc.boolean()).map(([name, descending]) => (descending ? `-${name}` : name));
const index = fc.uniqueArray(signed(attributePath), { minLength: 1, maxLength: 3, selector: pathOf });
const indexes = fc.uniqueArray(index, { maxLength: 4, size: 'max', selector: (parts) => parts.join() });

/** One spelling of each place, for the same may not be in an index twice. */
function pathOf(term: string): string {
  const name = term.replace(/^-/, '');
  return name.startsWith('/') ? name : `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;
}

const optional = <T>(of: fc.Arbitrary<T>) => fc.option(of, { nil: undefined, freq: 3 });
const asked = fc.record({
  where: fc.option(where, { nil: undefined, freq: 6 }),
  prefix: fc.option(keyText, { nil: undefined, freq: 1 }),
  start: optional(keyText),
  end: optional(keyText),
  order: fc.array(signed(path), { maxLength: 3 }),
  limit: fc.constantFrom(1, 2, 3, 7, 1000),
  groupBy: fc.uniqueArray(attributePath, { maxLength: 2 }),
  numbers: path,
});
export type Drawn = typeof asked extends fc.Arbitrary<infer T> ? T : never;

export const collection = fc.record({
  before: indexes,
  items: fc.array(fc.tuple(keyText, attributes), { maxLength: 40, size: 'max' }),
  after: fc.option(indexes, { nil: undefined }),
  changes: fc.array(fc.tuple(keyText, fc.option(attributes)), { maxLength: 10 }),
  queries: fc.array(asked, { minLength: 1, maxLength: 8, size: 'max' }),
});
