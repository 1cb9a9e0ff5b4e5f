/**
 * Readers that don't read and clients that vanish cost nobody else anything: others write on and are told at once. Who was slow
 * misses nothing in the end: an attachment is brought to the present state, a feed is sent away and resumes without a gap.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { connected, head } from '../support/raw.js';
import { Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';
import type { SseEvent, SseStream } from '../support/sse.js';

const named =
  (name: string) =>
  ({ event }: SseEvent) =>
    event === name;
/** With former values each change is 1.8 MB: together more than the kernel's buffers of both sides hold, 36 MiB where they are large. */
const COMMITS = 70;
const FULL = 'values=full';
/** What a server may hold for a reader that has stopped: the bound of its buffer and one more commit. */
const BUFFERED_MAX = 8 * 1024 * 1024;
const PATIENT_MS = 30_000;

/** Writes far more than a reader that has stopped can be sent. Each commit is another state of one of five items. */
async function flood(scenario: Scenario): Promise<void> {
  for (let i = 0; i < COMMITS; i++) {
    const attributes = { i, text: String(i).padEnd(900_000, 'x') };
    await scenario.calls([`PUT C/items/k${i % 5}`, { attributes }, { prefer: 'return=minimal' }]);
  }
}

async function gauge(scenario: Scenario, name: string): Promise<number> {
  const sample = new RegExp(`^${name} (\\d+)$`, 'm').exec((await scenario.call('GET /metrics')).text);
  return Number(sample?.[1]);
}

const bufferedBytes = (scenario: Scenario) => gauge(scenario, 'stargus_stream_buffered_bytes');
const streams = (scenario: Scenario) => gauge(scenario, 'stargus_streams');

type State = Record<string, { revision: number; attributes: Record<string, unknown> }>;

/** What the events of an attachment make of a state, forgetting it at each reset. */
function stateOf(stream: SseStream): State {
  let state: State = {};
  let last = 0;
  for (const { event, data } of stream.events) {
    if (event === 'reset') state = {};
    if (event === 'snapshot')
      for (const { key, revision, attributes } of data.items) state[key] = { revision, attributes };
    if (event === 'snapshot' || event === 'live') last = data.revision;
    if (event !== 'changes') continue;
    expect(data.revision).toBeGreaterThanOrEqual(last);
    last = data.revision;
    for (const { op, key, attributes, removed, revision = data.revision } of data.changes) {
      if (op === 'delete') delete state[key];
      else {
        const next: Record<string, unknown> = { ...state[key]?.attributes, ...attributes };
        for (const gone of removed) delete next[gone];
        state[key] = { revision, attributes: next };
      }
    }
  }
  return state;
}

async function truth(scenario: Scenario): Promise<State> {
  const state: State = {};
  for (let next: string | undefined = 'C/items'; next; ) {
    const { body, headers } = await scenario.calls([`GET ${next}`]);
    for (const { key, revision, attributes } of body.items) state[key] = { revision, attributes };
    next = /^<([^>]+)>/.exec(headers.link ?? '')?.[1];
  }
  return state;
}

describe.each(databases)('slow readers on $name', ({ name }) => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({ database: name });
  });

  it('an attachment that stops reading ends with the right state, and others are told meanwhile', {
    timeout: 120_000,
  }, async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ k0: { i: -1 }, gone: { i: -1 }, lamp: { on: true } });
    const [slow, quick] = await Promise.all([scenario.watch(`C/attach?${FULL}`), scenario.watch(`C/attach?${FULL}`)]);
    await Promise.all([slow.waitFor(named('live')), quick.waitFor(named('live'))]);
    slow.pause();
    await scenario.fill({ lamp: { on: false } });
    await scenario.fill({ lamp: { on: true } });
    await flood(scenario);
    await scenario.calls(['DELETE C/items/gone'], ['PUT C/items/mark', { attributes: { done: true } }]);
    const last = (await scenario.revision()) as number;
    await quick.waitFor(({ event, data }) => event === 'changes' && data.revision === last, PATIENT_MS);
    const revisions = quick.events.filter(named('changes')).map(({ data }) => data.revision);
    expect(revisions).toEqual(Array.from({ length: COMMITS + 4 }, (_, i) => i + 4));
    expect(await bufferedBytes(scenario)).toBeLessThan(BUFFERED_MAX);
    slow.resume();
    await slow.waitFor(({ data, event }) => ['changes', 'live'].includes(event) && data.revision === last, PATIENT_MS);
    const wanted = await truth(scenario);
    expect(stateOf(slow)).toEqual(wanted);
    expect(stateOf(quick)).toEqual(wanted);
    // It was left behind and told the state, not all of the way there: of a lamp that is as it was, its revision.
    expect(slow.events.filter(named('changes')).length).toBeLessThan(COMMITS);
    expect(slow.events.filter(named('bye'))).toEqual([]);
    // It is among the others again.
    await scenario.fill({ after: {} });
    await slow.waitFor(({ event, data }) => event === 'changes' && data.changes[0].key === 'after');
    slow.close();
    quick.close();
  });

  it('a feed that stops reading is told bye, and resumes without a gap or a double', { timeout: 120_000 }, async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ k0: { i: -1 } });
    const slow = await scenario.watch(`P/changes/stream?${FULL}`);
    await slow.waitFor(named('live'));
    slow.pause();
    await flood(scenario);
    expect(await bufferedBytes(scenario)).toBeLessThan(BUFFERED_MAX);
    // Its end waits to be read: until then it counts as a stream, and may be cut as one.
    expect(await streams(scenario)).toBe(1);
    slow.resume();
    await slow.ended;
    await expect.poll(() => streams(scenario)).toBe(0);
    expect(slow.events.at(-1)).toMatchObject({ event: 'bye', data: { reason: 'slow', retryMs: expect.any(Number) } });
    const before = slow.events.filter(named('changes'));
    const cursor = before.at(-1)?.id as string;
    const resumed = await scenario.watch(`P/changes/stream?${FULL}`, { 'last-event-id': cursor });
    await resumed.waitFor(({ event, data }) => event === 'changes' && data.revision === COMMITS + 1, PATIENT_MS);
    const seen = [...before, ...resumed.events.filter(named('changes'))].map(({ data }) => data.revision);
    expect(seen).toEqual(Array.from({ length: COMMITS }, (_, i) => i + 2));
    expect(resumed.events.filter(named('reset'))).toEqual([]);
    resumed.close();
  });

  it('a large snapshot that nobody reads holds up neither writers nor others', { timeout: 120_000 }, async () => {
    const scenario = new Scenario(server);
    for (let i = 0; i < 30; i++) await scenario.fill({ [`k${i}`]: { text: 'x'.repeat(900_000) } });
    const slow = await scenario.watch('C/attach');
    slow.pause();
    const quick = await scenario.watch('C/attach?key=mark');
    await quick.waitFor(named('live'));
    for (let i = 0; i < 50; i++) await scenario.fill({ mark: { i } });
    await scenario.calls(['PUT C/items/k3', { attributes: { changed: true } }], ['DELETE C/items/k29']);
    await quick.waitFor(({ event, data }) => event === 'changes' && data.revision === 80, PATIENT_MS);
    expect(quick.events.filter(named('changes'))).toHaveLength(50);
    slow.resume();
    await slow.waitFor(({ data, event }) => ['changes', 'live'].includes(event) && data.revision === 82, PATIENT_MS);
    expect(stateOf(slow)).toEqual(await truth(scenario));
    slow.close();
    quick.close();
  });

  it('clients that vanish, in the midst of a request or a stream, leave nothing behind', async () => {
    const alone = await startServer({ database: name });
    const scenario = new Scenario(alone);
    await scenario.fill({ a: {} });
    const stays = await scenario.watch('C/attach');
    await stays.waitFor(named('live'));
    const body = JSON.stringify({ attributes: { vanished: true } });
    for (let i = 0; i < 10; i++) {
      for (const [line, sent] of [
        ['PUT C/items/a', body.slice(0, 9)],
        ['PUT C/items/whole', body],
        ['GET C/attach', ''],
        ['GET P/changes/stream', ''],
        ['GET P/changes?since=now&waitMs=60000', ''],
        ['GET C/items', ''],
      ] as const) {
        const [method, path] = line.split(' ') as [string, string];
        const headers: Record<string, string | number> = line.startsWith('PUT')
          ? { 'content-type': 'application/json', 'content-length': body.length }
          : {};
        const socket = await connected(alone);
        socket.write(head(alone, `${method} ${scenario.path(path)}`, headers) + sent);
        // Some go before the request is read, some while it is answered.
        if (i % 2) await new Promise((resolve) => setTimeout(resolve, 5));
        socket.resetAndDestroy();
      }
    }
    await scenario.fill({ mark: {} });
    await stays.waitFor(({ event, data }) => event === 'changes' && data.changes[0].key === 'mark');
    expect(await scenario.attributes('a')).toEqual({});
    // What was sent whole is applied once or not at all; nothing else was written.
    const told = stays.events
      .filter(named('changes'))
      .flatMap(({ data }) => data.changes.map(({ op, key }: { op: string; key: string }) => `${op} ${key}`));
    expect(['add mark', 'add whole,add mark']).toContain(told.join());
    // Of all the streams one is left, and nobody waits.
    await expect
      .poll(async () => /^stargus_streams(?:\{\})? (\d+)$/m.exec((await scenario.call('GET /metrics')).text)?.[1], {
        timeout: 10_000,
      })
      .toBe('1');
    stays.close();
    expect(alone.output()).not.toMatch(/"level":(50|60)|a request failed|A stream failed/);
  });
});
