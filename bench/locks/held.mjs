// What locks that others hold elsewhere in the pool cost a writer: PUTs with none, a few and very many of them, in turn. Half of them lie
// on items of the collection that is written, which the writer never touches, half on another's.
import { generate } from '../generator.mjs';
import { fullSpeed, items, startWarm } from '../suites/loads.mjs';
import { perSecond, send } from '../transfers.mjs';

const many = 100_000;
const few = 10;

async function measure(start, { seconds, warmSeconds, warmUpSeconds, rounds, items: most = many }, keep) {
  const target = await startWarm(start, ['put', 'lock'], warmUpSeconds);
  for (let round = 1; round <= rounds; round++) {
    for (const locks of round % 2 ? [0, few, most] : [most, few, 0]) {
      const { taken, sessions } = await take(target, locks);
      const put = await generate(target, { ...fullSpeed('put', 64), seconds, warm: warmSeconds });
      if (put.errors) throw new Error(`PUTs with ${locks} locks: ${put.errors} errors (${put.problem})`);
      const startedAt = performance.now();
      for (const session of sessions) await end(target, session);
      const cpuUs = (1e6 * put.serverCpu) / put.rate;
      keep({ what: String(locks), round, ...put, cpuUs, taken, ended: perSecond(locks, startedAt) });
    }
  }
}

async function take(target, locks) {
  if (locks === 0) return { sessions: [] };
  const { rate, sessions } = await generate(target, { ...items, mode: 'locks', connections: 64, locks });
  return { taken: rate, sessions };
}

const end = (target, session) =>
  send(target, 'DELETE', `/sessions/${session}`, undefined, { 'stargus-session': `${session};epoch=1` });

function rows(of, { items: most = many }) {
  const count = most.toLocaleString('en');
  const ratio = (locks, figure) => (target) => of(String(locks), figure)(target) / of('0', figure)(target);
  return [
    { text: 'PUT/s, 64 connections, no locks', figure: of('0', 'rate') },
    { text: `${few} locks elsewhere, of it`, figure: ratio(few, 'rate'), digits: 2 },
    { text: `${count} locks elsewhere, of it`, figure: ratio(most, 'rate'), digits: 2 },
    { text: 'processor time of a PUT, to that without', figure: ratio(most, 'cpuUs'), digits: 2 },
    { text: 'p99 of a PUT, to that without', figure: ratio(most, 'p99Ms'), digits: 2 },
    { text: `taking the ${count}, locks/s`, figure: of(String(most), 'taken') },
    { text: 'ending their sessions, locks/s', figure: of(String(most), 'ended') },
  ];
}

export default { title: 'Locks that are held elsewhere', measure, rows };
