/**
 * The second process: changes some cities of a country and some of others, and tells its parent how many it changed where
 * and what the last revision was.
 */
import { randomUUID } from 'node:crypto';
import { COLLECTION } from './cities.mjs';
import { connect } from './stargus.mjs';

const [url, country] = process.argv.slice(2);
const stargus = connect(url);
const { items } = await stargus.listItems(`prefix=${country}/&limit=3`);
const here = items.map(({ key }) => key);
const elsewhere = await foreignCities();

const visit = (key) => ({ op: 'increment', collection: COLLECTION, key, attribute: 'visits', by: 1 });
const found = { collection: COLLECTION, key: `${country}/Stargusville/0,0` };
const counts = { here: 0, elsewhere: 0 };
let revision = 0;

for (const key of here) await commit([visit(key)]);
for (const key of elsewhere) await commit([visit(key)]);
// One commit over several countries: each watcher is told its part of it, at the same revision.
await commit(
  [...here, ...elsewhere].map((key) => ({ op: 'merge', collection: COLLECTION, key, attributes: { twinned: true } })),
);
await commit([{ op: 'put', ...found, attributes: { name: 'Stargusville', country } }]);
await commit([{ op: 'delete', ...found }]);
// Last, something that is not for the watcher: only a bookmark can tell it that all has been said.
await commit(elsewhere.map((key) => ({ op: 'unset', collection: COLLECTION, key, names: ['twinned'] })));

process.send?.({ ...counts, revision });
process.disconnect?.();

async function commit(ops) {
  ({ revision } = await stargus.batch(ops, randomUUID()));
  for (const { key } of ops) counts[key.startsWith(`${country}/`) ? 'here' : 'elsewhere']++;
}

/** Cities before and after the country in the order of keys; `0` is the character after `/`. */
async function foreignCities() {
  const before = await stargus.listItems(`end=${country}/&limit=2`);
  const after = await stargus.listItems(`start=${country}0&limit=2`);
  return [...before.items, ...after.items].map(({ key }) => key);
}
