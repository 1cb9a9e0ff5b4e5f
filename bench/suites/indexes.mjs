// What indexes and the dictionary's checks cost a writer: PUTs of the same items into collections that differ only in what the
// dictionary says of them, in turn, as ratios to the one of which it says nothing. Every PUT changes every indexed value.
import { generate } from '../generator.mjs';
import { figuresMarkdown } from '../report.mjs';
import { median } from '../statistics.mjs';
import { withTarget } from '../targets/all.mjs';
import { describe, importItems, pool } from '../transfers.mjs';

const keys = 10_000;
const body =
  '{"attributes":{"a":{r},"b":{r},"c":{r},"d":{r},"status":"open","title":"Something to be done","mail":"ada@example.org","price":19.99,"tags":["x","y"],"at":"2026-01-31T12:00:00Z"}}';
const schema = {
  type: 'object',
  required: ['a', 'status'],
  properties: {
    ...Object.fromEntries(['a', 'b', 'c', 'd'].map((name) => [name, { type: 'integer', minimum: 0 }])),
    status: { enum: ['open', 'done'] },
    title: { type: 'string', minLength: 1, maxLength: 200 },
    mail: { type: 'string', format: 'email' },
    price: { type: 'number', minimum: 0, multipleOf: 0.01 },
    tags: { type: 'array', items: { type: 'string' }, maxItems: 20 },
    at: { type: 'string', format: 'date-time' },
  },
};
const rules = [
  { rule: 'self.status != "done" || has(self.at)', message: 'what is done has a date' },
  { rule: 'self.price < 1000.0 || size(self.tags) > 0', message: 'what is dear has a tag' },
];

const variants = {
  none: {},
  'index 1': { indexes: ['a'] },
  'index 4': { indexes: ['a', 'b', '-c', ['d', 'a']] },
  schema: { schema },
  'schema and rules': { schema, rules },
};

export async function run({ names, seconds, warmSeconds, warmUpSeconds, rounds, say }) {
  const measurements = [];
  for (const name of names.filter((name) => name.startsWith('stargus'))) {
    await withTarget(name, async (start) => {
      const target = await start();
      const collections = new Map(Object.keys(variants).map((what, i) => [what, `v${i}`]));
      for (const [what, collection] of collections) {
        await describe(target, collection, variants[what]);
        await importItems(
          target,
          collection,
          keys,
          (n) => `{"a":${n},"b":${n},"c":${n},"d":${n},"status":"open","price":1,"tags":[]}`,
        );
      }
      const put = (what, times) =>
        generate(target, {
          ...{ mode: 'requests', operation: 'custom', connections: 64, keys, method: 'PUT', body, ...times },
          path: `/v1/pools/${pool}/collections/${collections.get(what)}/items/k0000000000{n}`,
        });
      await put('none', { seconds: Math.max(5, warmUpSeconds), warm: 0 }); // what is still being compiled would count against whoever is first
      for (let round = 1; round <= rounds; round++) {
        const order = round % 2 ? [...collections.keys()] : [...collections.keys()].reverse();
        for (const what of order) {
          const { rate, errors, problem, serverCpu } = await put(what, { seconds, warm: warmSeconds });
          if (errors) throw new Error(`${what}: ${errors} errors (${problem})`);
          measurements.push({ target: name, round, what, rate, serverCpu });
          say(`${name}, round ${round}/${rounds}: ${what} ${rate.toFixed(0)} PUT/s`);
        }
      }
    });
  }
  return { measurements, markdown: markdownOf(measurements) };
}

function markdownOf(measurements) {
  const ratesOf = (target, what) => measurements.filter((m) => m.target === target && m.what === what);
  // Of the same round, so that what drifts in the machine falls on both.
  const ratio = (what) => (target) =>
    median(
      ratesOf(target, what).map(
        ({ round, rate }) => rate / ratesOf(target, 'none').find((other) => other.round === round).rate,
      ),
    );
  const rows = [
    { text: 'no dictionary, PUT/s', figure: (target) => median(ratesOf(target, 'none').map(({ rate }) => rate)) },
    { text: '1 index, of it', figure: ratio('index 1'), digits: 2 },
    { text: '4 indexes, of it', figure: ratio('index 4'), digits: 2 },
    { text: 'a schema of 10 properties, of it', figure: ratio('schema'), digits: 2 },
    { text: 'the schema and 2 rules, of it', figure: ratio('schema and rules'), digits: 2 },
  ];
  return figuresMarkdown(measurements, rows);
}
