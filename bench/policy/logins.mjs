// Logins of an account by each kind of key, and refreshes: with what is signed by the load generator, which takes its own part of the
// machine for that. A login is a challenge and an assertion.
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { calculateJwkThumbprint } from 'jose';
import { generate } from '../generator.mjs';
import { post, strictServer } from './people.mjs';

const kinds = {
  Ed25519: () => generateKeyPairSync('ed25519'),
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  PS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
};
const connections = 16;
// A node gives out so many nonces in a minute of the clock, and no more.
const noncesPerMinute = 6000;
const secondsMax = 2;

async function measure(start, { seconds, rounds }, keep, dir) {
  const target = await start(strictServer);
  const accounts = {};
  for (const kind of Object.keys(kinds)) accounts[kind] = await enroll(target, kind, dir);
  const times = { seconds: Math.min(seconds, secondsMax), warm: 0.3 };
  const budget = new Budget(times.seconds + times.warm);
  const run = async (what, operation, kind, round) => {
    await budget.await();
    const result = await generate(target, { mode: 'requests', operation, connections, ...accounts[kind], ...times });
    if (result.errors) throw new Error(`${what}: ${result.errors} errors (${result.problem})`);
    budget.spend(operation === 'login' ? result.answered : connections, result.rate);
    const { rate, p50Ms, p99Ms, serverCpu, generatorCpu, othersCpu } = result;
    if (round >= 0) keep({ what, round, rate, p50Ms, p99Ms, cpuUs: (1e6 * serverCpu) / rate, generatorCpu, othersCpu });
  };
  for (let round = -1; round < rounds; round++) {
    for (const kind of Object.keys(kinds)) await run(`login by ${kind}`, 'login', kind, round);
    await run('refresh', 'refresh', 'Ed25519', round);
  }
}

async function enroll(target, kind, dir) {
  const { publicKey, privateKey } = kinds[kind]();
  const jwk = publicKey.export({ format: 'jwk' });
  const kid = await calculateJwkThumbprint(jwk);
  const { account } = await post(target, `/v1/identities/${kind.toLowerCase()}/keys/${kid}`, { jwk }, 'PUT');
  const key = path.join(dir, `${kind}.pem`);
  writeFileSync(key, privateKey.export({ type: 'pkcs8', format: 'pem' }));
  return { account, kid, key };
}

// Waits for the next minute before more nonces would be asked for than there are.
class Budget {
  #minute = 0;
  #spent = 0;
  #fastest = 500;

  constructor(seconds) {
    this.seconds = seconds;
  }

  async await() {
    const need = 1.3 * this.#fastest * this.seconds;
    if (this.#now() === this.#minute && this.#spent + need > noncesPerMinute)
      await sleep(60_000 - (Date.now() % 60_000) + 50);
  }

  spend(count, rate) {
    if (this.#now() !== this.#minute) this.#spent = 0;
    this.#minute = this.#now();
    this.#spent += count;
    this.#fastest = Math.max(this.#fastest, rate);
  }

  #now() {
    return Math.floor(Date.now() / 60_000);
  }
}

function rows(of) {
  return [...Object.keys(kinds).map((kind) => `login by ${kind}`), 'refresh'].flatMap((what) => [
    { text: `${what}, a second`, figure: of(what, 'rate') },
    { text: 'p50 ms', figure: of(what, 'p50Ms'), digits: 1 },
    { text: 'processor time of the server, µs', figure: of(what, 'cpuUs') },
    { text: 'generator, cores', figure: of(what, 'generatorCpu'), digits: 2 },
  ]);
}

export default { title: 'Logging in', measure, rows };
