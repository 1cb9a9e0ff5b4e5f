// A private MariaDB for one target, the same that the tests bring up, with its data on the project's disk and the durability
// of its defaults (innodb_flush_log_at_trx_commit=1), which is checked.
import fs from 'node:fs';
import mysql from 'mysql2/promise';
import { startServices } from '../../scripts/services.mjs';
import { cacheDir } from '../places.mjs';

export async function startMariadb() {
  process.env.TMPDIR = cacheDir; // where startServices puts the data; a /tmp in memory would have free fsyncs
  const { env, stop } = await startServices();
  const base = env.STARGUS_TEST_MARIADB_URL ?? process.env.STARGUS_TEST_MARIADB_URL;
  if (!base) throw new Error(env.STARGUS_TEST_MARIADB_ERROR);
  const url = new URL(base);
  url.pathname = `/bench_${process.pid}_${Date.now()}`;

  const connection = await mysql.createConnection(base);
  const [[server]] = await connection.query('SELECT @@pid_file AS pidFile, @@innodb_flush_log_at_trx_commit AS flush');
  await connection.query(`CREATE DATABASE ${url.pathname.slice(1)}`);
  await connection.end();
  if (Number(server.flush) !== 1)
    throw new Error('MariaDB runs with innodb_flush_log_at_trx_commit other than 1: not durable');
  // A server given from outside may be on another machine: then its processor time isn't counted.
  const pids = fs.existsSync(server.pidFile) ? [Number(fs.readFileSync(server.pidFile, 'utf8'))] : [];
  return { url: url.href, pids, stop };
}
