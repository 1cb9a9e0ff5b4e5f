/**
 * A watcher that never gives up: it follows an attachment or a stream of changes over as many connections as it takes,
 * resumes by Last-Event-ID, and keeps what it was told in `Life`s: from a beginning (a snapshot, or a cursor) to a reset.
 * What a life holds is checked against the truth, which the test knows from the writes.
 */

import { openSse, type SseEvent, type SseStream } from '../support/sse.js';
import { type Item, type LoggedChange, pause } from './client.js';
import { matches, replay, throughFilter, type Where } from './filtering.js';
import { compareBytes, type ModelCommit, namesThatDiffer } from './model.js';

export interface Variant {
  readonly kind: 'attach' | 'feed';
  readonly collection?: string | undefined;
  readonly key?: string | undefined;
  readonly prefix?: string | undefined;
  readonly start?: string | undefined;
  readonly end?: string | undefined;
  readonly where?: Where | undefined;
  readonly fields?: readonly string[] | undefined;
  readonly values: 'changed' | 'full' | 'none';
}

interface ToldCommit {
  readonly revision: number;
  readonly changes: Partial<LoggedChange>[];
}

/** What the watcher was told without being told to forget it. */
export interface Life {
  /** Everything after this revision is told. Undefined until the snapshot is complete. */
  after: number | undefined;
  /** The items of the snapshot; undefined where it began at a cursor. */
  snapshot: Item[] | undefined;
  readonly commits: ToldCommit[];
  /** Everything up to here has been told. */
  reached: number;
}

export class Watcher {
  /** Those that were or are live, in order. */
  readonly lives: Life[] = [];
  readonly resets: string[] = [];
  connections = 0;
  #cursor: string | undefined;
  #stream: SseStream | undefined;
  #stopped = false;
  #running: Promise<void> | undefined;
  /** The life that is being told; among `lives` once it is live. */
  #life: Life | undefined;
  /** Parts of the snapshot so far. */
  #parts = 0;
  /** Changes of a commit whose end is still to come. */
  readonly #split: Partial<LoggedChange>[] = [];
  failure: Error | undefined;

  /** `cutAfter` tells after how many events each connection is cut; when it is used up, none is. */
  constructor(
    private readonly base: () => string,
    private readonly pool: string,
    readonly variant: Variant,
    private readonly cutAfter: number[] = [],
    private readonly since?: string,
    /** How long it stays away after a cut. */
    private readonly awayMs = 0,
  ) {}

  start(): this {
    this.#running = this.#run().catch((error) => {
      this.failure = error as Error;
    });
    return this;
  }

  get life(): Life | undefined {
    return this.lives.at(-1);
  }

  get reached(): number {
    return this.life?.reached ?? -1;
  }

  get stream(): SseStream | undefined {
    return this.#stream;
  }

  /** Ends the connection; the watcher opens another one. */
  cut(): void {
    this.#stream?.close();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#stream?.close();
    await this.#running;
    if (this.failure) throw this.failure;
  }

  get name(): string {
    return JSON.stringify(this.variant);
  }

  async #run(): Promise<void> {
    for (let failures = 0; !this.#stopped; ) {
      try {
        await this.#connect();
        failures = 0;
      } catch (error) {
        // The server or its database is gone for the moment; if it doesn't come back in half a minute, for good.
        if (++failures > 1500 || !/ECONNREFUSED|ECONNRESET|socket hang up|: 503 /.test(String(error))) throw error;
        await pause(20);
      }
    }
  }

  async #connect(): Promise<void> {
    const { kind, fields, collection, where, ...rest } = this.variant;
    const P = `/v1/pools/${this.pool}`;
    const query = new URLSearchParams({ bookmarkMs: '1000' });
    for (const [name, value] of Object.entries(rest)) if (value !== undefined) query.set(name, String(value));
    if (where) query.set('where', JSON.stringify(where));
    if (fields) query.set('fields', fields.join(','));
    if (kind === 'feed' && collection !== undefined) query.set('collection', collection);
    if (this.since !== undefined) query.set('since', this.since);
    const path = kind === 'attach' ? `${P}/collections/${collection}/attach` : `${P}/changes/stream`;
    const headers = this.#cursor ? { 'last-event-id': this.#cursor } : undefined;
    const stream = await openSse(`${this.base()}${path}?${query}`, headers && { headers });
    if (stream.status !== 200) throw new Error(`${this.name}: ${stream.status} ${await stream.text()}`);
    this.#stream = stream;
    if (this.#stopped) stream.close();
    this.connections++;
    let left = this.cutAfter.shift() ?? Number.POSITIVE_INFINITY;
    // What was not whole when the last connection ended is told again.
    this.#parts = 0;
    this.#split.length = 0;
    if (this.#cursor === undefined) this.#life = undefined;
    for (;;) {
      const event = await stream.next(undefined, 60_000).catch(() => undefined);
      if (!event || this.#stopped) break;
      this.#take(event);
      if (--left <= 0) break;
    }
    stream.close();
    await stream.ended;
    if (left <= 0 && !this.#stopped) await pause(this.awayMs);
  }

  #take({ event, id, data }: SseEvent): void {
    if (id !== undefined) this.#cursor = id === '' ? undefined : id;
    switch (event) {
      case 'hello':
      case 'bye':
        return;
      case 'reset':
        this.resets.push(data.reason);
        this.#life = newLife();
        return;
      case 'snapshot': {
        this.#life ??= newLife();
        this.#life.snapshot ??= [];
        if (data.part !== ++this.#parts)
          throw new Error(`${this.name}: part ${data.part} of a snapshot came as number ${this.#parts}`);
        this.#life.snapshot.push(...data.items);
        return;
      }
      case 'live':
        this.#life ??= newLife();
        this.#parts = 0;
        this.#reach(data.revision);
        return;
      case 'changes':
        this.#split.push(...data.changes);
        if (data.more) return;
        // A feed that begins at a cursor is told what was before `live` too.
        this.#life ??= newLife(Number(this.since?.split('-').pop() ?? Number.NaN));
        if (data.revision <= this.#life.reached)
          throw new Error(`${this.name}: told commit ${data.revision} after ${this.#life.reached}`);
        this.#life.commits.push({ revision: data.revision, changes: this.#split.splice(0) });
        this.#reach(data.revision);
        return;
      case 'bookmark':
        this.#life ??= newLife(Number(this.since?.split('-').pop() ?? Number.NaN));
        this.#reach(data.revision);
        return;
      default:
        throw new Error(`${this.name}: an unknown event ${event}`);
    }
  }

  #reach(revision: number): void {
    const life = this.#life as Life;
    if (revision < life.reached) throw new Error(`${this.name}: at ${revision} after ${life.reached}`);
    life.after ??= revision;
    life.reached = revision;
    if (this.life !== life) this.lives.push(life);
  }
}

function newLife(after?: number): Life {
  return { after, snapshot: undefined, commits: [], reached: after ?? -1 };
}

/** Throws where what the watcher was told is not what the commits say that it should have been told. */
export function checkLives(
  watcher: Watcher,
  commits: readonly ModelCommit[],
  stateAt: (revision: number) => Iterable<Item>,
): void {
  const { variant, lives, name } = watcher;
  if (lives.length === 0) throw new Error(`${name}: was told nothing`);
  const visible = throughFilter(variant.where, commits);
  let before = -1;
  for (const [i, life] of lives.entries()) {
    const { after, snapshot, reached } = life;
    if (after === undefined) throw new Error(`${name}: life ${i} never became live`);
    if (after < before) throw new Error(`${name}: began again at ${after} after ${before}`);
    before = reached;
    if (snapshot) equal(`${name}: snapshot of revision ${after}`, snapshot, shownItems(variant, stateAt(after)));
    const expected = visible
      .filter(({ revision }) => revision > after && revision <= reached)
      .map(({ revision, changes }) => ({
        revision,
        changes: inOrder(changes.filter((change) => isSeen(variant, change)).map((change) => shown(variant, change))),
      }))
      .filter(({ changes }) => changes.length > 0);
    const told = life.commits.map(({ revision, changes }) => ({ revision, changes: inOrder(changes.map(sorted)) }));
    const missed = expected
      .filter(({ revision }) => !told.some((commit) => commit.revision === revision))
      .map(({ revision }) => revision);
    if (missed.length > 0) throw new Error(`${name}: missed ${missed} between ${after} and ${reached}`);
    equal(`${name}: commits ${after} to ${reached}`, told, expected);
    checkMirror(watcher, life, commits);
    if (i === lives.length - 1) checkFold(watcher, stateAt(reached));
  }
}

/**
 * Throws where what a client makes of a life is not the state, seen through the view, at each revision of it: of every item
 * that a commit touches, after that commit.
 */
function checkMirror({ variant, name }: Watcher, life: Life, commits: readonly ModelCommit[]): void {
  const { after = 0, reached, snapshot = after === 0 ? [] : undefined } = life;
  if (!snapshot || variant.values === 'none') return;
  const idOf = ({ collection, key }: { collection: string; key: string }) => `${collection}/${key}`;
  const mirror = new Map(snapshot.map((item) => [idOf(item), item.attributes]));
  const told = new Map(life.commits.map(({ revision, changes }) => [revision, changes as LoggedChange[]]));
  replay(commits, ({ revision, changes }, _before, items) => {
    if (revision <= after || revision > reached) return;
    for (const change of told.get(revision) ?? []) fold(mirror, idOf(change), change, variant);
    for (const change of changes) {
      const item = items.get(idOf(change));
      const isIn = item && isInView(variant, item);
      const expected = isIn ? [picked(variant, item.attributes)] : [];
      const mirrored = mirror.get(idOf(change));
      equal(`${name}: ${idOf(change)} at ${revision}`, mirrored ? [mirrored] : [], expected);
    }
  });
}

function fold(
  mirror: Map<string, Item['attributes']>,
  id: string,
  { op, removed, attributes }: LoggedChange,
  { values }: Variant,
): void {
  if (op === 'delete') mirror.delete(id);
  else if (values === 'full') mirror.set(id, attributes);
  else {
    const rest = Object.entries(mirror.get(id) ?? {}).filter(([attribute]) => !removed.includes(attribute));
    mirror.set(id, { ...Object.fromEntries(rest), ...attributes });
  }
}

/** Throws where the snapshot and the changes after it, put together as a client would, are not the state. */
export function checkFold({ variant, life, name }: Watcher, items: Iterable<Item>): void {
  if (!life?.snapshot || variant.values === 'none') return;
  const folded = new Map(life.snapshot.map(({ key, attributes }) => [key, attributes]));
  for (const { changes } of life.commits) {
    for (const change of changes as LoggedChange[]) fold(folded, change.key, change, variant);
  }
  const expected = shownItems(variant, items).map((item) => ({
    key: (item as Item).key,
    attributes: (item as Item).attributes,
  }));
  const state = [...folded].sort(([a], [b]) => compareBytes(a, b)).map(([key, attributes]) => ({ key, attributes }));
  equal(`${name}: snapshot and changes at ${life.reached}`, state, expected);
}

export function shownItems({ kind: _, ...view }: Variant, items: Iterable<Item>): object[] {
  return [...items]
    .filter((item) => isInView(view, item))
    .sort((a, b) => compareBytes(a.key, b.key))
    .map(({ attributes, ...item }) =>
      view.values === 'none' ? item : { ...item, attributes: picked(view, attributes) },
    );
}

function isInView({ where, ...place }: Omit<Variant, 'kind'>, item: Item): boolean {
  return isInPlace(place, item) && (!where || matches(where, item));
}

export function isInPlace(
  { collection, key, prefix, start, end }: Omit<Variant, 'kind' | 'where' | 'values'>,
  item: { collection: string; key: string },
): boolean {
  return (
    (collection === undefined || collection === item.collection) &&
    (key === undefined || key === item.key) &&
    (prefix === undefined || item.key.startsWith(prefix)) &&
    (start === undefined || compareBytes(item.key, start) >= 0) &&
    (end === undefined || compareBytes(item.key, end) < 0)
  );
}

function isSeen(variant: Variant, change: LoggedChange): boolean {
  const { fields } = variant;
  return (
    isInPlace(variant, change) &&
    (!fields || change.op !== 'change' || change.changed.some((name) => fields.includes(name)))
  );
}

function shown(variant: Variant, change: LoggedChange): Partial<LoggedChange> {
  const { fields, values } = variant;
  const { op, collection, key, reason } = change;
  const names = (list: readonly string[]) => list.filter((name) => !fields || fields.includes(name)).sort();
  const head = {
    op,
    collection,
    key,
    changed: names(change.changed),
    removed: names(change.removed),
    ...(reason && { reason }),
  };
  if (values === 'none') return head;
  if (values === 'full')
    return { ...head, attributes: picked(variant, change.attributes), previous: picked(variant, change.previous) };
  const changed = Object.entries(change.attributes).filter(([name]) => head.changed.includes(name));
  return { ...head, attributes: Object.fromEntries(changed) };
}

function picked({ fields }: Pick<Variant, 'fields'>, attributes: Item['attributes']): Item['attributes'] {
  return fields ? Object.fromEntries(Object.entries(attributes).filter(([name]) => fields.includes(name))) : attributes;
}

function sorted(change: Partial<LoggedChange>): Partial<LoggedChange> {
  return { ...change, changed: [...(change.changed ?? [])].sort(), removed: [...(change.removed ?? [])].sort() };
}

function inOrder<T extends Partial<LoggedChange>>(changes: T[]): T[] {
  return [...changes].sort((a, b) => compareBytes(`${a.collection}/${a.key}`, `${b.collection}/${b.key}`));
}

function equal(what: string, told: unknown[], expected: unknown[]): void {
  for (let i = 0; i < Math.max(told.length, expected.length); i++) {
    const differs =
      namesThatDiffer({ it: (told[i] ?? null) as never }, { it: (expected[i] ?? null) as never }).length > 0;
    if (differs)
      throw new Error(`${what}: [${i}] told ${JSON.stringify(told[i])}, expected ${JSON.stringify(expected[i])}`);
  }
}
