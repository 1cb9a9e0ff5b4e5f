/**
 * The servers that the tests need beside Stargus, private to one run: MariaDB in a folder of its own under the system's
 * temporary folder, on a free loopback port, with no password. `node scripts/services.mjs` starts them, prints their addresses
 * and keeps them until Ctrl-C; scripts/test.mjs does the same around the tests.
 *
 * A service is one entry of SERVICES. Whoever sets its `urlVariable` beforehand gets their own server used instead. When a
 * service can't be had, the reason is handed on in its `errorVariable`, and the tests that need it fail with that text: a
 * missing database must not look like a passed test.
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

const SERVICES = [
  {
    name: 'MariaDB',
    urlVariable: 'STARGUS_TEST_MARIADB_URL',
    errorVariable: 'STARGUS_TEST_MARIADB_ERROR',
    start: startMariadb,
  },
];

/**
 * Starts every service that is not given from outside.
 *
 * @param {{log?: (line: string) => void}} [options] `log` hears of what takes long
 * @returns {Promise<{env: Record<string, string>, stop: () => Promise<void>}>} `env` holds the address of each service, or the
 *   reason why it is not there; `stop` ends those that were started and removes their data. It may be called more than once.
 */
export async function startServices({ log = () => {} } = {}) {
  await clearLeftovers(log);
  const env = {};
  const running = [];
  for (const { name, urlVariable, errorVariable, start } of SERVICES) {
    if (process.env[urlVariable]) continue;
    try {
      const service = await start(log);
      running.push(service);
      env[urlVariable] = service.url;
    } catch (error) {
      env[errorVariable] =
        `${name} could not be started for the tests: ${error.message} ` +
        `Mend that, or set ${urlVariable} to a server on which databases may be created and dropped.`;
    }
  }
  let stopped;
  const stop = () => {
    stopped ??= Promise.all(running.map((service) => service.stop())).then(() => {});
    return stopped;
  };
  return { env, stop };
}

async function startMariadb(log) {
  if (!program('mariadbd') || !program('mariadb-install-db')) await installMariadb(log);
  const server = program('mariadbd');
  // The folder's name is short: the path of a Unix socket has at most 107 bytes.
  const folder = mkdtempSync(path.join(tmpdir(), `${FOLDER_PREFIX}${process.pid}-`));
  const data = path.join(folder, 'mysql');
  const asRoot = process.getuid?.() === 0 ? ['--user=root'] : [];
  try {
    const { code, output } = await run(
      program('mariadb-install-db'),
      ['--no-defaults', ...asRoot, `--datadir=${data}`, '--auth-root-authentication-method=normal', '--skip-test-db'],
      { quiet: true, timeoutMs: START_MS },
    );
    if (code !== 0) throw new Error(`mariadb-install-db failed: ${tail(output)}`);
    // Another process may take the free port before the server does: then once more with another.
    for (let attempt = 1; ; attempt++) {
      const port = await freePort();
      try {
        return await launchMariadb({ server, folder, data, port, asRoot });
      } catch (error) {
        if (attempt === 3 || !/address already in use/i.test(error.message)) throw error;
      }
    }
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

async function launchMariadb({ server, folder, data, port, asRoot }) {
  const pidFile = path.join(folder, 'm.pid');
  const logFile = path.join(folder, 'm.log');
  const output = openSync(logFile, 'w');
  const child = spawn(
    server,
    [
      '--no-defaults',
      ...asRoot,
      `--datadir=${data}`,
      `--port=${port}`,
      '--bind-address=127.0.0.1',
      `--socket=${path.join(folder, 'm.sock')}`,
      `--pid-file=${pidFile}`,
      '--skip-log-bin',
      '--innodb-buffer-pool-size=256M',
      '--character-set-server=utf8mb4',
      '--collation-server=utf8mb4_bin',
      '--transaction-isolation=READ-COMMITTED',
    ],
    // A process group of its own: Ctrl-C reaches the tests first, and the server ends in order after them.
    { stdio: ['ignore', output, output], detached: true },
  );
  closeSync(output);
  let ended = false;
  child.once('error', () => {
    ended = true;
  });
  child.once('exit', () => {
    ended = true;
  });
  // Last resort for a script that ends without having stopped its services, as after an uncaught error.
  const killAtExit = () => child.kill('SIGKILL');
  process.once('exit', killAtExit);

  const stop = async () => {
    if (!ended) child.kill('SIGTERM');
    // The pid file vanishes at the end of an orderly shutdown, also where the process stays behind as a zombie.
    for (const end = Date.now() + STOP_MS; !ended && existsSync(pidFile) && Date.now() < end; ) await sleep(50);
    if (!ended && existsSync(pidFile)) child.kill('SIGKILL');
    for (const end = Date.now() + 2_000; !ended && Date.now() < end; ) await sleep(20);
    process.off('exit', killAtExit);
    child.unref();
    rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  };

  const deadline = Date.now() + START_MS;
  while (!(await answers(port))) {
    const failed = ended
      ? 'it ended at once'
      : Date.now() > deadline
        ? `no answer within ${START_MS / 1000} s`
        : undefined;
    if (failed) {
      const reason = tail(readFileSync(logFile, 'utf8'));
      child.kill('SIGKILL');
      process.off('exit', killAtExit);
      throw new Error(`mariadbd does not run (${failed}): ${reason}`);
    }
    await sleep(100);
  }
  return { url: `mysql://root@127.0.0.1:${port}/`, stop };
}

/** Whether a query succeeds: the port opens before the server is ready to serve. */
async function answers(port) {
  const { createConnection } = await import('mysql2/promise');
  try {
    const connection = await createConnection({ host: '127.0.0.1', port, user: 'root', connectTimeout: 2_000 });
    await connection.query('SELECT 1');
    await connection.end();
    return true;
  } catch {
    return false;
  }
}

async function installMariadb(log) {
  const byHand = 'Install it (on Debian: apt-get install mariadb-server).';
  if (!program('apt-get'))
    throw new Error(`mariadbd is not installed, and there is no apt-get to install it with. ${byHand}`);
  if (process.getuid?.() !== 0) throw new Error(`mariadbd is not installed, and only root can install it. ${byHand}`);
  const options = { quiet: true, timeoutMs: APT_MS, env: { DEBIAN_FRONTEND: 'noninteractive' } };
  log('MariaDB is not installed: apt-get update …');
  // A stale or unreachable source doesn't matter if the package can be installed all the same.
  await run('apt-get', ['update'], options);
  log('apt-get install mariadb-server (about 20 s) …');
  const { code, output } = await run(
    'apt-get',
    ['install', '-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=120', 'mariadb-server'],
    options,
  );
  if (code !== 0 || !program('mariadbd'))
    throw new Error(`apt-get could not install mariadb-server: ${tail(output)} ${byHand}`);
  log('MariaDB installed.');
}

/** Ends the servers and removes the folders of runs that were killed before they could do it themselves. */
async function clearLeftovers(log) {
  for (const name of readdirSync(tmpdir())) {
    const owner = new RegExp(`^${FOLDER_PREFIX}(\\d+)-`).exec(name)?.[1];
    if (owner === undefined || alive(Number(owner))) continue;
    const folder = path.join(tmpdir(), name);
    try {
      const pid = Number(readFileSync(path.join(folder, 'm.pid'), 'utf8'));
      // Only if the process with this number is still that server: numbers are used again.
      if (readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(folder)) {
        log(`Ending the MariaDB that an earlier run left behind (process ${pid}).`);
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
function program(name) {
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

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

function tail(output) {
  return output.trim().split('\n').slice(-5).join(' | ') || '(it said nothing)';
}

if (process.argv[1]?.endsWith('services.mjs')) {
  const asked = new Promise((resolve) => {
    process.once('SIGINT', resolve).once('SIGTERM', resolve);
  });
  const { env, stop } = await startServices({ log: (line) => console.error(line) });
  for (const [name, value] of Object.entries(env)) console.log(`${name}=${value}`);
  if (SERVICES.some(({ errorVariable }) => env[errorVariable])) {
    await stop();
    process.exit(1);
  }
  console.error('Running until Ctrl-C.');
  // A pending promise alone doesn't keep Node alive.
  const keepAlive = setInterval(() => {}, 60_000);
  await asked;
  clearInterval(keepAlive);
  await stop();
}
