// The targets that are Node programs of this repository: the bare route, the limit prototype and Stargus, on either database.
import fs from 'node:fs';
import path from 'node:path';
import { projectDir } from '../places.mjs';
import { answers200, findProgram, freePort, startProcess } from '../processes.mjs';
import { startMariadb } from './mariadb.mjs';

const bareMain = path.join(projectDir, 'bench/bare.mjs');
const prototypeMain = path.join(projectDir, 'bench/prototype/main.mjs');
const stargusMain = path.join(projectDir, 'dist/server/main.js');

const bare = (port) => ({ args: [bareMain, port] });
const prototype = (port, databaseUrl) => ({ args: [prototypeMain, port, databaseUrl] });
const stargus = (port, databaseUrl) => ({
  args: [stargusMain],
  env: {
    NODE_ENV: 'production',
    STARGUS_HOST: '127.0.0.1',
    STARGUS_PORT: String(port),
    STARGUS_DATABASE_URL: databaseUrl,
  },
});

const stargusAbsent = () => (fs.existsSync(stargusMain) ? undefined : 'dist/server/main.js is missing: npm run build');
const mariadbAbsent = () =>
  findProgram('mariadbd') || process.env.STARGUS_TEST_MARIADB_URL
    ? undefined
    : 'mariadbd is missing: apt-get install mariadb-server';

export const nodeServers = {
  bare: { can: ['put', 'get'], absent: () => undefined, open: onSqlite(bare) },
  'prototype-sqlite': { absent: () => undefined, open: onSqlite(prototype) },
  'stargus-sqlite': { absent: stargusAbsent, open: onSqlite(stargus) },
  'prototype-mariadb': { absent: mariadbAbsent, open: onMariadb(prototype) },
  'stargus-mariadb': { absent: () => stargusAbsent() ?? mariadbAbsent(), open: onMariadb(stargus) },
};

function onSqlite(program) {
  return async (dir) => ({ start: (env) => startNode(dir, program, `sqlite:${path.join(dir, 'bench.db')}`, [], env) });
}

function onMariadb(program) {
  return async (dir) => {
    const database = await startMariadb();
    return { start: (env) => startNode(dir, program, database.url, database.pids, env), close: database.stop };
  };
}

async function startNode(dir, program, databaseUrl, databasePids, more = {}) {
  const port = await freePort();
  const { args, env } = program(port, databaseUrl);
  const server = await startProcess({
    command: process.execPath,
    args,
    env: { ...env, ...more },
    logFile: path.join(dir, 'server.log'),
    ready: () => answers200(`http://127.0.0.1:${port}/readyz`),
  });
  return { ...server, address: `127.0.0.1:${port}`, dialect: 'stargus', pids: [server.pid, ...databasePids] };
}
