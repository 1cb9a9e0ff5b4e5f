// Sessions that do nothing but live, each with one view attached and its stream: what they take of memory and processor, beside as many
// attach streams without a session; how fast they begin, and are renewed by requests. Each kind has a server of its own, because
// memory that was given back once is taken again without showing.
import { setTimeout as sleep } from 'node:timers/promises';
import { holdWatchers } from '../generator.mjs';
import { cpuSeconds, residentMb } from '../processes.mjs';
import { measureInTurn, startWarm } from '../suites/loads.mjs';

const settleMs = 3000; // garbage of what went before is mostly collected by then
const idleSecondsMin = 20; // a stream renews its session's lease of 30 s every 10 s
const firstOnes = 100; // opened and closed before, so that what is compiled and made once isn't counted
const kinds = { streams: 'hold', sessions: 'sessions' }; // and the mode of the generator that opens them

async function measure(start, { watchers = 1000, seconds, warmSeconds, warmUpSeconds, rounds }, keep) {
  for (let round = 1; round <= rounds; round++) {
    for (const [what, mode] of Object.entries(kinds)) {
      const target = await start();
      const flags = { mode, collection: 'unwritten' };
      await (await holdWatchers(target, { ...flags, watchers: firstOnes })).release();
      keep({ what, round, ...(await hold(target, { ...flags, watchers }, Math.max(idleSecondsMin, seconds))) });
      await target.stop();
    }
  }
  const target = await startWarm(start, ['put', 'renew'], warmUpSeconds);
  await measureInTurn(target, ['put', 'renew'], 64, { seconds, warm: warmSeconds, rounds }, keep);
}

async function hold(target, flags, seconds) {
  await sleep(settleMs);
  const [server] = target.pids;
  const restMb = residentMb(server);
  const held = await holdWatchers(target, flags);
  await sleep(settleMs);
  const eachKb = ((residentMb(server) - restMb) * 1024) / flags.watchers;
  const idleCpu = await shareOf(target.pids, seconds);
  const { closed } = await held.release();
  if (closed) throw new Error(`${closed} of ${flags.watchers} streams were cut`);
  return { eachKb, idleCpu, ...held.told };
}

// Cores that the server and its database use while nobody asks for anything.
async function shareOf(pids, seconds) {
  const used = () => pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0);
  const before = used();
  await sleep(seconds * 1000);
  return (used() - before) / seconds;
}

function rows(of, { watchers = 1000 }) {
  const each = (figure) => (target) => watchers / of('sessions', figure)(target);
  const count = watchers.toLocaleString('en');
  return [
    { text: 'memory for each session with its stream, KB', figure: of('sessions', 'eachKb'), digits: 1 },
    { text: 'for each attach stream without one, KB', figure: of('streams', 'eachKb'), digits: 1 },
    { text: 'sessions begun/s, 32 at once', figure: each('beginSeconds') },
    { text: 'views attached/s', figure: each('attachSeconds') },
    { text: 'their streams opened/s', figure: each('streamSeconds') },
    {
      text: `cores for ${count} that are idle and held by their streams`,
      figure: of('sessions', 'idleCpu'),
      digits: 3,
    },
    { text: 'for as many attach streams', figure: of('streams', 'idleCpu'), digits: 3 },
    { text: 'renewals by requests/s, 64 connections', figure: of('renew 64', 'rate') },
    { text: 'to PUTs', figure: (target) => of('renew 64', 'rate')(target) / of('put 64', 'rate')(target), digits: 2 },
  ];
}

export default { title: 'Sessions', measure, rows };
