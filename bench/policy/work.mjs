// GET, PUT, a query by an index, a list by key, and fan-out, without policy, with the operator's key (who is known and bound by nothing), under a role
// rule (everything of the collections), and under an attribute rule (the subject's own items, six of eight attributes of them).
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { generate } from '../generator.mjs';
import { median } from '../statistics.mjs';
import { describe, importItems, pool } from '../transfers.mjs';
import {
  accountOf,
  allow,
  attributesOf,
  keysOf,
  openServer,
  operatorKey,
  setPolicy,
  shown,
  template,
} from './people.mjs';

const keys = 10_000;
const fanKeys = 256; // each of a thousand watchers is first sent all of them
const queried = 100_000;
const matches = 20;
const groups = queried / matches;
const owner = accountOf('some');

const of = (collection) => `/v1/pools/${pool}/collections/${collection}`;
const put = (collection, isWhole) => ({
  ...{ operation: 'custom', method: 'PUT', path: `${of(collection)}/items/{k}` },
  body: `{"attributes":${template({ isWhole })}}`,
});
const where = encodeURIComponent('{"group":"g{n}"}').replace('%7Bn%7D', '{n}');

// What is measured: the generator's flags, and which of its figures counts. Of the groups every other is the subject's.
const operations = {
  GET: { flags: () => ({ operation: 'get', collection: 'items', connections: 64, keys }) },
  PUT: { flags: (isWhole) => ({ ...put('items', isWhole), connections: 64, keys }) },
  query: {
    flags: () => ({
      ...{ operation: 'custom', connections: 16, keys: groups / 2 },
      path: `${of('queried')}/items?where=${where}&limit=${matches}`,
    }),
  },
  list: {
    flags: () => ({
      ...{ operation: 'custom', connections: 16, keys: keys - matches },
      path: `${of('items')}/items?start={k}&limit=${matches}`,
    }),
  },
  'fan-out': {
    flags: (isWhole) => ({ ...put('fan', isWhole), mode: 'fanout', collection: 'fan', connections: 64, keys: fanKeys }),
    figure: 'deliveriesPerSecond',
  },
};

async function measure(start, { seconds, warmSeconds, warmUpSeconds, rounds, watchers = 1000 }, keep, dir) {
  const target = await start(openServer);
  const [role, some] = await keysOf(target, ['role', 'some']);
  const bearers = { off: '', operator: operatorKey, 'role rule': role, 'attribute rule': some };
  await setPolicy(target, {
    roles: { member: [accountOf('role')] },
    rules: [
      allow({ roles: ['member'] }, ['items', 'queried', 'fan']),
      allow({ subjects: [owner] }, ['items', 'queried', 'fan'], {
        where: { owner: '$subject.id' },
        attributes: shown,
      }),
    ],
  });
  await describe(target, 'queried', { indexes: ['group'] });
  await importItems(target, 'items', keys, (n) => attributesOf({}, n));
  await importItems(target, 'fan', fanKeys, (n) => attributesOf({}, n));
  await importItems(target, 'queried', queried, (n) => {
    const group = n % groups;
    return group % 2
      ? attributesOf({ owner: accountOf('other'), group: `h${group}` }, n)
      : attributesOf({ owner, group: `g${group / 2}` }, n);
  });

  const run = async (what, variant, times) => {
    const isWhole = variant !== 'attribute rule';
    const bearer = bearers[variant];
    const file = path.join(dir, 'bearers');
    writeFileSync(file, bearer);
    const flags = { mode: 'requests', ...operations[what].flags(isWhole), ...times, bearer };
    const result = await generate(target, { ...flags, ...(flags.mode === 'fanout' && { watchers, bearers: file }) });
    if (result.errors || result.missing)
      throw new Error(`${what}, ${variant}: ${result.errors} errors, ${result.missing} missing (${result.problem})`);
    return result;
  };
  const variants = Object.keys(bearers);
  for (const what of Object.keys(operations))
    for (const variant of variants) await run(what, variant, { seconds: warmUpSeconds / 2, warm: 0 });
  for (let round = 0; round < rounds; round++) {
    for (const [what, { figure = 'rate' }] of Object.entries(operations)) {
      // Each variant comes first once, so that what drifts falls on all alike.
      const order = variants.map((_, i) => variants[(i + round) % variants.length]);
      const results = {};
      for (const variant of order) results[variant] = await run(what, variant, { seconds, warm: warmSeconds });
      for (const variant of variants) {
        const { [figure]: rate, serverCpu, othersCpu } = results[variant];
        const cpuUs = (1e6 * serverCpu) / rate;
        keep({ what: `${what}, ${variant}`, round, rate, cpuUs, serverCpu, othersCpu });
      }
    }
  }
}

// Ratios are medians of those of each round, whose measurements are a few seconds apart.
function rows(_of, { measurements }) {
  const figures = (target, what, figure) =>
    measurements.filter((m) => m.target === target && m.what === what).map((m) => m[figure]);
  const ratio = (what, variant, figure) => (target) => {
    const offs = figures(target, `${what}, off`, figure);
    return median(figures(target, `${what}, ${variant}`, figure).map((value, i) => value / offs[i]));
  };
  const all = ['operator', 'role rule', 'attribute rule'];
  return Object.keys(operations).flatMap((what) => [
    { text: `${what}/s, policy off`, figure: (target) => median(figures(target, `${what}, off`, 'rate')) },
    ...all.map((variant) => ({
      ...{ text: `${what}, ${variant}, of it`, figure: ratio(what, variant, 'rate'), digits: 2 },
      ...(variant !== 'operator' && { atLeast: 0.8 }),
    })),
    ...all.map((variant) => ({
      ...{ text: `its processor time, to that of off, ${variant}`, figure: ratio(what, variant, 'cpuUs'), digits: 2 },
    })),
  ]);
}

export default { title: 'Work under policy', measure, rows };
