/**
 * The viewer: shows the board as it changes, and tells who comes and goes. On a terminal the picture is drawn anew in its place;
 * elsewhere one is written every two seconds in which something changed. Lines that it is given on its standard input it shows as
 * news. README.md beside this file says how to run it.
 */
import { createInterface } from 'node:readline';
import { COLLECTION } from './board.mjs';
import { readOptions } from './options.mjs';
import { picture } from './picture.mjs';
import { openSession } from './session.mjs';
import { connect } from './stargus.mjs';

const USAGE = `Usage: node examples/whiteboard/viewer.mjs [--url http://127.0.0.1:8080]

  --url   where Stargus listens

If the server wants a key (STARGUS_AUTH=required), give it in the environment as STARGUS_OPERATOR_KEY.`;

const screen = process.stdout;
const SHOW_MS = screen.isTTY ? 100 : 2000;

const { url } = readOptions(USAGE, {}, (_, positionals) => {
  if (positionals.length > 0) throw new Error(`${positionals[0]} is too much.`);
});
/** Lines of the picture that is on the terminal. */
let shown = 0;
let last = '';
let session;
let leaving = false;

try {
  const stargus = connect(url);
  await stargus.ready();
  session = await openSession(stargus, presence());
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, leave);
if (!process.stdin.isTTY) createInterface({ input: process.stdin }).on('line', tell);
setInterval(show, SHOW_MS);
await session.ended;
if (!leaving) tell('the viewer’s session has ended');
await leave();

/** The stream renews this session: a viewer holds nothing that others could wait for. */
function presence() {
  const views = {
    shapes: { collection: COLLECTION },
    clients: { collection: '_clients', values: 'full' },
    locks: { collection: '_locks' },
  };
  return { name: `viewer-${process.pid}`, ttlMs: 10_000, views, heard: hear };
}

function hear(change) {
  if (change.view !== 'clients') return;
  const { name, epoch, meta } = change.op === 'delete' ? change.previous : change.attributes;
  if (meta?.colour) tell(`${name} ${newsOf(change, epoch)}`);
}

function newsOf({ op, reason }, epoch) {
  if (op === 'delete') return reason === 'expired' ? 'is gone: the lease was over' : 'leaves';
  return epoch === 1 ? 'comes' : `comes back, in the epoch ${epoch}`;
}

function tell(line) {
  erase();
  screen.write(`* ${line}\n`);
  if (screen.isTTY) show();
}

function show() {
  const text = `${picture(session.copies).join('\n')}\n`;
  if (text === last && (shown > 0 || !screen.isTTY)) return;
  erase();
  screen.write(screen.isTTY ? text : `\n${text}\n`);
  last = text;
  if (screen.isTTY) shown = text.split('\n').length - 1;
}

function erase() {
  if (shown === 0) return;
  screen.moveCursor(0, -shown);
  screen.clearScreenDown();
  shown = 0;
}

async function leave() {
  if (leaving) return;
  leaving = true;
  show();
  await session.end().catch(() => {});
  process.exit(0);
}
