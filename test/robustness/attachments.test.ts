/**
 * A session whose views overlap, are narrow or sparse, and are attached, changed and detached while writers write. Its stream
 * is cut at any byte and resumed, on one node or in turn on two. What its client makes of it is the state at each id.
 */
import { request } from 'node:http';
import { createParser } from 'eventsource-parser';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { searching } from '../support/budget.js';
import type { Server } from '../support/server.js';
import { Client, type Item, pause } from './client.js';
import { replay } from './filtering.js';
import { KEYS, Load, write } from './load.js';
import type { ModelCommit } from './model.js';
import { startNodes } from './nodes.js';
import { type Items, SessionReader } from './session-reader.js';

const BUDGET_MS = searching(10_000);
const VIEWS = ['v', 'w', 'x', 'y'];

const attachment = fc
  .record({
    collection: fc.constantFrom('c1', 'c1', 'c2', 'nothing'),
    place: fc.oneof(
      fc.constant({}),
      fc.record({ key: fc.constantFrom(...KEYS) }),
      fc.record({ prefix: fc.constantFrom('a', 'b/', '😀', 'x') }),
      fc.constantFrom({ start: 'a2', end: 'é' }, { start: 'é', end: '😀2' }, { start: '\ufffd1' }, { end: 'b/2' }),
    ),
    where: fc.constantFrom(undefined, { room: 'red' }, { room: { in: ['blue', 'green'] } }, { not: { room: 'red' } }),
    fields: fc.constantFrom(undefined, ['n'], ['m', 's']),
    values: fc.constantFrom('changed', 'full', 'none'),
    locks: fc.constant(false),
  })
  .map(({ place, ...rest }) => ({ ...rest, ...place }));
const change = fc.record({
  view: fc.constantFrom(...VIEWS),
  attachment: fc.option(attachment, { freq: 4, nil: undefined }),
  delayMs: fc.nat({ max: 40 }),
});
const scenario = fc.record({
  writers: fc.array(fc.array(write(), { minLength: 20, maxLength: 60, size: 'max' }), { minLength: 2, maxLength: 3 }),
  changes: fc.array(change, { minLength: 5, maxLength: 20, size: 'max' }),
  cuts: fc.array(fc.integer({ min: 1, max: 4000 }), { minLength: 5, maxLength: 15, size: 'max' }),
});

interface Connection {
  readonly text: string;
  /** The pool's revision when it was opened. */
  readonly opened: number;
  readonly cursor: string | undefined;
}

/** Reads a stream up to so many bytes, or until it has told an id that is enough. */
function take(
  url: string,
  from: string | undefined,
  bytes: number,
  isEnough: (cursor: string | undefined) => boolean,
): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const headers = { accept: 'text/event-stream', ...(from && { 'last-event-id': from }) };
    const outgoing = request(url, { headers, agent: false });
    outgoing.on('error', () => undefined);
    outgoing.on('response', (response) => {
      const opened = Number(response.headers['stargus-revision']);
      let received = Buffer.alloc(0);
      let cursor = from;
      const decoder = new TextDecoder();
      const parser = createParser({
        onEvent: ({ id }) => {
          if (id !== undefined) cursor = id || undefined;
        },
      });
      // It may have been enough before that was known.
      const looking = setInterval(() => isEnough(cursor) && outgoing.destroy(), 20);
      response.on('error', () => undefined);
      response.on('data', (chunk: Buffer) => {
        const part = chunk.subarray(0, bytes - received.length);
        received = Buffer.concat([received, part]);
        parser.feed(decoder.decode(part, { stream: true }));
        if (received.length >= bytes) outgoing.destroy();
      });
      response.on('close', () => {
        clearInterval(looking);
        if (response.statusCode === 200) resolve({ text: received.toString(), opened, cursor });
        else reject(new Error(`${response.statusCode} ${received}`));
      });
    });
    outgoing.end();
  });
}

/** The items after each commit, attachments among them. */
async function statesOf(client: Client, pool: string): Promise<(revision: number) => Items> {
  const { commits } = await client.commits(pool);
  const { commits: attached } = await client.commits(pool, 'start', '&collection=_attachments');
  const { body } = await client.ok(`GET /v1/pools/${pool}`);
  const states: Map<string, Item>[] = [new Map()];
  const all = [...commits, ...attached] as unknown as ModelCommit[];
  replay(
    all.sort((a, b) => a.revision - b.revision),
    ({ revision }, _before, after) => {
      states[revision] = new Map(after);
    },
  );
  for (let revision = 1; revision <= body.revision; revision++)
    states[revision] ??= states[revision - 1] as Map<string, Item>;
  return (revision) => states[revision] as Items;
}

describe.each([
  ['sqlite', 1],
  ['mariadb', 1],
  ['mariadb', 2],
] as const)('a session on %s, on %i node', (database, nodes) => {
  const servers: Server[] = [];
  let client: Client;
  beforeAll(async () => {
    servers.push(...(await startNodes(database, nodes)));
    let turn = 0;
    client = new Client(() => (servers[turn++ % servers.length] as Server).url);
  });
  afterAll(() => client?.close());

  test('has copies of all its views that are the state at each id', async () => {
    let runs = 0;
    let connections = 0;
    await fc.assert(
      fc.asyncProperty(scenario, async ({ writers, changes, cuts }) => {
        const pool = `attached-${++runs}`;
        const P = `/v1/pools/${pool}`;
        const { session } = (await client.ok(`POST ${P}/sessions`, { ttlMs: 600_000 })).body;
        const load = new Load(client, pool);
        let last: number | undefined;
        const isEnough = (cursor: string | undefined) =>
          last !== undefined && Number(cursor?.split('-')[1] ?? 0) >= last;
        const reading = (async () => {
          const taken: Connection[] = [];
          const left = [...cuts];
          while (!isEnough(taken.at(-1)?.cursor)) {
            const { url } = servers[taken.length % servers.length] as Server;
            const path = `${url}${P}/sessions/${session}/events?bookmarkMs=1000`;
            const bytes = left.shift() ?? Number.POSITIVE_INFINITY;
            taken.push(await take(path, taken.at(-1)?.cursor, bytes, isEnough));
          }
          return taken;
        })();
        const attaching = async () => {
          for (const { view, attachment, delayMs } of changes) {
            await pause(delayMs);
            const path = `${P}/sessions/${session}/attachments/${view}`;
            await (attachment ? client.ok(`PUT ${path}`, attachment) : client.ok(`DELETE ${path}`));
          }
        };
        const writing = writers.map(async (own) => {
          for (const each of own) await load.write(each);
        });
        await Promise.all([attaching(), ...writing]);
        last = (await client.ok(`GET ${P}`)).body.revision as number;
        const taken = await reading;
        const reader = new SessionReader(session, await statesOf(client, pool));
        for (const { text, opened } of taken) reader.read(text, opened);
        expect([reader.cursor, reader.bye]).toEqual([taken.at(-1)?.cursor, undefined]);
        connections += taken.length;
      }),
      { numRuns: 1000, interruptAfterTimeLimit: BUDGET_MS, markInterruptAsFailure: false, endOnFailure: true },
    );
    expect(runs).toBeGreaterThan(1);
    expect(connections).toBeGreaterThan(2 * runs);
  }, 120_000);
});
