/** Several nodes of one database, and where a test of whatever a node may not keep to itself runs: also over two. */
import { redisUrl } from '../support/redis.js';
import { type DatabaseName, databases, type Server, startServer } from '../support/server.js';

/** Each database with one node, and the one that many may share with two. */
export const variants = [...databases.map(({ name }) => ({ name, nodes: 1 })), { name: 'mariadb' as const, nodes: 2 }];

/** Starts so many nodes on one new database, several with Redis between them. They end with the test file. */
export async function startNodes(
  database: DatabaseName,
  nodes: number,
  env: Record<string, string> = {},
): Promise<Server[]> {
  const shared = nodes > 1 ? { STARGUS_REDIS_URL: redisUrl(), ...env } : env;
  const first = await startServer({ database, env: shared });
  const servers = [first];
  while (servers.length < nodes)
    servers.push(await startServer({ database, databaseUrl: first.databaseUrl, env: shared }));
  return servers;
}
