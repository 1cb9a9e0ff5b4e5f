/**
 * The bus over Redis pub/sub: one channel a pool, heard only by nodes on which somebody watches the pool. Pub/sub is quick and
 * forgets: a message that a node isn't there for is gone, and so is all that was sent while a connection was down. That does no
 * harm, because a wake is a hint (see `Bus` in engine/hints.ts).
 *
 * Whether the bus can be relied on is found out by sending oneself a message every second, through both connections and Redis: a
 * server that accepts commands and delivers nothing is as bad as none.
 */
import { randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { Bus, BusListener, Wake } from '../engine/hints.js';
import { limits } from '../engine/limits.js';
import { connectTo } from './redis.js';
import { decodeWake, encodeWake } from './wakes.js';

export interface RedisBusOptions {
  readonly url: string;
  /** What is of one deployment: several may share a Redis. */
  readonly prefix: string;
  /** Hears when the bus comes and goes. */
  changed(isConnected: boolean): void;
  woke(direction: 'sent' | 'heard'): void;
}

const PROBE_MS = 1000;
/** A probe that isn't back by then is lost. */
const LOST_MS = 3000;
/** Messages under way to a Redis that is slow to take them; those beyond it aren't sent. */
const SENDING_MAX = 10_000;

export class RedisBus implements Bus {
  listener: BusListener | undefined;
  readonly #node = randomBytes(8).toString('hex');
  readonly #publisher: Redis;
  readonly #subscriber: Redis;
  readonly #followed = new Set<number>();
  #isConnected = false;
  #heardAt = 0;
  #sending = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(private readonly options: RedisBusOptions) {
    const { url } = options;
    this.#publisher = connectTo(url, 'publisher');
    // What is followed is subscribed to again by ourselves, to know when that is done.
    this.#subscriber = connectTo(url, 'subscriber', { autoResubscribe: false });
    this.#subscriber.on('ready', () => this.#subscribeAll());
    this.#subscriber.on('message', (channel: string, text: string) => this.#hear(channel, text));
    for (const redis of [this.#publisher, this.#subscriber]) redis.on('close', () => this.#setConnected(false));
  }

  start(): void {
    this.#timer = setInterval(() => this.#probe(), PROBE_MS).unref();
    this.#probe();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.listener = undefined;
    this.#publisher.disconnect();
    this.#subscriber.disconnect();
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  tell(wake: Wake): void {
    if (this.#publisher.status !== 'ready' || this.#sending >= SENDING_MAX) return;
    this.#publish(this.#channel(wake.poolId), encodeWake(this.#node, wake, limits.wakeBytesMax));
    this.options.woke('sent');
  }

  follow(poolId: number): void {
    if (this.#followed.has(poolId)) return;
    this.#followed.add(poolId);
    if (this.#subscriber.status === 'ready') this.#subscribe([poolId]);
  }

  unfollow(poolId: number): void {
    if (!this.#followed.delete(poolId) || this.#subscriber.status !== 'ready') return;
    this.#subscriber.unsubscribe(this.#channel(poolId)).catch(() => undefined);
  }

  #publish(channel: string, text: string): void {
    this.#sending++;
    this.#publisher
      .publish(channel, text)
      .catch(() => undefined)
      .finally(() => this.#sending--);
  }

  #subscribe(poolIds: readonly number[]): void {
    if (poolIds.length === 0) return;
    this.#subscriber.subscribe(...poolIds.map((id) => this.#channel(id))).then(
      () => {
        for (const id of poolIds) if (this.#followed.has(id)) this.listener?.followed(id);
      },
      () => undefined,
    );
  }

  #subscribeAll(): void {
    this.#subscriber.subscribe(this.#ownChannel).then(
      () => this.#probe(),
      () => undefined,
    );
    this.#subscribe([...this.#followed]);
  }

  #hear(channel: string, text: string): void {
    if (channel === this.#ownChannel) {
      this.#heardAt = performance.now();
      this.#setConnected(true);
      return;
    }
    const { from, wake } = decodeWake(text);
    // Of other versions of the program, which say what this one doesn't understand: the database is asked.
    if (!wake)
      return void (from !== this.#node && this.listener?.followed(Number(channel.slice(channel.lastIndexOf(':') + 1))));
    if (from === this.#node) return;
    this.options.woke('heard');
    this.listener?.woken(wake);
  }

  #probe(): void {
    if (this.#isConnected && performance.now() - this.#heardAt > LOST_MS) {
      this.#setConnected(false);
      // A connection that is open and silent may stay so for minutes.
      for (const redis of [this.#publisher, this.#subscriber]) if (redis.status === 'ready') redis.disconnect(true);
      return;
    }
    if (this.#publisher.status === 'ready' && this.#sending < SENDING_MAX) this.#publish(this.#ownChannel, '');
  }

  #setConnected(is: boolean): void {
    if (this.#isConnected === is) return;
    this.#isConnected = is;
    this.options.changed(is);
    if (is) this.listener?.reconnected();
  }

  #channel(poolId: number): string {
    return `${this.options.prefix}:pool:${poolId}`;
  }

  get #ownChannel(): string {
    return `${this.options.prefix}:node:${this.#node}`;
  }
}
