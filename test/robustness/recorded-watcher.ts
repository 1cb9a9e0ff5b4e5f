/**
 * Watchers whose every connection is kept for the judge: attachments, streams of changes and long polls, each of which stays at
 * a node for a while, leaves without a word, and resumes at another from the last cursor that it was told.
 */
import { openSse, type SseEvent } from '../support/sse.js';
import { Client, type Headers, pause } from './client.js';
import type { Node } from './cluster.js';
import type { History, Watch, WatchEvent } from './history.js';
import type { Random } from './random.js';

export interface Watched {
  readonly way: Watch['way'];
  readonly values: Watch['values'];
  readonly key?: string;
  readonly prefix?: string;
}

export class RecordedWatcher {
  /** The revision up to which it has been told everything. */
  reached = -1;
  connections = 0;
  #cursor: string | undefined;
  #stopped = false;
  #isClosing = false;
  #running: Promise<void> | undefined;

  constructor(
    readonly name: string,
    private readonly nodes: readonly Node[],
    private readonly pool: string,
    private readonly watched: Watched,
    private readonly history: History,
    private readonly random: Random,
    /** A connection is left after so long at most. Who stays meets what is lost while one is told; who leaves, what is when one comes back. */
    private readonly stayMs: number,
  ) {}

  start(): this {
    this.#running = this.#run();
    return this;
  }

  /** From now on it stays where it is, so that it can be told the rest. */
  settle(): void {
    this.#isClosing = true;
  }

  /** @throws Error where it was answered what no fault explains */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      const node = this.random.between(0, this.nodes.length - 1);
      const open = this.history.now();
      const since = this.#cursor;
      const events: WatchEvent[] = [];
      const asked = this.watched.way === 'poll' ? this.#poll(node, events) : this.#follow(node, events);
      const isServed = await asked.catch((error: Error) => {
        if (error instanceof Unexpected) throw error;
        return false;
      });
      if (events.length > 0) {
        const kept = {
          ...this.watched,
          ...(since !== undefined && { since }),
          open,
          close: this.history.now(),
          events,
        };
        this.history.add({ type: 'watch', watcher: this.name, node, ...kept });
      }
      if (isServed) this.connections++;
      else await pause(this.random.between(20, 120));
    }
  }

  async #follow(node: number, events: WatchEvent[]): Promise<boolean> {
    const { way, key, prefix, values } = this.watched;
    const query = new URLSearchParams({ bookmarkMs: '1000', values, ...(key && { key }), ...(prefix && { prefix }) });
    if (way === 'feed') query.set('collection', 'things');
    const path = way === 'attach' ? 'collections/things/attach' : 'changes/stream';
    const headers: Headers = this.#cursor === undefined ? {} : { 'last-event-id': this.#cursor };
    const signal = AbortSignal.timeout(this.#stay());
    const stream = await openSse(`${this.#base(node)}/${path}?${query}`, { headers, signal });
    try {
      if (stream.status >= 500) return false;
      if (stream.status !== 200) throw new Unexpected(`${this.name}: ${stream.status} ${await stream.text()}`);
      const leave = Date.now() + this.random.between(100, this.stayMs);
      for (;;) {
        const isLeaving = () => this.#stopped || (!this.#isClosing && Date.now() > leave);
        if (isLeaving()) return true;
        const event = await stream.next(undefined, 200).catch(() => undefined);
        if (event) this.#take(event, events);
        else if (await isOver(stream.ended)) return true;
      }
    } finally {
      stream.close();
    }
  }

  #take({ event, id, data }: SseEvent, events: WatchEvent[]): void {
    events.push({ time: this.history.now(), event, ...(id !== undefined && { cursor: id }), data });
    if (id !== undefined) this.#cursor = id === '' ? undefined : id;
    if (id && ['live', 'changes', 'bookmark'].includes(event)) this.reached = data.revision;
  }

  /** One page of the log, which is waited for where there is none yet. */
  async #poll(node: number, events: WatchEvent[]): Promise<boolean> {
    const { prefix, values } = this.watched;
    const waitMs = String(this.random.between(0, 2_500));
    const since = this.#cursor ?? 'start';
    const query = new URLSearchParams({ since, waitMs, values, collection: 'things', ...(prefix && { prefix }) });
    if (this.random.chance(0.5)) query.set('limit', '3');
    const client = new Client(this.#base(node));
    // Who waits may leave: the page goes to nobody, and is asked for again elsewhere.
    const patience = setTimeout(() => client.close(), this.#stay());
    try {
      const { status, body } = await client.call(`GET /changes?${query}`);
      if (status >= 500) return false;
      if (status !== 200) throw new Unexpected(`${this.name}: ${status} ${JSON.stringify(body)}`);
      for (const { cursor, ...data } of body.commits) {
        events.push({ time: this.history.now(), event: 'changes', cursor, data });
      }
      this.#cursor = body.cursor;
      this.reached = Number(String(body.cursor).split('-')[1]);
      events.push({
        time: this.history.now(),
        event: 'bookmark',
        cursor: body.cursor,
        data: { revision: this.reached },
      });
      return true;
    } finally {
      clearTimeout(patience);
      client.close();
    }
  }

  #base(node: number): string {
    return `${(this.nodes[node] as Node).url}/v1/pools/${this.pool}`;
  }

  #stay(): number {
    return this.#isClosing ? 20_000 : this.stayMs + 1_000;
  }
}

/** An answer that no fault explains. */
class Unexpected extends Error {}

function isOver(ended: Promise<void>): Promise<boolean> {
  return Promise.race([ended.then(() => true), pause(0).then(() => false)]);
}
