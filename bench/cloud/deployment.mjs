// Several nodes of one MariaDB database with Redis between them, as targets of the bench, and what they have in common.
import { startRedis } from '../../scripts/redis.mjs';
import { generate } from '../generator.mjs';

// Runs work(nodes, addNode) with so many nodes; start is that of a target of the suite.
export async function withNodes(start, count, work, env = {}) {
  const redis = await startRedis();
  const nodes = [];
  try {
    const addNode = async (more = {}) => {
      const node = await start({ STARGUS_REDIS_URL: redis.url, ...env, ...more });
      nodes.push(node);
      return node;
    };
    while (nodes.length < count) await addNode();
    return await work(nodes, { addNode, redis });
  } finally {
    for (const node of nodes) await node.stop();
    await redis.stop();
  }
}

// One workload against all nodes at once, its connections shared out; rates are added up. The processor time is that of all
// nodes, their database and Redis.
export async function generateOnAll(nodes, redis, { connections, ...flags }) {
  const share = (total, i) => Math.floor(total / nodes.length) + (i < total % nodes.length ? 1 : 0);
  const [first] = nodes;
  const database = first.pids.slice(1);
  const results = await Promise.all(
    nodes.map((node, i) => {
      // What they have in common is counted once.
      const pids = [node.pid, ...(i === 0 ? [...database, redis.pid()] : [])];
      return generate({ ...node, pids }, { ...flags, connections: share(connections, i) });
    }),
  );
  const sum = (member) => results.reduce((total, result) => total + (result[member] ?? 0), 0);
  const worst = (member) => Math.max(...results.map((result) => result[member] ?? 0));
  return {
    ...{ rate: sum('rate'), serverCpu: sum('serverCpu'), generatorCpu: sum('generatorCpu') },
    ...{ errors: sum('errors'), p99Ms: worst('p99Ms') },
    problem: results.find(({ problem }) => problem)?.problem,
  };
}

// Server-Sent Events of a path, one after the other, until the connection ends: {id, event, data}.
export async function* eventsOf(url, { cursor, signal } = {}) {
  const response = await fetch(url, { signal, headers: cursor === undefined ? {} : { 'last-event-id': cursor } });
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  let text = '';
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const lines = text.slice(0, end).split('\n');
      text = text.slice(end + 2);
      const field = (name) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      if (field('event')) yield { id: field('id'), event: field('event'), data: JSON.parse(field('data')) };
    }
  }
}

export async function put(node, path, attributes) {
  const response = await fetch(`http://${node.address}/v1/pools/bench/collections/${path}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ attributes }),
  });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response.json();
}

export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}
