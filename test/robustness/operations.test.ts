/**
 * Operations under kills: whatever dies between their being accepted, done and noted, each that was accepted is done exactly once and
 * in order, each that was cancelled never, and their session is told of each once.
 */
import { describe, expect, test } from 'vitest';
import { type Server, startServer } from '../support/server.js';
import { type Answer, Client, inParallel, pause } from './client.js';
import { variants } from './nodes.js';

const POOLS = ['one', 'two', 'three'];
const KILLS = 6;

describe.each(variants)('operations on $name, nodes: $nodes', ({ name, nodes }) => {
  test('are done once and in order, whatever is killed', async () => {
    const servers: Server[] = [await startServer({ database: name })];
    const { databaseUrl } = servers[0] as Server;
    while (servers.length < nodes) servers.push(await startServer({ database: name, databaseUrl }));
    let turn = 0;
    const client = new Client(() => (servers[turn++ % servers.length] as Server).url);
    let over = false;
    let unanswered = 0;

    /** Asks until there is an answer that says more than that the server is away. */
    const insist = async (line: string, body?: unknown, headers?: Record<string, string>): Promise<Answer> => {
      for (;;) {
        try {
          const answer = await client.call(line, body, headers);
          if (answer.status < 500 && answer.status !== 429) return answer;
        } catch {
          unanswered++;
        }
        await pause(20);
      }
    };

    const story = async (pool: string) => {
      const P = `/v1/pools/${pool}`;
      const { session } = (await insist(`POST ${P}/sessions`, { name: 's', ttlMs: 600_000 })).body;
      const speaking = { 'stargus-session': `${session};epoch=1`, prefer: 'respond-async' };
      const expected: number[] = [];
      const paths: string[] = [];
      let cancelled = 0;
      for (let n = 0; !over; n++) {
        const op = (attribute: string, rest: object) => ({ collection: 'things', key: 'a', attribute, ...rest });
        const ops = [op('list', { op: 'append', value: n }), op('n', { op: 'increment', by: 1 })];
        const headers = { ...speaking, 'idempotency-key': String(n) };
        const sent = await insist(`POST ${P}/batch`, { ops }, headers);
        expect(sent.status, JSON.stringify(sent.body)).toBe(202);
        const path = sent.headers.location as string;
        if (n % 7 === 3) {
          const removed = await insist(`DELETE ${path}`);
          // A cancellation whose answer was lost is told as if there were none; then it was done or it was cancelled.
          if (removed.status === 200 && removed.body.cancelled) {
            cancelled++;
            continue;
          }
          if (removed.status === 404) {
            const { body } = await insist(`GET ${P}/collections/things/items/a`);
            if (!body.attributes?.list.includes(n)) continue;
          }
          if (removed.status === 409) paths.push(path);
        } else paths.push(path);
        expected.push(n);
      }
      return { pool, session, expected, paths, cancelled };
    };

    const stories = Promise.all(POOLS.map(story));
    const failed = stories.then(() => undefined);
    const nemesis = async () => {
      for (let kill = 0; kill < KILLS; kill++) {
        await pause(300 + Math.random() * 700);
        const i = kill % nodes;
        await servers[i]?.kill();
        await pause(Math.random() * 300);
        servers[i] = await startServer({ database: name, databaseUrl });
      }
      await pause(300);
    };
    await Promise.race([nemesis(), failed]).finally(() => {
      over = true;
    });

    let accepted = 0;
    let cancelled = 0;
    for (const told of await stories) {
      const P = `/v1/pools/${told.pool}`;
      await inParallel(
        8,
        told.paths.map((path) => async () => {
          let operation: Answer | undefined;
          while (operation?.body.status !== 'done') operation = await insist(`GET ${path}?waitMs=5000`);
          expect(operation.body.result).toMatchObject({ status: 200 });
        }),
      );
      const { attributes } = (await insist(`GET ${P}/collections/things/items/a`)).body;
      expect(attributes.list).toEqual(told.expected);
      expect(attributes.n).toBe(told.expected.length);
      const { commits } = await client.commits(told.pool, 'start', '&collection=things');
      expect(commits).toHaveLength(told.expected.length);
      // The session was told of each, once.
      const news = await client.commits(told.pool, 'start', '&collection=_operations');
      const ids = news.commits.flatMap(({ changes }) => changes.map((change) => change.attributes.operation));
      expect(new Set(ids).size).toBe(ids.length);
      expect(ids).toHaveLength(told.expected.length);
      accepted += told.expected.length;
      cancelled += told.cancelled;
    }
    // What didn't happen proves nothing.
    expect(accepted).toBeGreaterThan(30);
    expect(cancelled).toBeGreaterThan(0);
    expect(unanswered).toBeGreaterThan(0);
    client.close();
  }, 240_000);
});
