/**
 * A Stargus server of its own for a test: a child process of the built program on a fresh database, as a user would run it.
 * Several may share one database (`databaseUrl`), and one may be killed at any moment and another started on what it left;
 * so databases outlive their servers and are removed when the test file ends, with every server that still runs.
 *
 * Where MariaDB is a cluster of several nodes (STARGUS_TEST_MARIADB_URLS), each server of a database has the next node of it, so that
 * servers of one test sit on different ones.
 *
 * Run through `npm test`, which builds first and brings MariaDB up.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createConnection } from 'mysql2/promise';
import { afterAll } from 'vitest';
import { environmentOfUser } from './environment.js';

const ROOT = path.resolve(import.meta.dirname, '../..');
const PROGRAM = path.join(ROOT, 'dist/server/main.js');

/** A start takes less than a second; two cores full of other tests may make it many. */
const READY_MS = 60_000;
const STOP_MS = 10_000;
/** Of what a server says, in characters. */
const OUTPUT_MAX = 16 * 1024 * 1024;

export type DatabaseName = 'sqlite' | 'mariadb';

/** One text, every database: `describe.each(databases)('items on $name', ({ name }) => …)`. Of a cluster's tests, only the cluster. */
export const databases: readonly { readonly name: DatabaseName }[] = [
  ...(process.env.STARGUS_TEST_GALERA ? [] : [{ name: 'sqlite' as const }]),
  { name: 'mariadb' },
];

export interface ServerOptions {
  /** The kind of database that is made for this server. */
  database: DatabaseName;
  /** An existing database instead of a new one: that of another server, running or killed. */
  databaseUrl?: string;
  /** Where it listens instead of on a free port: that of a server that was stopped, of which others know. */
  port?: number;
  /** Environment variables on top of the address and the database; `undefined` takes one away. */
  env?: Record<string, string | undefined>;
}

export interface Server {
  /** `http://127.0.0.1:PORT`, without a slash at the end. */
  readonly url: string;
  readonly pid: number;
  readonly databaseUrl: string;
  /**
   * Asks the server to end in order (SIGTERM) and waits for it.
   *
   * @returns its exit code (null if a signal ended it) and how long it took
   * @throws Error if it had to be killed, because it still ran after ten seconds
   */
  stop(): Promise<{ code: number | null; ms: number }>;
  /** Ends the server at once (SIGKILL), as a crash would, and waits until it is gone. */
  kill(): Promise<void>;
  /** What it has written to its standard output and standard error so far. */
  output(): string;
}

const children = new Set<ChildProcess>();
const removals: (() => Promise<void> | void)[] = [];

afterAll(async () => {
  await Promise.all([...children].map(killed));
  for (const remove of removals.splice(0)) await remove();
});

/**
 * Starts a server and waits until it says that it is ready.
 *
 * @throws Error with the server's output if it ends or isn’t ready within 60 s; with the reason if there is no MariaDB
 */
export async function startServer({ database, databaseUrl, port: wanted, env = {} }: ServerOptions): Promise<Server> {
  if (!existsSync(PROGRAM)) throw new Error('The server is not built: run the tests through `npm test`.');
  const onDatabase = nodeOf(databaseUrl ?? (await createDatabase(database)));
  const port = wanted ?? (await freePort());
  const url = `http://127.0.0.1:${port}`;
  const child = spawn(process.execPath, [PROGRAM], {
    cwd: ROOT,
    env: {
      ...environmentOfUser(),
      STARGUS_HOST: '127.0.0.1',
      STARGUS_PORT: String(port),
      STARGUS_DATABASE_URL: onDatabase,
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.add(child);
  const forget = markRunning(child);
  child.once('exit', () => {
    children.delete(child);
    forget();
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output = bounded(output + text);
    });
  }
  try {
    await ready(child, url);
  } catch (error) {
    await killed(child);
    throw new Error(`${(error as Error).message} Its output:\n${output}`);
  }
  return {
    url,
    pid: child.pid as number,
    databaseUrl: onDatabase,
    output: () => output,
    kill: () => killed(child),
    stop: async () => {
      const started = performance.now();
      child.kill('SIGTERM');
      const inTime = await Promise.race([exited(child).then(() => true), sleep(STOP_MS, false, { ref: false })]);
      const ms = performance.now() - started;
      if (!inTime) {
        await killed(child);
        throw new Error(`The server still ran ${STOP_MS} ms after SIGTERM. Its output:\n${output}`);
      }
      return { code: child.exitCode, ms };
    },
  };
}

/** Of a server that fills its log without end, the beginning and the end are kept. */
function bounded(output: string): string {
  if (output.length <= OUTPUT_MAX) return output;
  const kept = OUTPUT_MAX / 4;
  return `${output.slice(0, kept)}\n… left out …\n${output.slice(-kept)}`;
}

/**
 * Makes an empty database, removed when the test file ends.
 *
 * @returns its address, as STARGUS_DATABASE_URL takes it
 * @throws Error that says what is missing if there is no MariaDB to make one on
 */
export async function createDatabase(database: DatabaseName): Promise<string> {
  if (database === 'sqlite') {
    const folder = mkdtempSync(path.join(tmpdir(), 'stargus-sqlite-'));
    removals.push(() => rmSync(folder, { recursive: true, force: true }));
    return `sqlite:${path.join(folder, 'stargus.db')}`;
  }
  const server = process.env.STARGUS_TEST_MARIADB_URL;
  if (!server) {
    throw new Error(
      process.env.STARGUS_TEST_MARIADB_ERROR ??
        'There is no MariaDB for the tests: run them through `npm test`, or set STARGUS_TEST_MARIADB_URL.',
    );
  }
  const name = `stargus_test_${process.pid}_${randomBytes(4).toString('hex')}`;
  await statement(server, `CREATE DATABASE ${name}`);
  removals.push(() => statement(server, `DROP DATABASE IF EXISTS ${name}`));
  for (const node of clusterNodes()) await there(`${node}${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  return url.href;
}

function clusterNodes(): string[] {
  return process.env.STARGUS_TEST_MARIADB_URLS?.split(',') ?? [];
}

/** How many servers each database has had. */
const servers = new Map<string, number>();

/** The database at the node of the cluster whose turn it is; where there is no cluster, or it is another's, the database as it is. */
function nodeOf(databaseUrl: string): string {
  const nodes = clusterNodes();
  if (!nodes.some((node) => URL.parse(databaseUrl)?.host === new URL(node).host)) return databaseUrl;
  const { pathname } = new URL(databaseUrl);
  const count = servers.get(pathname) ?? 0;
  servers.set(pathname, count + 1);
  return new URL(pathname, nodes[count % nodes.length]).href;
}

/** Waits until another node of the cluster has the database too. */
async function there(databaseUrl: string): Promise<void> {
  for (const end = Date.now() + READY_MS; ; await sleep(20)) {
    try {
      return await statement(databaseUrl, 'SELECT 1');
    } catch (error) {
      if ((error as { code?: string }).code !== 'ER_BAD_DB_ERROR' || Date.now() > end) throw error;
    }
  }
}

async function statement(server: string, sql: string): Promise<void> {
  const connection = await createConnection(server);
  try {
    await connection.query(sql);
  } finally {
    await connection.end();
  }
}

/** Leaves a file for as long as the child runs, by which scripts/test.mjs ends it if these tests are killed before it. */
export function markRunning({ pid }: ChildProcess): () => void {
  const folder = process.env.STARGUS_TEST_FOLDER;
  if (!folder || pid === undefined) return () => {};
  const file = path.join(folder, `server-${pid}`);
  writeFileSync(file, '');
  return () => rmSync(file, { force: true });
}

async function ready(child: ChildProcess, url: string): Promise<void> {
  const deadline = Date.now() + READY_MS;
  let last = 'it never answered';
  while (Date.now() < deadline) {
    if (hasExited(child)) throw new Error(`The server ended at its start (${child.exitCode ?? child.signalCode}).`);
    try {
      const response = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2_000) });
      await response.arrayBuffer();
      if (response.status === 200) return;
      last = `GET /readyz answered ${response.status}`;
    } catch {
      // Not listening yet.
    }
    await sleep(25);
  }
  throw new Error(`The server was not ready after ${READY_MS} ms (${last}).`);
}

function hasExited(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null || child.pid === undefined;
}

function exited(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (hasExited(child)) resolve();
    else child.once('exit', () => resolve());
  });
}

async function killed(child: ChildProcess): Promise<void> {
  if (!hasExited(child)) child.kill('SIGKILL');
  await exited(child);
}

/** A port of loopback that nobody has at this moment. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer().once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}
