/**
 * The example of the flights, run whole as a user would; then its questions asked again, and compared with the same worked out
 * here from the file that it read.
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { databases, type Server, startServer } from '../support/server.js';

const ROOT = path.resolve(import.meta.dirname, '../..');
const EXAMPLE = path.join(ROOT, 'examples/flights');
const DATA = path.join(ROOT, 'node_modules/vega-datasets/data/flights-200k.json');
const COLLECTION = '/v1/pools/air/collections/flights';

type Attributes = Record<'delay' | 'distance' | 'time' | 'hour', number>;

interface Flight {
  readonly key: string;
  readonly attributes: Attributes;
}

interface Plan {
  readonly access: string;
  readonly indexes: readonly string[];
  readonly sorted: boolean;
  readonly examined: number;
}

// biome-ignore lint/suspicious/noExplicitAny: a test asserts the shape; a type here would only repeat it.
type Answer = any;

const flights: readonly Flight[] = (JSON.parse(readFileSync(DATA, 'utf8')) as Omit<Attributes, 'hour'>[]).map(
  (row, i) => ({ key: String(i).padStart(6, '0'), attributes: { ...row, hour: Math.floor(row.time) } }),
);

const questions = JSON.parse(readFileSync(path.join(EXAMPLE, 'questions.json'), 'utf8')) as {
  name: string;
  ask: Record<string, unknown>;
}[];

interface Expected {
  readonly where: (attributes: Attributes) => boolean;
  readonly order: (a: Attributes, b: Attributes) => number;
  readonly plan: Omit<Plan, 'examined'>;
  /** On the first page; `all` is the number of matches. */
  readonly examined: (all: number, page: number) => number;
}

const lists: Record<string, Expected> = {
  latest: {
    where: ({ hour }) => hour === 17,
    order: (a, b) => b.delay - a.delay,
    plan: { access: 'index', indexes: ['byHour'], sorted: false },
    examined: (_all, page) => page + 1,
  },
  extremes: {
    where: ({ delay, distance }) => delay >= 600 || distance >= 4900,
    order: (a, b) => b.distance - a.distance || b.delay - a.delay,
    plan: { access: 'union', indexes: ['byDelay', 'byDistance'], sorted: true },
    examined: (all) => all,
  },
  coastToCoast: {
    where: ({ delay, distance }) => distance >= 2500 && distance < 2600 && delay >= 120,
    order: (a, b) => a.distance - b.distance,
    plan: { access: 'index', indexes: ['byDistance'], sorted: true },
    examined: () => flights.filter(({ attributes: { distance } }) => distance >= 2500 && distance < 2600).length,
  },
  afterMidnight: {
    where: ({ time }) => time < 0.25,
    order: (a, b) => a.time - b.time || b.delay - a.delay,
    plan: { access: 'keys', indexes: [], sorted: true },
    examined: () => flights.length,
  },
};

describe.each(databases)('the example of the flights on $name', { timeout: 180_000 }, ({ name: database }) => {
  let server: Server;
  let output: string;

  beforeAll(async () => {
    server = await startServer({ database });
    const { code, output: printed } = await run('--url', server.url);
    expect(code, printed).toBe(0);
    output = printed;
  }, 180_000);

  test('it imports all flights, shows what was found and what was refused', async () => {
    expect(output).toMatch(/Imported 200000 flights in .*: 200000 written, 0 as they were before\./);
    expect(output).toContain('Indexes: byHour, byDelay, byDistance.');
    expect(output).toContain('13325 in all\n  (found by byHour; looked at 6)');
    expect(output).toContain('{"delay":"two hours"}: /attributes/delay must be integer');
    expect(output).toContain('{"distance":1}: /attributes/distance the distance of a flight does not change');
    const collection = await get('');
    expect(collection.items).toBe(flights.length);
    expect(collection.indexes.map(({ state }: { state: string }) => state)).toEqual(['ready', 'ready', 'ready']);
  });

  test.each(Object.entries(lists))(
    '%s: the same flights in the same order, page after page',
    async (name, expected) => {
      const ask = askOf(name);
      const all = flights
        .filter(({ attributes }) => expected.where(attributes))
        .sort((a, b) => expected.order(a.attributes, b.attributes) || (a.key < b.key ? -1 : 1));
      const fields = (ask.fields ?? ['delay', 'distance', 'time', 'hour']) as (keyof Attributes)[];
      const wanted = all.map(({ key, attributes }) => ({
        key,
        attributes: Object.fromEntries(fields.map((field) => [field, attributes[field]])),
      }));

      const first = await query(ask);
      expect(first.items.map(shown)).toEqual(wanted.slice(0, ask.limit as number));
      expect(first.count).toBe(all.length);
      expect(first.plan).toMatchObject(expected.plan);
      expect(first.plan.examined).toBe(expected.examined(all.length, ask.limit as number));

      const found: Answer[] = [];
      let pageToken: string | undefined;
      do {
        const page = await query({ ...ask, limit: 1000, count: undefined, explain: undefined, pageToken });
        found.push(...page.items.map(shown));
        pageToken = page.nextPageToken;
      } while (pageToken !== undefined);
      expect(found).toEqual(wanted);
    },
  );

  test('all: the aggregates of all flights', async () => {
    const { aggregates } = await query(askOf('all'));
    expectAggregates(aggregates, {
      ...aggregatesOf(flights),
      miles: sum(flights.map(({ attributes }) => attributes.distance)),
      averageTime: sum(flights.map(({ attributes }) => attributes.time)) / flights.length,
    });
  });

  test('farByHour: the aggregates of each group', async () => {
    const { groups, plan } = await query(askOf('farByHour'));
    const far = flights.filter(({ attributes }) => attributes.distance >= 2000);
    const hours = [...new Set(far.map(({ attributes }) => attributes.hour))].sort((a, b) => a - b);
    expect(groups.map(({ group }: Answer) => group)).toEqual(hours.map((hour) => ({ hour })));
    for (const [i, hour] of hours.entries()) {
      expectAggregates(groups[i].aggregates, aggregatesOf(far.filter(({ attributes }) => attributes.hour === hour)));
    }
    expect(plan).toMatchObject({ access: 'index', indexes: ['byDistance'], examined: far.length });
  });

  test('what is repeated changes nothing', async () => {
    const before = (await get('')).revision;
    const { code, output: again } = await run('--url', server.url, '--limit', '5000');
    expect(code, again).toBe(0);
    expect(again).toContain('5000 flights');
    expect(again).toContain('0 written, 5000 as they were before.');
    expect((await get('')).revision).toBe(before);
  });

  const query = (ask: object): Promise<Answer> => send('POST', '/query', ask);
  const get = (place: string): Promise<Answer> => send('GET', place);

  async function send(method: string, place: string, body?: object): Promise<Answer> {
    const response = await fetch(`${server.url}${COLLECTION}${place}`, {
      method,
      ...(body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    });
    const answer = await response.json();
    expect(response.status, JSON.stringify(answer)).toBe(200);
    return answer;
  }
});

test('says what to do when there is no server', async () => {
  const { code, output } = await run('--url', 'http://127.0.0.1:1');
  expect(output).toContain('No Stargus is ready at http://127.0.0.1:1');
  expect(code).toBe(1);
});

test('explains its options', async () => {
  expect((await run('--nonsense')).code).toBe(2);
  expect((await run('--help')).output).toContain('Usage:');
});

function askOf(name: string): Record<string, unknown> {
  const question = questions.find((candidate) => candidate.name === name);
  if (!question) throw new Error(`There is no question ${name}`);
  return question.ask;
}

function shown({ key, attributes }: Answer): Answer {
  return { key, attributes };
}

function aggregatesOf(chosen: readonly Flight[]) {
  const delays = chosen.map(({ attributes }) => attributes.delay);
  return {
    flights: chosen.length,
    averageDelay: sum(delays) / delays.length,
    earliest: delays.reduce((a, b) => Math.min(a, b)),
    latest: delays.reduce((a, b) => Math.max(a, b)),
  };
}

/** Averages and sums may differ in their last digits, for they were added in another order; the rest may not. */
function expectAggregates(actual: Record<string, number>, wanted: Record<string, number>): void {
  expect(Object.keys(actual).sort()).toEqual(Object.keys(wanted).sort());
  for (const [name, value] of Object.entries(wanted)) {
    const isExact = !/^average/.test(name);
    const off = Math.abs((actual[name] as number) - value) / Math.abs(value || 1);
    expect(off, `${name}: ${actual[name]} for ${value}`).toBeLessThanOrEqual(isExact ? 0 : 1e-12);
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}

function run(...options: string[]): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [path.join(EXAMPLE, 'main.mjs'), ...options], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    }
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, output }));
  });
}
