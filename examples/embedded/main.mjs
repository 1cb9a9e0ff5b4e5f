/**
 * A program with Stargus in it: a small shop that keeps its stock there. Everything goes through `stargus.fetch`, which is the whole HTTP
 * API without a port; with --listen other programs get one too. README.md beside this file says how to run it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Stargus } from 'stargus';

const JSON_TYPE = { 'content-type': 'application/json' };
const STOCK = '/v1/pools/shop/collections/stock';

const { values } = parseArgs({ options: { database: { type: 'string' }, listen: { type: 'boolean' } } });
// Without a database the state is gone with the program.
const stargus = values.database
  ? await Stargus.start({ STARGUS_DATABASE_URL: `sqlite:${values.database}` }, { log })
  : await Stargus.temporary({}, { log });

const watching = watch();
for (const [key, count] of Object.entries({ apples: 5, pears: 2 }))
  await call('PUT', `${STOCK}/items/${key}`, { attributes: { count } });
// Three customers at once want two pears each: the bound holds, whoever comes first.
const sold = await Promise.all(['Ada', 'Bob', 'Cleo'].map((customer) => sell(customer, 'pears', 2)));
console.log(`${sold.filter(Boolean).length} of ${sold.length} customers got their pears.`);
const { items } = await call('GET', `${STOCK}/items?where=${encodeURIComponent('{"count":{"gt":0}}')}`);
console.log(`In stock: ${items.map(({ key, attributes }) => `${attributes.count} ${key}`).join(', ')}.`);

if (values.listen) {
  console.log(`Others may watch and write too: curl -N ${await stargus.listen({ port: 0 })}${STOCK}/attach`);
  await new Promise((resolve) => process.once('SIGINT', resolve));
} else await sleep(100);
await stargus.close();
await watching;

/** Takes so many away, if there are as many. */
async function sell(customer, attribute, count) {
  const response = await stargus.fetch(`${STOCK}/items/${attribute}/increment`, {
    method: 'POST',
    headers: JSON_TYPE,
    body: JSON.stringify({ attribute: 'count', by: -count, min: 0 }),
  });
  console.log(`${customer} ${response.ok ? 'buys' : 'is too late for'} ${count} ${attribute}.`);
  return response.ok;
}

/** Tells of the state, then of every change until the server is closed. */
async function watch() {
  const response = await stargus.fetch(`${STOCK}/attach?values=full`);
  let text = '';
  for await (const part of response.body.pipeThrough(new TextDecoderStream())) {
    const events = (text + part).split('\n\n');
    text = events.pop();
    for (const event of events) {
      const [, name] = /^event: (.*)$/m.exec(event) ?? [];
      const [, data] = /^data: (.*)$/m.exec(event) ?? [];
      if (name !== 'snapshot' && name !== 'changes') continue;
      const { items, changes } = JSON.parse(data);
      for (const { key, attributes } of items ?? changes) console.log(`  (now ${attributes.count} ${key})`);
    }
  }
}

async function call(method, path, body) {
  const response = await stargus.fetch(path, {
    method,
    headers: body && JSON_TYPE,
    body: body && JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return response.json();
}

function log({ msg }) {
  console.error(msg);
}
