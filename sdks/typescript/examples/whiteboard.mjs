/**
 * A shared whiteboard: programs in three languages draw strokes on it, and each sees those of all others. The same in Python and Go.
 *
 *   node examples/whiteboard.mjs http://127.0.0.1:8080 ann 3 --expect 9
 *
 * Draws three strokes as ann, each under a lock on her own keys, prints those of others, and ends when it has drawn them and there are nine in all.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { connect } from '@stargus/client';

const COLOURS = ['red', 'green', 'blue', 'orange', 'purple'];

const { values, positionals } = parseArgs({ options: { expect: { type: 'string' } }, allowPositionals: true });
const [url, name, number = '3'] = positionals;
if (url === undefined || name === undefined || !/^\d+$/.test(number)) {
  console.error('Usage: node whiteboard.mjs <url> <name> [<number of strokes>] [--expect <strokes in all>]');
  process.exit(2);
}
const mine = Number(number);
const expected = Number(values.expect ?? mine);

const client = await connect(url, 'whiteboard');
const strokes = client.attach('strokes');
await strokes.ready;
for (const stroke of strokes.values()) show(stroke);
strokes.onChange(({ op, item }) => op === 'add' && item && show(item));

const first = strokes.size;
for (let drawn = 0; drawn < mine; drawn++) {
  await client.withLock({ collection: 'strokes', prefix: `${name}-` }, async (held) => {
    const { revision } = await held.create('strokes', stroke(), `${name}-${Date.now()}-${first + drawn}`);
    await strokes.reached(revision);
  });
  await sleep(50 + Math.random() * 200);
}
while (strokes.size < expected) await strokes.reached(strokes.revision + 1);
await client.close();

function stroke() {
  const place = () => Math.floor(Math.random() * 1000);
  return { x: place(), y: place(), colour: COLOURS[Math.floor(Math.random() * COLOURS.length)], by: name };
}

function show({ attributes: { by, colour, x, y } }) {
  if (by !== name) console.log(`${by} drew ${colour} at ${x},${y}`);
}
