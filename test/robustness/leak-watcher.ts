/**
 * A subject that watches a collection while policy changes: keeps its copy, is cut off and comes back where it was. When the truth of a
 * revision is known, what it was told by then is compared with it: its copy must be what the subject may see, and no change may name
 * or carry what was hidden before and after.
 */
import { openSse, type SseEvent, type SseStream } from '../support/sse.js';
import type { Attributes, Headers } from './client.js';
import { textOf, type World } from './leak-world.js';

interface Told {
  op: 'add' | 'change' | 'delete';
  collection: string;
  key: string;
  changed: string[];
  removed: string[];
  attributes?: Attributes;
  previous?: Attributes;
}

export class LeakWatcher {
  #stream: SseStream | undefined;
  #taken = 0;
  #cursor: string | undefined;
  #copy = new Map<string, Attributes>();
  /** While a snapshot is being told. */
  #parts: Map<string, Attributes> | undefined;
  #isLive = false;
  #split: Told[] = [];
  changes = 0;
  resets = 0;
  connections = 0;

  constructor(
    private readonly world: World,
    private readonly base: () => string,
    private readonly subject: string,
    private readonly headers: Headers,
    private readonly collection: string,
    private readonly query: string,
    private readonly shownFields: readonly string[] | undefined,
    private readonly filter: (attributes: Attributes) => boolean,
  ) {}

  /** Opens a stream, where policy lets the subject. */
  async open(): Promise<void> {
    this.#taken = 0;
    const path = `/v1/pools/${this.world.pool}/collections/${this.collection}/attach?bookmarkMs=1000${this.query}`;
    const headers = { ...this.headers, ...(this.#cursor && { 'last-event-id': this.#cursor }) };
    const stream = await openSse(this.base() + path, { headers });
    if (stream.status !== 200) {
      this.world.checkWords(this.subject, path, await stream.text());
      stream.close();
      return;
    }
    this.connections++;
    this.#stream = stream;
    // What comes back with a cursor is told only what it missed.
    this.#isLive = false;
    this.#parts = this.#cursor === undefined ? new Map() : undefined;
  }

  get isOpen(): boolean {
    return this.#stream !== undefined;
  }

  cut(): void {
    this.#stream?.close();
    this.#stream = undefined;
    this.#split = [];
  }

  /** Takes in what has come; what is of a revision that the world doesn't know yet waits. */
  take(): void {
    const events = this.#stream?.events ?? [];
    while (this.#taken < events.length) {
      const event = events[this.#taken] as SseEvent;
      const { data } = event as { data: { revision?: number } };
      if ((data.revision ?? 0) > this.world.revision) return;
      this.#taken++;
      this.world.checkWords(this.subject, `${event.event} of ${this.query}`, event.raw);
      this.#heed(event, data);
    }
  }

  /** Waits until it has been told of the world's present revision. */
  async settle(): Promise<void> {
    if (!this.#stream) return;
    const deadline = Date.now() + 20_000;
    for (;;) {
      this.take();
      const at = this.#cursor === undefined ? -1 : Number(this.#cursor.split('-')[1]);
      if (this.#isLive && at >= this.world.revision) return;
      if (Date.now() > deadline)
        throw new Error(`${this.subject}${this.query} stands at ${this.#cursor}, not at ${this.world.revision}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  // biome-ignore lint/suspicious/noExplicitAny: what comes is judged by the cases.
  #heed({ event, id }: SseEvent, data: any): void {
    if (event === 'snapshot')
      for (const { collection, key, attributes } of data.items)
        this.#parts?.set(`${collection}/${key}`, attributes ?? {});
    if (event === 'live') {
      if (this.#parts) this.#copy = this.#parts;
      this.#parts = undefined;
      this.#isLive = true;
    }
    if (event === 'reset') {
      this.resets++;
      this.#parts = new Map();
      this.#isLive = false;
      this.#cursor = undefined;
    }
    if (event === 'changes') {
      this.#split.push(...data.changes);
      if (!data.more) for (const change of this.#split.splice(0)) this.#apply(change, data.revision);
    }
    if (event === 'bye') this.cut();
    if (id === undefined || id === '') return;
    this.#cursor = id;
    if (this.#isLive) this.#compare(Number(id.split('-')[1]));
  }

  #apply(change: Told, revision: number): void {
    this.changes++;
    this.#check(change, revision);
    const id = `${change.collection}/${change.key}`;
    const present = this.#copy.get(id);
    if ((present === undefined) !== (change.op === 'add'))
      throw new Error(`${this.subject} is told ${change.op} of ${id} at ${revision}`);
    if (change.op === 'delete') this.#copy.delete(id);
    else {
      const kept = Object.entries(present ?? {}).filter(([name]) => !change.removed.includes(name));
      this.#copy.set(id, { ...Object.fromEntries(kept), ...change.attributes });
    }
  }

  #check({ op, collection, key, changed, removed, attributes = {}, previous = {} }: Told, revision: number): void {
    const { world, subject } = this;
    const id = `${collection}/${key}`;
    const [before, after] = [world.state(revision - 1).get(id), world.state(revision).get(id)];
    const fail = (what: string) => {
      throw new Error(`${subject} is told ${op} of ${id} at ${revision} that ${what}`);
    };
    const wasShown = (name: string) =>
      before !== undefined && world.shows(subject, 'watch', revision - 1, before, name);
    const isShown = (name: string) => after !== undefined && world.shows(subject, 'watch', revision, after, name);
    for (const name of [...changed, ...removed]) if (!wasShown(name) && !isShown(name)) fail(`names ${name}`);
    for (const name of Object.keys(attributes)) if (!isShown(name)) fail(`carries ${name}`);
    for (const name of Object.keys(previous))
      if (!wasShown(name) || !before || !world.shows(subject, 'watch', revision, before, name))
        fail(`says what ${name} was`);
  }

  #compare(revision: number): void {
    const fields = this.shownFields;
    const pick = (attributes: Attributes) =>
      fields ? Object.fromEntries(Object.entries(attributes).filter(([name]) => fields.includes(name))) : attributes;
    const truth = [...this.world.seen(this.subject, 'watch', revision).values()]
      .filter(({ collection, attributes }) => collection === this.collection && this.filter(attributes))
      .map((item) => ({ ...item, attributes: pick(item.attributes) }));
    const copy = [...this.#copy].map(([id, attributes]) => {
      const slash = id.indexOf('/');
      return { collection: id.slice(0, slash), key: id.slice(slash + 1), attributes };
    });
    const byKey = (a: { key: string }, b: { key: string }) => (a.key < b.key ? -1 : 1);
    const [told, wanted] = [textOf(copy.sort(byKey)), textOf(truth.sort(byKey))];
    if (told !== wanted) throw new Error(`${this.subject}${this.query} has at ${revision} ${told}, not ${wanted}`);
  }
}
