/**
 * A private MariaDB Galera cluster of three nodes on loopback, from Debian's packages where there are none: every node takes writes,
 * and conflicts between nodes come out when a transaction commits. A node may be killed and started again; it then joins the
 * others with what it is missing. `node scripts/galera.mjs` starts one, prints its addresses and keeps it until Ctrl-C.
 */
import { mkdirSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { clearLeftovers, ensureProgram, newFolder, program, startDaemon, tail } from './daemon.mjs';
import { run } from './programs.mjs';

const NODES = 3;
const PROVIDER = '/usr/lib/galera/libgalera_smm.so';
const INSTALL_MS = 60_000;
const SYNCED_MS = 60_000;
/** What a node listens on beside its client port: the group, incremental transfer, one free, and state transfer. */
const PORTS_PER_NODE = 4;
/** Below the ports that the system gives out by itself, so that nobody happens to be given one of a group. */
const PORT_MIN = 15_000;
const PORT_MAX = 31_000;

/**
 * Starts the cluster.
 *
 * @param {(line: string) => void} [log] hears of what takes long
 * @returns {Promise<{nodes: GaleraNode[], urls: string[], url: string, stop: () => Promise<void>}>} `url` is the first node's
 */
export async function startGalera(log = () => {}) {
  // Not only the server: the script of the transfer comes with the whole package.
  await ensureProgram('wsrep_sst_rsync', ['mariadb-server'], log);
  await ensureProgram('rsync', ['rsync'], log);
  // The transfer of a node's state looks with it whether its port is open.
  await ensureProgram('ss', ['iproute2'], log);
  await ensureProgram(PROVIDER, ['galera-4'], log);
  const owner = await ownerOfServers();
  const groups = await freeGroups();
  const nodes = [];
  const stop = async () => {
    // The last one first: each that leaves tells the others, and the rest stays a majority of what is left.
    for (const node of nodes.splice(0).reverse()) await node.stop();
  };
  try {
    for (const group of groups) nodes.push(await startNode(group, groups, owner));
    for (const node of nodes) await synced(node, NODES);
  } catch (error) {
    await stop();
    throw error;
  }
  const urls = nodes.map(({ url }) => url);
  return { nodes, urls, url: urls[0], stop };
}

/**
 * @typedef {{url: string, port: number, pid: () => number, kill: (signal?: string) => Promise<void>, restart: () => Promise<void>,
 *   stop: () => Promise<void>}} GaleraNode `kill` ends it at once (or sends another signal), `restart` starts a killed one again
 *   and waits until it has joined the others
 *
 * @returns {Promise<GaleraNode>}
 */
async function startNode(group, groups, owner) {
  // Who isn't root doesn't get into a folder of root's, which that of a test run is.
  const folder = newFolder(owner ? '/tmp' : undefined);
  const env = { TMPDIR: folder };
  const data = path.join(folder, 'mysql');
  let isFirst = group === groups[0];
  let position = [];
  const asOwner = owner ? ['--user=mysql'] : [];
  const base = ['--no-defaults', ...asOwner, `--datadir=${data}`];
  const cluster = (port) => [
    '--bind-address=127.0.0.1',
    `--port=${port}`,
    `--socket=${path.join(folder, 's.sock')}`,
    `--pid-file=${path.join(folder, 's.pid')}`,
    ...['--innodb-buffer-pool-size=128M', '--innodb-log-file-size=32M', '--max-connections=400'],
    ...['--character-set-server=utf8mb4', '--collation-server=utf8mb4_bin', '--transaction-isolation=READ-COMMITTED'],
    ...['--binlog-format=ROW', '--default-storage-engine=InnoDB', '--innodb-autoinc-lock-mode=2'],
    ...['--wsrep-on=ON', `--wsrep-provider=${PROVIDER}`, '--wsrep-cluster-name=stargus-test'],
    `--wsrep-cluster-address=gcomm://${groups.map((each) => `127.0.0.1:${each}`).join(',')}`,
    `--wsrep-node-address=127.0.0.1:${group}`,
    ...['--wsrep-slave-threads=2', '--wsrep-sst-method=rsync', `--wsrep-sst-receive-address=127.0.0.1:${group + 3}`],
    `--wsrep-provider-options=base_port=${group};gmcast.listen_addr=tcp://127.0.0.1:${group};ist.recv_addr=127.0.0.1:${group + 1};gcache.size=64M`,
  ];
  const daemon = await startDaemon({
    name: 'mariadbd (Galera)',
    folder,
    env,
    async prepare() {
      mkdirSync(data);
      if (owner) await must('chown', ['-R', owner, folder]);
      // The others are given the first one's files when they join.
      if (!isFirst) return;
      const options = ['--auth-root-authentication-method=normal', '--skip-test-db'];
      await must(program('mariadb-install-db'), [...base, ...options], { env, timeoutMs: INSTALL_MS });
    },
    arguments: (port) => [
      program('mariadbd'),
      [...base, ...cluster(port), ...position, ...(isFirst ? ['--wsrep-new-cluster'] : [])],
    ],
    answers: async (port) => (await statusOf(port))?.wsrep_ready === 'ON',
  });
  isFirst = false;
  const node = {
    ...daemon,
    url: `mysql://root@127.0.0.1:${daemon.port}/`,
    async restart() {
      position = await recovered([...base, ...cluster(daemon.port)], env);
      await daemon.restart();
      await synced(node, 2);
    },
  };
  return node;
}

/** What a killed node still knows of where it was, so that it is sent only what it is missing. */
async function recovered(args, env) {
  const { output } = await run(program('mariadbd'), [...args, '--wsrep-recover'], {
    quiet: true,
    env,
    timeoutMs: INSTALL_MS,
  });
  const at = /Recovered position:\s*(\S+:-?\d+)/.exec(output)?.[1];
  return at === undefined || at.endsWith(':-1') ? [] : [`--wsrep-start-position=${at}`];
}

async function synced({ port }, size) {
  for (const end = Date.now() + SYNCED_MS; ; await new Promise((resolve) => setTimeout(resolve, 100))) {
    const status = await statusOf(port);
    if (status?.wsrep_local_state_comment === 'Synced' && Number(status.wsrep_cluster_size) >= size) return;
    if (Date.now() > end) throw new Error(`A node of the cluster is not in step after ${SYNCED_MS / 1000} s.`);
  }
}

/** What the node says of the cluster; undefined while it doesn't answer. */
export async function statusOf(port) {
  const { createConnection } = await import('mysql2/promise');
  let connection;
  try {
    connection = await createConnection({ host: '127.0.0.1', port, user: 'root', connectTimeout: 2_000 });
    const [rows] = await connection.query("SHOW GLOBAL STATUS LIKE 'wsrep%'");
    return Object.fromEntries(rows.map(({ Variable_name: name, Value: value }) => [name, value]));
  } catch {
    return undefined;
  } finally {
    connection?.destroy();
  }
}

/** Whose the files are to be: state transfer by rsync doesn't work as root. Undefined for whoever isn't root. */
async function ownerOfServers() {
  if (process.getuid?.() !== 0) return undefined;
  const { code } = await run('id', ['mysql'], { quiet: true });
  if (code !== 0) throw new Error('There is no user mysql to run the nodes as, and as root they do not run.');
  return 'mysql';
}

async function must(command, args, options = {}) {
  const { code, output } = await run(command, args, { quiet: true, ...options });
  if (code !== 0) throw new Error(`${path.basename(command)} failed: ${tail(output)}`);
}

/** The first ports of the nodes: for each so many in a row that nobody uses. Several clusters may be on one machine. */
async function freeGroups() {
  const groups = [];
  for (let attempt = 0; groups.length < NODES; attempt++) {
    if (attempt > 1000) throw new Error('There are no free ports for a cluster.');
    const first = PORT_MIN + PORTS_PER_NODE * Math.floor((Math.random() * (PORT_MAX - PORT_MIN)) / PORTS_PER_NODE);
    if (groups.includes(first)) continue;
    const ports = Array.from({ length: PORTS_PER_NODE }, (_, i) => first + i);
    if ((await Promise.all(ports.map(isFree))).every(Boolean)) groups.push(first);
  }
  return groups;
}

function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer().once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

if (process.argv[1]?.endsWith('galera.mjs')) {
  const asked = new Promise((resolve) => {
    process.once('SIGINT', resolve).once('SIGTERM', resolve);
  });
  const log = (line) => console.error(line);
  await clearLeftovers(log);
  const { urls, stop } = await startGalera(log);
  console.log(`STARGUS_TEST_MARIADB_URLS=${urls.join(',')}`);
  console.error('Running until Ctrl-C.');
  // A pending promise alone doesn't keep Node alive.
  const keepAlive = setInterval(() => {}, 60_000);
  await asked;
  clearInterval(keepAlive);
  await stop();
}
