// Child processes of the bench: started on a free loopback port, awaited until ready, stopped, and never left behind.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const clockTicks = 100; // a second has so many, fixed by the Linux ABI
const running = new Set();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(130));

export async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

// Starts a server whose output goes to logFile. ready() is asked again and again until it is true, at most readyMsMax.
export async function startProcess({ command, args, env = {}, logFile, ready, readyMsMax = 30_000 }) {
  const log = fs.openSync(logFile, 'a');
  const startedAt = performance.now();
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', log, log] });
  fs.closeSync(log);
  running.add(child);
  let isOver = false;
  const ended = new Promise((resolve) => {
    child.once('exit', resolve).once('error', resolve);
  }).then(() => {
    isOver = true;
    running.delete(child);
  });

  while (!(await ready().catch(() => false))) {
    const waitedMs = performance.now() - startedAt;
    if (isOver || waitedMs > readyMsMax) {
      child.kill('SIGKILL');
      throw new Error(
        `${command} ${args.join(' ')}: ${isOver ? 'ended' : 'not ready'} after ${Math.round(waitedMs)} ms\n${tailOf(logFile)}`,
      );
    }
    await sleep(3);
  }

  return {
    pid: child.pid,
    readyMs: performance.now() - startedAt,
    // May be called again.
    async stop() {
      child.kill('SIGTERM');
      const killing = setTimeout(() => child.kill('SIGKILL'), 10_000);
      await ended;
      clearTimeout(killing);
    },
  };
}

export async function answers200(url) {
  const response = await fetch(url, { signal: AbortSignal.timeout(1000) });
  await response.arrayBuffer();
  return response.status === 200;
}

export function residentMb(pid) {
  const [, residentPages] = fs.readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ');
  return (Number(residentPages) * 4096) / 2 ** 20;
}

// Processor time that a process has used.
export function cpuSeconds(pid) {
  const [user, system] = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ').slice(11, 13);
  return (Number(user) + Number(system)) / clockTicks;
}

// The path of a program on PATH or in one of the folders given, or undefined.
export function findProgram(name, folders = []) {
  const candidates = [...folders, ...process.env.PATH.split(':'), '/usr/sbin'].map((folder) => `${folder}/${name}`);
  return candidates.find((file) => fs.existsSync(file));
}

function tailOf(file) {
  return fs.readFileSync(file, 'utf8').split('\n').slice(-20).join('\n');
}
