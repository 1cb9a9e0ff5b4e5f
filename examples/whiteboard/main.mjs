/**
 * The show: three painters and a viewer in one terminal, each a process of its own, for about a quarter of a minute. One of the
 * painters is stopped in the middle of a turn. In the end the log tells whether the locks held. README.md beside this file says how
 * to run it.
 *
 * Exits with 0 when every stroke was counted and no turn went on inside another, else with 1.
 */
import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readOptions } from './options.mjs';
import { pauseInTurn } from './pause.mjs';
import { lostStrokes, strokesSince, turnsOf } from './review.mjs';
import { connect } from './stargus.mjs';

const USAGE = `Usage: node examples/whiteboard/main.mjs [--url http://127.0.0.1:8080] [--seconds 12]

  --url      where Stargus listens
  --seconds  how long to paint at least

If the server wants a key (STARGUS_AUTH=required), give it in the environment as STARGUS_OPERATOR_KEY.`;

const PAINTERS = { ada: 'blue', bob: 'yellow', cleo: 'red' };
const PAUSED = 'cleo';
/** The painter that was stopped is refused, comes back and draws again within this time, or something is wrong. */
const PATIENCE_MS = 60_000;

const { url, seconds } = options();
const ending = new AbortController();
process.on('SIGINT', () => ending.abort());
process.on('SIGTERM', () => ending.abort());

try {
  await main();
} catch (error) {
  console.error(`\n${error.message}`);
  process.exitCode = 1;
}

async function main() {
  const stargus = connect(url);
  await stargus.ready();
  await stargus.call('PUT', '');
  const { cursor } = await stargus.call('GET', '');
  const viewer = startViewer();
  const painters = Object.entries(PAINTERS).map(([name, colour]) => startPainter(name, colour, viewer));
  try {
    await show(stargus, painters, (line) => viewer.child.stdin.write(`${line}\n`));
  } finally {
    await Promise.all(painters.map(stop));
    // The viewer still shows that they left.
    await sleep(500);
    await stop(viewer);
  }
  summarize(painters, await strokesSince(stargus, cursor));
}

/** Ends early when somebody presses Ctrl-C, and fails when a painter ends before. */
async function show(stargus, painters, say) {
  const { signal } = ending;
  const early = painters.map(async ({ name, ended }) => {
    await ended;
    if (!signal.aborted) throw new Error(`${name} ended before the show did.`);
  });
  const paused = painters.find(({ name }) => name === PAUSED);
  const story = async () => {
    await sleep(seconds * 250, undefined, { signal });
    await Promise.all([sleep(seconds * 750, undefined, { signal }), pauseInTurn(stargus, paused, say, signal)]);
  };
  const late = sleep(seconds * 1000 + PATIENCE_MS, undefined, { signal }).then(() => {
    throw new Error(`${PAUSED} was stopped, and not refused afterwards.`);
  });
  try {
    await Promise.race([story(), late, ...early]);
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    ending.abort();
  }
}

/** What the painters are refused goes to the viewer, which shows it among its news. */
function startPainter(name, colour, viewer) {
  const program = path.join(import.meta.dirname, 'painter.mjs');
  const stdio = ['ignore', 'ignore', 'pipe', 'ipc'];
  const child = fork(program, [name, '--url', url, '--colour', colour], { stdio });
  const painter = { name, child, ended: once(child, 'exit'), refused: [], strokes: undefined };
  child.stderr.pipe(viewer.child.stdin, { end: false });
  child.on('message', ({ strokes, refused }) => {
    if (strokes !== undefined) painter.strokes = strokes;
    if (refused) painter.refused.push(refused);
  });
  return painter;
}

function startViewer() {
  const program = path.join(import.meta.dirname, 'viewer.mjs');
  const child = spawn(process.execPath, [program, '--url', url], { stdio: ['pipe', 'inherit', 'inherit'] });
  // It may have ended before it was told everything.
  child.stdin.on('error', () => {});
  return { name: 'the viewer', child, ended: once(child, 'exit') };
}

async function stop({ child, ended }) {
  child.kill('SIGTERM');
  await ended;
}

function summarize(painters, strokes) {
  const counts = painters.map(({ name }) => strokes.filter(({ by }) => by === name).length);
  for (const [i, { name, strokes: told, refused }] of painters.entries()) {
    const refusals = refused.length > 0 ? `, was refused with ${refused.join(', ')}, and came back` : '';
    console.log(`${name} made ${told} strokes, of which the log has ${counts[i]}${refusals}.`);
  }
  const lost = lostStrokes(strokes);
  const { turns, mixed } = turnsOf(strokes);
  console.log(`Of ${strokes.length} strokes ${lost} were lost: each counted on from the number that it found.`);
  console.log(`In ${turns} turns to draw ${mixed} times one painter drew in the turn of another.`);
  if (lost > 0 || mixed > 0 || painters.some(({ strokes: told }, i) => told !== counts[i]))
    throw new Error('That is not what locks should have done.');
}

function options() {
  const check = ({ seconds }, positionals) => {
    if (positionals.length > 0) throw new Error(`${positionals[0]} is too much.`);
    if (!(Number(seconds) > 0)) throw new Error('--seconds must be a number above 0.');
  };
  const { url, seconds } = readOptions(USAGE, { seconds: { type: 'string', default: '12' } }, check);
  return { url, seconds: Number(seconds) };
}
