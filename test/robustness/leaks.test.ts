/**
 * The leak test: random policies, edits of policies, writes, batches, queries, aggregates, exports, histories, watchers, disconnects and
 * resumes, over HTTP, against an oracle that knows the policy of each revision and asks every rule about every attribute. Nobody ever
 * receives what they may not see, by any path; and everybody receives all that they may. The seed is printed and can be given:
 * STARGUS_TEST_SEED=1 npm test -- test/robustness/leaks.test.ts
 */
import { describe, expect, test } from 'vitest';
import { searching } from '../support/budget.js';
import { accountOf, asOperator, OPERATOR_KEY } from '../support/people.js';
import { type Answer, type Attributes, Client, type Headers, type Item } from './client.js';
import type { PolicyItem, PolicyRule } from './entitled.js';
import { matches, type Where } from './filtering.js';
import { LeakWatcher } from './leak-watcher.js';
import { textOf, World } from './leak-world.js';
import { startNodes, variants } from './nodes.js';
import { Random, seedOfRun } from './random.js';

const STEPS = searching(800);
const NAMES = ['ann', 'bob', 'cat'];
const SUBJECTS = NAMES.map(accountOf);
const COLLECTIONS = ['things', 'rooms'];
const KEYS = ['k1', 'k2', 'k3', 'k4', 'm1', 'm2', 'm3'];
const ATTRIBUTES = ['room', 'owner', 'n', 'secret', 'long'];

class Run {
  readonly random: () => number;
  readonly world: World;
  readonly client: Client;
  readonly watchers: LeakWatcher[] = [];
  readonly counts: Record<string, number> = {};

  constructor(
    readonly seed: number,
    readonly bases: readonly string[],
    readonly keys: ReadonlyMap<string, Headers>,
  ) {
    const random = new Random(seed);
    this.random = () => random.next();
    this.client = new Client(() => this.any(this.bases));
    this.world = new World(this.client, `leak${seed}`, asOperator, SUBJECTS);
  }

  any<T>(values: readonly T[]): T {
    return values[Math.floor(this.random() * values.length)] as T;
  }

  chance(share: number): boolean {
    return this.random() < share;
  }

  count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }

  path(collection: string): string {
    return `/v1/pools/${this.world.pool}/collections/${collection}`;
  }

  attributes(): Attributes {
    const all: Attributes = {
      room: this.any(['red', 'blue']),
      owner: this.any(SUBJECTS),
      n: Math.floor(this.random() * 4),
      secret: this.world.word(this.seed),
      long: this.world.word(this.seed),
    };
    return Object.fromEntries(Object.entries(all).filter(() => this.chance(0.6)));
  }

  where(): Where {
    return this.any<Where>([
      { room: 'red' },
      { owner: '$subject.id' },
      { n: { lt: 2 } },
      { not: { n: { exists: true } } },
      { or: [{ room: 'blue' }, { owner: '$subject.id' }] },
    ]);
  }

  rule(): PolicyRule {
    const subjects = SUBJECTS.filter(() => this.chance(0.5));
    return {
      effect: this.chance(0.75) ? 'allow' : 'deny',
      actions: this.any([
        ['read'],
        ['watch'],
        ['read', 'watch'],
        ['read', 'watch', 'create', 'write', 'delete'],
        ['write'],
        ['create', 'write'],
      ]),
      who: this.any([
        { anyone: true as const },
        { roles: ['staff'] },
        { subjects: subjects.length > 0 ? subjects : [accountOf('nobody')] },
      ]),
      collections: this.any([['things'], ['rooms'], ['*'], ['things', 'rooms'], ['*', '_changes']]),
      ...(this.chance(0.2) && { keys: { prefix: this.any(['k', 'm']) } }),
      ...(this.chance(0.4) && { attributes: ATTRIBUTES.filter(() => this.chance(0.5)).concat('x') }),
      ...(this.chance(0.4) && { where: this.where() }),
    };
  }

  policy(): PolicyItem {
    return {
      rules: Array.from({ length: Math.floor(this.random() * 4) }, () => this.rule()),
      roles: { staff: SUBJECTS.filter(() => this.chance(0.5)) },
    };
  }

  async step(): Promise<void> {
    const steps: [weight: number, () => Promise<void>][] = [
      [10, () => this.operatorWrites()],
      [8, () => this.policyChanges()],
      [14, () => this.subjectWrites()],
      [12, () => this.readsItem()],
      [16, () => this.queries()],
      [6, () => this.aggregates()],
      [4, () => this.readsOtherwise()],
      [4, () => this.readsChanges()],
      [10, () => this.watches()],
    ];
    let left = this.random() * steps.reduce((sum, [weight]) => sum + weight, 0);
    for (const [weight, step] of steps) {
      left -= weight;
      if (left < 0) return step();
    }
  }

  async operatorWrites(): Promise<void> {
    this.count('writes');
    const ops = Array.from({ length: 1 + Math.floor(this.random() * 3) }, () => {
      const place = { collection: this.any(COLLECTIONS), key: this.any(KEYS) };
      const op = this.any(['put', 'put', 'merge', 'delete', 'unset']);
      if (op === 'delete') return { op, ...place };
      return op === 'unset'
        ? { op, ...place, names: [this.any(ATTRIBUTES)] }
        : { op, ...place, attributes: this.attributes() };
    });
    // Sometimes what is hidden changes together with what hides it.
    if (this.chance(0.15))
      ops.push({ op: 'put', collection: '_policies', key: this.any(['p1', 'p2']), attributes: this.policy() as never });
    await this.client.ok(`POST /v1/pools/${this.world.pool}/batch`, { ops }, asOperator);
    await this.world.learn();
  }

  async policyChanges(): Promise<void> {
    this.count('policies');
    const line = `${this.path('_policies')}/items/${this.any(['p1', 'p2', 'p3'])}`;
    if (this.chance(0.2)) await this.client.ok(`DELETE ${line}`, undefined, asOperator);
    else await this.client.ok(`PUT ${line}`, { attributes: this.policy() }, asOperator);
    await this.world.learn();
  }

  /** Sends a request as a subject, and looks for what they may not know in all that comes. */
  async as(subject: string, line: string, body?: unknown, headers: Headers = {}): Promise<Answer> {
    this.world.told(subject, body);
    const answer = await this.client.call(line, body, { ...(this.keys.get(subject) as Headers), ...headers });
    if (answer.status >= 500) throw new Error(`${line} is answered ${answer.status}: ${JSON.stringify(answer.body)}`);
    // What others wrote in between is none: steps come one after another.
    await this.world.learn();
    this.world.checkAnswer(subject, line, answer);
    return answer;
  }

  async subjectWrites(): Promise<void> {
    this.count('writes of subjects');
    const { world } = this;
    const subject = this.any(SUBJECTS);
    const [collection, key] = [this.any(COLLECTIONS), this.any(KEYS)];
    const at = world.revision;
    const before = world.state(at).get(`${collection}/${key}`);
    const seen = world.seen(subject, 'read', at).get(`${collection}/${key}`);
    const kind = this.any(['merge', 'merge', 'put', 'delete']);
    const line = `${this.path(collection)}/items/${key}`;
    const attributes = this.attributes();
    const answer =
      kind === 'delete'
        ? await this.as(subject, `DELETE ${line}`)
        : await this.as(subject, `${kind === 'put' ? 'PUT' : 'PATCH'} ${line}`, { attributes });
    // What a writer doesn't see stays as it is.
    const hidden = Object.entries(before?.attributes ?? {}).filter(([name]) => !(name in (seen?.attributes ?? {})));
    const next: Attributes =
      kind === 'put' ? { ...Object.fromEntries(hidden), ...attributes } : { ...before?.attributes, ...attributes };
    const item: Item | undefined =
      kind === 'delete' ? undefined : { collection, key, revision: 0, createdRevision: 0, attributes: next };
    const differing = [...new Set([...Object.keys(before?.attributes ?? {}), ...Object.keys(next)])].filter(
      (name) => JSON.stringify(before?.attributes[name]) !== JSON.stringify(next[name]),
    );
    const named = before
      ? Object.keys(attributes).filter((name) => !world.shows(subject, 'read', at, before, name))
      : [];
    const ever = kind === 'delete' ? ['delete'] : ['create', 'write'];
    const isPossible = ever.some((action) => world.mayEver(subject, action, collection, at));
    const what = `${subject} ${kind} ${collection}/${key} at ${at}`;
    if (!isPossible) return expect([what, answer.status]).toEqual([what, 403]);
    if (kind === 'delete') {
      const isDone = before !== undefined && world.mayWrite(subject, at, before, undefined, []);
      const wanted = isDone || !seen ? [200, isDone] : [403, undefined];
      return expect([what, answer.status, answer.body.existed]).toEqual([what, ...wanted]);
    }
    const isAllowed = world.mayWrite(subject, at, before, item, [...differing, ...named]);
    expect([what, answer.status < 300]).toEqual([what, isAllowed]);
    if (!isAllowed) return expect([what, answer.status, world.revision]).toEqual([what, 403, at]);
    const shownItem = world.seen(subject, 'read', world.revision).get(`${collection}/${key}`);
    expect([what, textOf([answer.body])]).toEqual([what, textOf([shownItem ?? { collection, key, attributes: {} }])]);
    const stored = world.state(world.revision).get(`${collection}/${key}`) as Item;
    expect([what, textOf([stored])]).toEqual([what, textOf([{ ...stored, attributes: next }])]);
    for (const name of answer.body.changed as string[])
      if (!world.shows(subject, 'read', world.revision, stored, name))
        throw new Error(`${what} is told that ${name} changed`);
  }

  async readsItem(): Promise<void> {
    this.count('reads');
    const { world } = this;
    const [subject, collection, key] = [this.any(SUBJECTS), this.any(COLLECTIONS), this.any([...KEYS, 'none'])];
    const at = world.revision;
    const isReader = world.mayEver(subject, 'read', collection, at);
    const seen = world.seen(subject, 'read', at).get(`${collection}/${key}`);
    const line = `GET ${this.path(collection)}/items/${key}`;
    const answer = await this.as(subject, line);
    const what = `${subject} ${line} at ${at}`;
    expect([what, answer.status]).toEqual([what, isReader ? (seen ? 200 : 404) : 403]);
    if (seen) expect([what, textOf([answer.body])]).toEqual([what, textOf([seen])]);
    const name = this.any(ATTRIBUTES);
    const attribute = await this.as(subject, `${line}/attributes/${name}`);
    expect([what, name, attribute.status]).toEqual([
      what,
      name,
      isReader ? (seen && name in seen.attributes ? 200 : 404) : 403,
    ]);
    const conditional = await this.as(subject, line, undefined, { 'if-none-match': '*' });
    // What is seen under a policy that is newer than the item is another representation of it.
    const found = seen && (world.policySince(at) > seen.revision ? 200 : 304);
    expect([what, conditional.status]).toEqual([what, isReader ? (found ?? 404) : 403]);
  }

  /** What a query finds, in the order of keys. */
  found(subject: string, collection: string, where: Where): Item[] {
    return [...this.world.seen(subject, 'read', this.world.revision).values()]
      .filter((item) => item.collection === collection && matches(where, item))
      .sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  query(): Where {
    return this.any<Where>([
      {},
      { room: 'red' },
      { n: { lt: 2 } },
      { n: { in: [1, 3] } },
      { secret: { exists: true } },
      { secret: { exists: false } },
      { secret: { prefix: 'word-' } },
      { not: { n: { lt: 2 } } },
      { owner: this.any(SUBJECTS), room: { exists: true } },
      { or: [{ room: 'blue' }, { n: 0 }] },
      { '/@key': { in: ['k1', 'm1'] } },
    ]);
  }

  async queries(): Promise<void> {
    this.count('queries');
    const { world } = this;
    const [subject, collection, where] = [this.any(SUBJECTS), this.any(COLLECTIONS), this.query()];
    const at = world.revision;
    const line = `POST ${this.path(collection)}/query`;
    const order = this.any([undefined, ['n'], ['-n'], ['room', 'n'], ['secret']]);
    const limit = this.any([2, 100]);
    const what = `${subject} ${line} ${JSON.stringify([where, order])} at ${at}`;
    if (!world.mayEver(subject, 'read', collection, at))
      return expect([what, (await this.as(subject, line, { where })).status]).toEqual([what, 403]);
    const items: Item[] = [];
    let token: string | undefined;
    do {
      const answer = await this.as(subject, line, {
        // An empty filter and none are found in different ways.
        ...(Object.keys(where).length > 0 && { where }),
        order,
        limit,
        count: 'exact',
        ...(token && { pageToken: token }),
      });
      expect([what, answer.status]).toEqual([what, 200]);
      items.push(...answer.body.items);
      token = answer.body.nextPageToken;
      expect([what, answer.body.count]).toEqual([what, this.found(subject, collection, where).length]);
    } while (token !== undefined);
    const wanted = inOrder(this.found(subject, collection, where), order ?? []);
    expect([what, textOf(items)]).toEqual([what, textOf(wanted)]);
  }

  async aggregates(): Promise<void> {
    this.count('aggregates');
    const { world } = this;
    const [subject, collection, where] = [this.any(SUBJECTS), this.any(COLLECTIONS), this.query()];
    if (!world.mayEver(subject, 'read', collection, world.revision)) return;
    const aggregates = { n: { sum: 'n' }, secrets: { count: 'secret' }, all: { count: '/@key' } };
    const line = `POST ${this.path(collection)}/query`;
    const found = this.found(subject, collection, where);
    const totals = (items: readonly Item[]) => ({
      n: items.reduce((sum, { attributes }) => sum + (typeof attributes.n === 'number' ? attributes.n : 0), 0),
      secrets: items.filter(({ attributes }) => 'secret' in attributes).length,
      all: items.length,
    });
    const what = `${subject} ${JSON.stringify(where)} at ${world.revision}`;
    const answer = await this.as(subject, line, { where, aggregates });
    expect([what, answer.body.aggregates]).toEqual([what, totals(found)]);
    const grouped = await this.as(subject, line, { where, aggregates, groupBy: ['room'] });
    const rooms = [...new Set(found.map(({ attributes }) => attributes.room))];
    const wanted = rooms.map((room) => [room, totals(found.filter(({ attributes }) => attributes.room === room))]);
    const groups = grouped.body.groups.map(({ group, aggregates: sums }: { group: Attributes; aggregates: object }) => [
      group.room,
      sums,
    ]);
    const bySelf = (a: unknown, b: unknown) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1);
    expect([what, groups.sort(bySelf)]).toEqual([what, wanted.sort(bySelf)]);
  }

  /** Paths whose answers are only looked through for what may not be in them. */
  async readsOtherwise(): Promise<void> {
    this.count('other reads');
    const [subject, collection, key] = [this.any(SUBJECTS), this.any(COLLECTIONS), this.any(KEYS)];
    const [P, C] = [`/v1/pools/${this.world.pool}`, this.path(collection)];
    const [line, body] = this.any<[string, unknown?]>([
      [`GET ${C}/items/${key}/history`],
      [`GET ${C}/items/${this.any(KEYS)}/history`],
      [`GET ${C}/items/${this.any(KEYS)}/history`],
      [`GET ${P}/collections`],
      [`GET ${P}`],
      [`GET ${C}`],
      [`GET ${this.path('_changes')}/items?order=-/@key`],
      [
        `GET ${this.path('_changes')}/items/${String(1 + Math.floor(this.random() * this.world.revision)).padStart(16, '0')}`,
      ],
      [`GET ${this.path('_policies')}/items`],
      [`GET ${P}/policy/effective`],
      [
        `POST ${P}/policy/check`,
        {
          checks: [
            { action: 'read', collection, key, attributes: ['secret'] },
            { action: 'write', collection, key },
          ],
        },
      ],
      [`POST ${C}/query`, { explain: true, where: { secret: { exists: true } } }],
      [
        `POST ${P}/batch`,
        {
          dryRun: true,
          ops: [{ op: 'merge', collection, key, attributes: { x: 1 } }],
          if: [{ collection, key, where: { secret: { exists: true } } }],
        },
      ],
      [
        `POST ${P}/batch`,
        {
          atomic: false,
          dryRun: true,
          ops: KEYS.map((each) => ({ op: 'merge', collection, key: each, attributes: { n: 1 } })),
        },
      ],
      [`POST ${C}/items/${key}/increment`, { attribute: 'n', by: 0 }],
      [`POST ${C}/delete`, { where: { secret: { exists: true } }, expectCount: 99 }],
    ]);
    await this.as(subject, line, body);
  }

  /** Replayed by policy as of each revision: what is told of one subject's log is what they would have been told live. */
  async readsChanges(): Promise<void> {
    this.count('logs');
    const { world } = this;
    const [subject, collection] = [this.any(SUBJECTS), this.any(COLLECTIONS)];
    if (!world.mayEver(subject, 'watch', collection, world.revision)) return;
    const line = `GET /v1/pools/${world.pool}/changes?collection=${collection}&since=start&limit=1000&values=full`;
    const copy = new Map<string, Attributes>();
    for (let since = 'start'; ; ) {
      const answer = await this.as(subject, line.replace('since=start', `since=${since}`));
      if (answer.status !== 200) throw new Error(`${line}: ${answer.status} ${JSON.stringify(answer.body)}`);
      for (const { changes } of answer.body.commits) {
        for (const { op, key, attributes } of changes) {
          if (op === 'delete') copy.delete(key);
          else copy.set(key, attributes);
        }
      }
      if (answer.body.upToDate) break;
      since = answer.body.cursor;
    }
    const wanted = [...world.seen(subject, 'watch', world.revision).values()].filter(
      (item) => item.collection === collection,
    );
    const told = Array.from(copy, ([key, attributes]) => ({ collection, key, attributes }));
    const byKey = (a: { key: string }, b: { key: string }) => (a.key < b.key ? -1 : 1);
    const what = `${subject} ${line} at ${world.revision}`;
    expect([what, textOf(told.sort(byKey))]).toEqual([what, textOf(wanted.sort(byKey))]);
  }

  async watches(): Promise<void> {
    this.count('watching');
    for (const watcher of this.watchers) watcher.take();
    const watcher = this.any(this.watchers);
    if (!watcher.isOpen) await watcher.open();
    else if (this.chance(0.4)) watcher.cut();
    else await watcher.settle();
  }
}

/** By an attribute or several, what is absent last, ties by key. */
function inOrder(items: readonly Item[], order: readonly string[]): Item[] {
  const rank = (value: unknown) => (typeof value === 'number' ? 0 : 1);
  return [...items].sort((a, b) => {
    for (const term of order) {
      const descending = term.startsWith('-');
      const name = descending ? term.slice(1) : term;
      const [x, y] = [a.attributes[name], b.attributes[name]];
      if (x === y) continue;
      if (x === undefined || y === undefined) return x === undefined ? 1 : -1;
      const isLess = rank(x) === rank(y) ? (x as string) < (y as string) : rank(x) < rank(y);
      return isLess === descending ? 1 : -1;
    }
    return a.key < b.key ? -1 : 1;
  });
}

const ENV = {
  STARGUS_AUTH: 'required',
  STARGUS_OPERATOR_KEY: OPERATOR_KEY,
  STARGUS_AUDIT: '0s',
  STARGUS_RATE_READS: '0',
  STARGUS_RATE_WRITES: '0',
  STARGUS_RATE_STREAMS: '0',
};

describe.each(variants)('on $name, nodes: $nodes', ({ name, nodes }) => {
  test('nobody receives what they may not see, and everybody all that they may', { timeout: 900_000 }, async () => {
    const seed = seedOfRun();
    const servers = await startNodes(name, nodes, ENV);
    const keys = new Map<string, Headers>();
    const client = new Client((servers[0] as { url: string }).url);
    for (const [i, subject] of SUBJECTS.entries()) {
      const { body } = await client.ok('POST /v1/auth/keys', { name: NAMES[i], subject }, asOperator);
      keys.set(subject, { authorization: `Bearer ${body.secret}` });
    }
    const run = new Run(
      seed,
      servers.map(({ url }) => url),
      keys,
    );
    console.log(`STARGUS_TEST_SEED=${seed}`);
    await client.ok(`PUT /v1/pools/${run.world.pool}`, {}, asOperator);
    // Half of them with an index for what they look for: the same has to come of it.
    if (run.chance(0.5)) {
      const indexes = [
        { attributes: ['n'] },
        { attributes: ['room', 'n'] },
        { attributes: ['secret'] },
        { attributes: ['owner'] },
      ];
      await client.ok(`PUT ${run.path('_dictionary')}/items/things`, { attributes: { indexes } }, asOperator);
    }
    await run.world.learn();
    for (const subject of SUBJECTS) {
      for (const collection of COLLECTIONS) {
        const [query, fields, filter] = run.any<[string, string[] | undefined, (attributes: Attributes) => boolean]>([
          ['', undefined, () => true],
          ['&values=full', undefined, () => true],
          ['&fields=n,secret', ['n', 'secret'], () => true],
          [`&where=${encodeURIComponent('{"room":"red"}')}`, undefined, ({ room }) => room === 'red'],
          [
            `&values=full&where=${encodeURIComponent('{"secret":{"exists":false}}')}`,
            undefined,
            ({ secret }) => secret === undefined,
          ],
        ]);
        const base = () => run.any(run.bases);
        run.watchers.push(
          new LeakWatcher(run.world, base, subject, keys.get(subject) as Headers, collection, query, fields, filter),
        );
      }
    }
    try {
      for (let step = 0; step < STEPS; step++) await run.step();
      for (const watcher of run.watchers) await watcher.settle();
    } catch (error) {
      throw new Error(`with STARGUS_TEST_SEED=${seed}: ${(error as Error).message}`, { cause: error });
    } finally {
      for (const watcher of run.watchers) watcher.cut();
      client.close();
      run.client.close();
    }
    const told = run.watchers.reduce((sum, { changes }) => sum + changes, 0);
    console.log(
      `${STEPS} steps to revision ${run.world.revision}, ${told} changes told: ${JSON.stringify(run.counts)}`,
    );
    expect(told).toBeGreaterThan(STEPS / 20);
  });
});
