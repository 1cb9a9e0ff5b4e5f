// A thousand watchers that are a thousand subjects under one set of rules, beside as many anonymous ones: what they are sent in a second,
// and how many views are judged for each commit. Under a role rule all see the same; under an owner rule each sees what is theirs, as
// anonymous watchers do who filter by an owner.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { generate } from '../generator.mjs';
import { median } from '../statistics.mjs';
import { importItems, pool } from '../transfers.mjs';
import {
  accountOf,
  allow,
  attributesOf,
  counters,
  everyAccount,
  keysOf,
  openServer,
  setPolicy,
  template,
} from './people.mjs';

const fanKeys = 256;
const EVALUATIONS = 'stargus_watch_evaluations_total';
const COMMITS = 'stargus_commits_total';

async function measure(start, { seconds, warmSeconds, warmUpSeconds, rounds, watchers = 1000 }, keep, dir) {
  const target = await start(openServer);
  const bearers = path.join(dir, 'bearers');
  const names = Array.from({ length: watchers }, (_, n) => `u${n}`);
  writeFileSync(bearers, (await keysOf(target, names)).join('\n'));
  await setPolicy(target, {
    rules: [allow(everyAccount, ['fan']), allow(everyAccount, ['own'], { where: { owner: '$subject.id' } })],
  });
  const owned = { owner: accountOf('u{n}') };
  await importItems(target, 'fan', fanKeys, (n) => attributesOf({}, n));
  await importItems(target, 'own', watchers, (n) => attributesOf(owned, n));

  const writing = (collection, options) => ({
    ...{ mode: 'fanout', connections: 64, watchers, collection, operation: 'custom', method: 'PUT' },
    path: `/v1/pools/${pool}/collections/${collection}/items/{k}`,
    body: `{"attributes":${template(options)}}`,
  });
  const own = encodeURIComponent(`{"owner":"${accountOf('u{n}')}"}`).replace('%7Bn%7D', '{n}');
  const all = { ...writing('fan', {}), keys: fanKeys };
  const each = { ...writing('own', owned), keys: watchers, told: 1 };
  const cases = {
    'all, anonymous': all,
    'all, role rule': { ...all, bearers },
    'each, anonymous': { ...each, watch: `/v1/pools/${pool}/collections/own/attach?where=${own}` },
    'each, owner rule': { ...each, bearers },
  };
  for (const flags of Object.values(cases)) await generate(target, { ...flags, seconds: warmUpSeconds / 2, warm: 0 });
  for (let round = 0; round < rounds; round++) {
    for (const what of round % 2 ? Object.keys(cases).reverse() : Object.keys(cases)) {
      const before = await counters(target, [EVALUATIONS, COMMITS]);
      const result = await generate(target, { ...cases[what], seconds, warm: warmSeconds });
      const after = await counters(target, [EVALUATIONS, COMMITS]);
      if (result.errors || result.missing)
        throw new Error(`${what}: ${result.errors} errors, ${result.missing} missing (${result.problem})`);
      const { deliveriesPerSecond, writesPerSecond, serverCpu, othersCpu } = result;
      const evaluations = (after[EVALUATIONS] - before[EVALUATIONS]) / (after[COMMITS] - before[COMMITS]);
      keep({ what, round, deliveriesPerSecond, writesPerSecond, evaluations, serverCpu, othersCpu });
    }
  }
}

function rows(of, { measurements }) {
  const figures = (target, what) =>
    measurements.filter((m) => m.target === target && m.what === what).map((m) => m.deliveriesPerSecond);
  const ratio = (what, other) => (target) => {
    const others = figures(target, other);
    return median(figures(target, what).map((value, i) => value / others[i]));
  };
  return [
    { text: 'every write to all: deliveries/s, anonymous', figure: of('all, anonymous', 'deliveriesPerSecond') },
    {
      text: 'as many subjects, role rule, of it',
      figure: ratio('all, role rule', 'all, anonymous'),
      digits: 2,
      atLeast: 0.8,
    },
    { text: 'evaluations of a commit, anonymous', figure: of('all, anonymous', 'evaluations'), digits: 2 },
    { text: 'as many subjects, role rule', figure: of('all, role rule', 'evaluations'), digits: 2, atMost: 1.01 },
    {
      text: 'every write to one: deliveries/s, anonymous, by a filter',
      figure: of('each, anonymous', 'deliveriesPerSecond'),
    },
    {
      text: 'as many subjects, owner rule, of it',
      figure: ratio('each, owner rule', 'each, anonymous'),
      digits: 2,
      atLeast: 0.8,
    },
    { text: 'evaluations of a commit, anonymous', figure: of('each, anonymous', 'evaluations'), digits: 2 },
    { text: 'as many subjects, owner rule', figure: of('each, owner rule', 'evaluations'), digits: 2, atMost: 1.01 },
  ];
}

export default { title: 'A thousand subjects that watch', measure, rows };
