/**
 * A whole cloud on this machine: MariaDB, Redis, nodes that answer requests and workers, each a process of its own on a loopback
 * port. Everything ends with `stop`, and its data goes.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../../scripts/daemon.mjs';
import { startMariadb } from '../../scripts/mariadb.mjs';
import { startRedis } from '../../scripts/redis.mjs';

const PROGRAM = path.resolve(import.meta.dirname, '../../dist/server/main.js');
const READY_MS = 60_000;

/** @param {(line: string) => void} log hears of what takes long */
export async function startDeployment(log) {
  const services = [];
  const processes = [];
  const stop = async () => {
    await Promise.all(processes.map((each) => each.stop()));
    await Promise.all(services.map((service) => service.stop()));
  };
  try {
    const mariadb = await startMariadb(log);
    services.push(mariadb);
    const redis = await startRedis(log);
    services.push(redis);
    const { createConnection } = await import('mysql2/promise');
    const connection = await createConnection(mariadb.url);
    await connection.query('CREATE DATABASE stargus');
    await connection.end();
    const start = async (role) => {
      const started = await startProcess(role, `${mariadb.url}stargus`, redis.url);
      processes.push(started);
      return started;
    };
    return { start, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startProcess(role, databaseUrl, redisUrl) {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const child = spawn(process.execPath, [PROGRAM], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: {
      PATH: process.env.PATH,
      STARGUS_PORT: String(port),
      STARGUS_ROLE: role,
      STARGUS_DATABASE_URL: databaseUrl,
      STARGUS_REDIS_URL: redisUrl,
      STARGUS_LOG_LEVEL: 'error',
    },
  });
  let complaints = '';
  child.stderr.setEncoding('utf8').on('data', (text) => {
    complaints += text;
  });
  const exited = once(child, 'exit');
  // The last resort, if this process ends without having stopped what it started.
  const killAtExit = () => child.kill('SIGKILL');
  process.once('exit', killAtExit);
  exited.then(() => process.off('exit', killAtExit));
  const end = (signal) => async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    await exited;
  };
  for (const deadline = Date.now() + READY_MS; ; await sleep(50)) {
    const answer = await fetch(`${url}/readyz`).catch(() => undefined);
    if (answer?.ok && (await answer.json()).redis === 'up') break;
    if (child.exitCode !== null || Date.now() > deadline)
      throw new Error(`A process (${role}) did not start: ${complaints}`);
  }
  return { url, pid: child.pid, kill: end('SIGKILL'), stop: end('SIGTERM') };
}
