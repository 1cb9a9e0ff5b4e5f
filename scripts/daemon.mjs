/**
 * One server program beside Stargus, private to a run: started on a free loopback port with a folder of its own under the system's
 * temporary folder, ended in order, killed, or started again on what it left. What kind of server it is stands in mariadb.mjs
 * and redis.mjs; this is what they have in common.
 */
import { spawn } from 'node:child_process';
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { run } from './programs.mjs';

const START_MS = 60_000;
const STOP_MS = 60_000;
/** apt-get on a slow mirror; a hung one must not hang a test run for ever. */
const APT_MS = 600_000;
/** Data folders are named for the process that owns them, so that a later run can clear up after one that was killed. */
const FOLDER_PREFIX = 'stargus-db-';

/** A folder for a server. Its name is short: the path of a Unix socket has at most 107 bytes. */
export function newFolder(parent = tmpdir()) {
  return mkdtempSync(path.join(parent, `${FOLDER_PREFIX}${process.pid}-`));
}

/**
 * Runs a server program in its folder.
 *
 * @param {{name: string, folder: string, arguments: (port: number) => [string, string[]], answers: (port: number) => Promise<boolean>,
 *   prepare?: () => Promise<void>, env?: Record<string, string>}} kind `arguments` gives program and arguments for a port, which make it write `s.pid` into the
 *   folder; `prepare` fills the folder before the first start
 * @returns {Promise<{port: number, pid: () => number, kill: (signal?: string) => Promise<void>, restart: () => Promise<void>,
 *   stop: () => Promise<void>}>} `kill` ends it at once (or sends it another signal, without waiting), `restart` starts it again on
 *   the same port and data, `stop` ends it in order and removes its folder
 */
export async function startDaemon(kind) {
  const { name, folder } = kind;
  let daemon;
  try {
    await kind.prepare?.();
    // Another process may take the free port before the server does: then once more with another.
    for (let attempt = 1; !daemon; attempt++) {
      try {
        daemon = await launch(kind, await freePort());
      } catch (error) {
        if (attempt === 3 || !/address already in use/i.test(error.message)) throw error;
      }
    }
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw new Error(`${name}: ${error.message}`);
  }
  const { port } = daemon;
  return {
    port,
    pid: () => daemon.child.pid,
    async kill(signal = 'SIGKILL') {
      daemon.child.kill(signal);
      if (signal === 'SIGKILL') await daemon.ended(STOP_MS);
    },
    async restart() {
      daemon = await launch(kind, port);
    },
    async stop() {
      await daemon.stop();
      rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
    },
  };
}

async function launch({ name, folder, arguments: argumentsFor, answers, env = {} }, port) {
  const pidFile = path.join(folder, 's.pid');
  const logFile = path.join(folder, 's.log');
  const output = openSync(logFile, 'a');
  const [server, args] = argumentsFor(port);
  // A process group of its own: Ctrl-C reaches the tests first, and the server ends in order after them.
  const child = spawn(server, args, {
    stdio: ['ignore', output, output],
    detached: true,
    env: { ...process.env, ...env },
  });
  closeSync(output);
  let isOver = false;
  for (const event of ['error', 'exit']) {
    child.once(event, () => {
      isOver = true;
    });
  }
  // Last resort for a script that ends without having stopped its services, as after an uncaught error.
  const killAtExit = () => child.kill('SIGKILL');
  process.once('exit', killAtExit);
  child.once('exit', () => process.off('exit', killAtExit));
  const ended = async (ms) => {
    for (const end = Date.now() + ms; !isOver && Date.now() < end; ) await sleep(20);
  };
  const stop = async () => {
    if (!isOver) child.kill('SIGTERM');
    // The pid file vanishes at the end of an orderly shutdown, also where the process stays behind as a zombie.
    for (const end = Date.now() + STOP_MS; !isOver && existsSync(pidFile) && Date.now() < end; ) await sleep(50);
    if (!isOver && existsSync(pidFile)) child.kill('SIGKILL');
    await ended(2_000);
    process.off('exit', killAtExit);
    child.unref();
  };

  const deadline = Date.now() + START_MS;
  while (!(await answers(port))) {
    const failed = isOver
      ? 'it ended at once'
      : Date.now() > deadline
        ? `no answer within ${START_MS / 1000} s`
        : undefined;
    if (failed) {
      const reason = tail(readFileSync(logFile, 'utf8'));
      child.kill('SIGKILL');
      process.off('exit', killAtExit);
      throw new Error(`${name} does not run (${failed}): ${reason}`);
    }
    await sleep(50);
  }
  return { child, port, ended, stop };
}

/**
 * Installs Debian packages that bring a program along, where it isn't there yet.
 *
 * @param {string} wanted the program's name, or the path of a file
 * @throws Error that says what to do by hand
 */
export async function ensureProgram(wanted, packages, log) {
  if (isThere(wanted)) return;
  const names = packages.join(' ');
  const byHand = `Install it (on Debian: apt-get install ${names}).`;
  if (!program('apt-get'))
    throw new Error(`${wanted} is not installed, and there is no apt-get to install it with. ${byHand}`);
  if (process.getuid?.() !== 0) throw new Error(`${wanted} is not installed, and only root can install it. ${byHand}`);
  const options = { quiet: true, timeoutMs: APT_MS, env: { DEBIAN_FRONTEND: 'noninteractive' } };
  log(`${wanted} is not installed: apt-get update …`);
  // A stale or unreachable source doesn't matter if the package can be installed all the same.
  await run('apt-get', ['update'], options);
  log(`apt-get install ${names} …`);
  const { code, output } = await run(
    'apt-get',
    ['install', '-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=120', ...packages],
    options,
  );
  if (code !== 0 || !isThere(wanted)) throw new Error(`apt-get could not install ${names}: ${tail(output)} ${byHand}`);
  log(`${wanted} installed.`);
}

function isThere(wanted) {
  return path.isAbsolute(wanted) ? existsSync(wanted) : program(wanted) !== undefined;
}

/** Ends the servers and removes the folders of runs that were killed before they could do it themselves. */
export async function clearLeftovers(log) {
  for (const name of readdirSync(tmpdir())) {
    const owner = new RegExp(`^${FOLDER_PREFIX}(\\d+)-`).exec(name)?.[1];
    if (owner === undefined || alive(Number(owner))) continue;
    const folder = path.join(tmpdir(), name);
    try {
      const pid = Number(readFileSync(path.join(folder, 's.pid'), 'utf8'));
      // Only if the process with this number is still that server: numbers are used again.
      if (readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(folder)) {
        log(`Ending the server that an earlier run left behind (process ${pid}).`);
        process.kill(pid, 'SIGTERM');
        for (const end = Date.now() + 10_000; alive(pid) && Date.now() < end; ) await sleep(50);
      }
    } catch {
      // No pid file, or no such process: only the folder is left.
    }
    try {
      rmSync(folder, { recursive: true, force: true });
    } catch {
      // Somebody else's: it harms nobody.
    }
  }
}

function alive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/** The path of an installed program. Servers are in sbin, which is on few users' PATH. */
export function program(name) {
  const folders = [...(process.env.PATH ?? '').split(path.delimiter), '/usr/local/sbin', '/usr/sbin', '/usr/bin'];
  return folders
    .filter((folder) => folder !== '')
    .map((folder) => path.join(folder, name))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

export function tail(output) {
  return output.trim().split('\n').slice(-5).join(' | ') || '(it said nothing)';
}
