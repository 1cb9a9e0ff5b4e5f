/**
 * A painter: begins a session, sees who else comes and goes, and takes turns at the board until it is told to stop. README.md
 * beside this file says how to run some of them.
 *
 * It says on its standard output what it does, and on its standard error what it was refused. To the program that forked it, if
 * one did, it says the same as messages.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { COLLECTION } from './board.mjs';
import { readOptions } from './options.mjs';
import { openSession } from './session.mjs';
import { connect } from './stargus.mjs';
import { takeTurn } from './turn.mjs';

const COLOURS = ['green', 'magenta', 'cyan', 'yellow', 'blue', 'red'];
const USAGE = `Usage: node examples/whiteboard/painter.mjs <name> [--colour green] [--url http://127.0.0.1:8080]

  --colour   one of ${COLOURS.join(', ')}
  --url      where Stargus listens

If the server wants a key (STARGUS_AUTH=required), give it in the environment as STARGUS_OPERATOR_KEY.`;

/** Short, so that others needn't wait long for what a painter that stands still has locked. */
const LEASE_MS = 2000;
/** What a painter is refused with that was away for too long. */
const LOST = new Set(['lockLost', 'sessionFenced', 'notFound']);

const { url, colour, name } = options();
const stargus = connect(url);
const leaving = new AbortController();
for (const event of ['SIGINT', 'SIGTERM', 'disconnect']) process.on(event, () => leaving.abort());
const me = {
  name,
  colour,
  strokes: 0,
  leaving: leaving.signal,
  tell: (message) => process.connected && process.send(message),
};

try {
  await stargus.ready();
  await paint();
  me.tell({ strokes: me.strokes });
} catch (error) {
  console.error(`${name}: ${error.message}`);
  process.exitCode = 1;
}
if (process.connected) process.disconnect();

async function paint() {
  console.log(`${name} paints in ${colour}. Stop it with Ctrl-C, or with Ctrl-Z for longer than its lease.`);
  let session;
  for (let resume = false; !me.leaving.aborted; ) {
    try {
      session ??= await openSession(stargus, presence(), { resume });
      await takeTurn(session, me);
    } catch (error) {
      if (!LOST.has(error.problem?.code)) throw error;
      await giveUp(session, error.problem);
      session = undefined;
      resume = true;
    }
    await sleep(100 + 500 * Math.random(), undefined, { signal: me.leaving }).catch(() => {});
  }
  // Where it is over already there is nothing left to end.
  await session?.end().catch(() => {});
  console.log(`${name} leaves after ${me.strokes} strokes.`);
}

async function giveUp(session, { status, code }) {
  session?.close();
  console.error(`${name}: refused with ${status} ${code}: I was away for too long. I come back and draw again.`);
  me.tell({ refused: code });
  if (session && (await isTaken(session))) throw new Error('Somebody else goes on under this name.');
}

/** Whether the name lives in another process. */
async function isTaken({ id, epoch }) {
  try {
    const living = await stargus.call('GET', `/sessions/${name}`);
    return living.session !== id || living.epoch !== epoch;
  } catch (error) {
    if (error.problem?.code === 'notFound') return false;
    throw error;
  }
}

/** What others see of us, and what we see. `values: full` tells of whoever leaves who it was. */
function presence() {
  const views = { shapes: { collection: COLLECTION }, clients: { collection: '_clients', values: 'full' } };
  return { name, meta: { colour }, ttlMs: LEASE_MS, renewEveryMs: LEASE_MS / 4, views, heard: greet };
}

function greet({ view, op, attributes, previous }) {
  if (view !== 'clients' || op === 'change') return;
  const other = (op === 'add' ? attributes : previous).name;
  if (other !== name) console.log(`${other} ${op === 'add' ? 'comes' : 'is gone'}`);
}

function options() {
  const check = ({ colour }, [name, ...more]) => {
    if (!name || more.length > 0) throw new Error('Give the painter one name.');
    if (colour && !COLOURS.includes(colour)) throw new Error(`--colour must be one of ${COLOURS.join(', ')}.`);
  };
  const { positionals, ...values } = readOptions(USAGE, { colour: { type: 'string' } }, check);
  const [name] = positionals;
  return { colour: colourOf(name), ...values, name };
}

function colourOf(name) {
  const sum = [...name].reduce((total, letter) => total + letter.codePointAt(0), 0);
  return COLOURS[sum % COLOURS.length];
}
