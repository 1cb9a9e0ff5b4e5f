// Other programs that store and tell of changes over HTTP, as they come: etcd through its JSON gateway, PocketBase through its
// records and realtime API. PocketBase by default does not fsync each commit, so its writes are less durable than the others'.
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { programsDir } from '../places.mjs';
import { answers200, findProgram, freePort, startProcess } from '../processes.mjs';

const pocketbasePackage = 'github.com/pocketbase/pocketbase/examples/base@v0.36.8';
const pocketbaseProgram = () => findProgram('base', [programsDir]) ?? findProgram('pocketbase');

export const peers = {
  etcd: {
    absent: () => (findProgram('etcd') ? undefined : 'etcd is missing: apt-get install etcd-server'),
    open: async (dir) => ({ start: () => startEtcd(dir) }),
  },
  pocketbase: {
    absent: () =>
      pocketbaseProgram() ? undefined : `PocketBase is missing: GOBIN=${programsDir} go install ${pocketbasePackage}`,
    open: async (dir) => ({ start: () => startPocketbase(dir) }),
  },
};

// Builds what can be built. It needs the Go module proxy, so it is done only for --peers.
export function installPeers(say) {
  if (pocketbaseProgram()) return;
  say(`building ${pocketbasePackage}`);
  try {
    execFileSync('go', ['install', pocketbasePackage], {
      env: { ...process.env, GOBIN: programsDir, GOFLAGS: '-buildvcs=false' },
      stdio: 'inherit',
    });
  } catch (error) {
    say(`PocketBase could not be built: ${error.message}`);
  }
}

async function startEtcd(dir) {
  const client = `http://127.0.0.1:${await freePort()}`;
  const peer = `http://127.0.0.1:${await freePort()}`;
  const server = await startProcess({
    command: findProgram('etcd'),
    args: [
      `--data-dir=${path.join(dir, 'etcd')}`,
      `--listen-client-urls=${client}`,
      `--advertise-client-urls=${client}`,
      `--listen-peer-urls=${peer}`,
      `--initial-advertise-peer-urls=${peer}`,
      `--initial-cluster=default=${peer}`,
      '--log-level=error',
    ],
    logFile: path.join(dir, 'server.log'),
    ready: () => answers200(`${client}/health`),
  });
  return { ...server, address: new URL(client).host, dialect: 'etcd', pids: [server.pid] };
}

async function startPocketbase(dir) {
  const address = `127.0.0.1:${await freePort()}`;
  const dataDir = `--dir=${path.join(dir, 'pocketbase')}`;
  const superuser = { identity: 'bench@example.com', password: 'bench-password' };
  execFileSync(pocketbaseProgram(), ['superuser', 'upsert', superuser.identity, superuser.password, dataDir], {
    stdio: 'ignore',
  });
  const server = await startProcess({
    command: pocketbaseProgram(),
    args: ['serve', `--http=${address}`, dataDir],
    logFile: path.join(dir, 'server.log'),
    ready: () => answers200(`http://${address}/api/health`),
  });
  const { token } = await send('POST', `http://${address}/api/collections/_superusers/auth-with-password`, superuser);
  const collections = ['bench_items', 'bench_fan'].map(openCollection);
  await send('PUT', `http://${address}/api/collections/import`, { collections, deleteMissing: false }, token);
  return { ...server, address, dialect: 'pocketbase', pids: [server.pid] };
}

// Empty rules let anybody in: no request pays for authentication, as with Stargus in its open mode.
function openCollection(name) {
  const rules = { listRule: '', viewRule: '', createRule: '', updateRule: '', deleteRule: '' };
  return { name, type: 'base', ...rules, fields: [{ name: 'value', type: 'text' }] };
}

async function send(method, url, body, token) {
  const headers = { 'content-type': 'application/json', ...(token && { authorization: token }) };
  const response = await fetch(url, { method, headers, body: JSON.stringify(body) });
  const answer = await response.text();
  if (!response.ok) throw new Error(`${method} ${url}: ${response.status} ${answer}`);
  return answer && JSON.parse(answer);
}
