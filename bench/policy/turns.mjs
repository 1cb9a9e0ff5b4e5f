// A change of policy while a thousand watchers, each a subject of its own, attend to a collection of ten thousand items: how long until
// the last of them is told what it means. Between two measurements the policy is changed back.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { generate } from '../generator.mjs';
import { describe, importItems, pool, send } from '../transfers.mjs';
import {
  accountOf,
  allow,
  attributesOf,
  everyAccount,
  keysOf,
  openServer,
  operatorKey,
  policyPath,
  setPolicy,
  shown,
} from './people.mjs';

const collections = { shared: 'turned', indexed: 'owned', unindexed: 'scanned' };
const shareOf = 100; // one in so many items is hidden

async function measure(start, { rounds, watchers = 1000, items = 10_000 }, keep, dir) {
  const target = await start(openServer);
  const bearers = path.join(dir, 'bearers');
  writeFileSync(
    bearers,
    (
      await keysOf(
        target,
        Array.from({ length: watchers }, (_, n) => `u${n}`),
      )
    ).join('\n'),
  );
  await describe(target, collections.indexed, { indexes: ['owner'] });
  for (const collection of Object.values(collections))
    await importItems(target, collection, items, (n) =>
      attributesOf({ owner: accountOf(`u${n % watchers}`), rank: n % shareOf === 0 ? 1 : 0 }, n),
    );
  const own = { where: { owner: '$subject.id' } };
  const cases = {
    // All see the same before and after: one of every hundred items is denied to each.
    'equal rules': { collection: collections.shared, before: {}, after: { where: { rank: 0 } } },
    // Nobody sees the same: two attributes of each own item are hidden.
    'own items, indexed': { collection: collections.indexed, before: own, after: { ...own, attributes: shown } },
    'own items, no index': { collection: collections.unindexed, before: own, after: { ...own, attributes: shown } },
    // Of what is watched nothing changes.
    'another collection': { collection: collections.shared, before: {}, after: {}, other: 'elsewhere' },
  };
  for (let round = -1; round < rounds; round++) {
    for (const [what, { collection, before, after, other }] of Object.entries(cases)) {
      const policy = (more, others = []) => ({ rules: [allow(everyAccount, [collection, ...others], more)] });
      await setPolicy(target, policy(before));
      // Who resumes is sent no snapshot, which would take a thousand times as long as is measured here.
      const { cursor } = await send(target, 'GET', '/changes?since=now');
      const result = await generate(target, {
        ...{
          mode: 'turn',
          watchers,
          collection,
          bearers,
          warm: 1,
          method: 'PUT',
          path: policyPath,
          bearer: operatorKey,
        },
        body: JSON.stringify({ attributes: policy(after, other ? [other] : []) }),
        watch: `/v1/pools/${pool}/collections/${collection}/attach?values=none&bookmarkMs=1000&since=${cursor}`,
      });
      if (round >= 0) keep({ what, round, ...result });
    }
  }
}

function rows(of) {
  const told = (what, text) => [
    { text: `${text}: the first is told, ms`, figure: of(what, 'firstMs') },
    { text: 'the last, ms', figure: of(what, 'lastMs') },
  ];
  return [
    ...told('equal rules', 'equal rules, 1 % of the items is denied'),
    ...told('own items, indexed', 'an owner rule, two attributes are hidden, an index on the owner'),
    ...told('own items, no index', 'the same without the index'),
    ...told('another collection', 'a rule of another collection (a bookmark is told)'),
  ];
}

export default { title: 'A change of policy', measure, rows };
