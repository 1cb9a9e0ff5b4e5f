/**
 * What several processes of one deployment share over Redis: wakes, work, sweeps. All of it goes on, or waits, without Redis: wakes are
 * replaced by asking the database, work waits, and sweeps are done by each worker for itself, for leases end whether Redis is there
 * or not.
 */
import { createHash } from 'node:crypto';
import type { Queue } from 'bullmq';
import type { Worker } from '../engine/hints.js';
import { type Background, type BackgroundOptions, LOOK_MAX, LOOK_MS, type Scheduled } from './background.js';
import { QueuedWork } from './queued-work.js';
import { RedisBus } from './redis-bus.js';
import { SharedSweeps } from './shared-sweeps.js';

export interface RedisBackgroundOptions extends BackgroundOptions {
  readonly url: string;
  /** What only processes with the same database have: several deployments may share a Redis. */
  readonly secret: Buffer;
  /** Hears when Redis comes and goes. */
  changed(isConnected: boolean): void;
  woke(direction: 'sent' | 'heard'): void;
}

export class RedisBackground implements Background {
  readonly bus: RedisBus;
  readonly work: QueuedWork;
  readonly #sweeps: SharedSweeps;

  constructor(options: RedisBackgroundOptions) {
    const { url, secret, concurrency, done, warn, changed, woke } = options;
    const id = createHash('sha256').update('redis').update(secret).digest('base64url').slice(0, 12);
    // In braces: all keys of a deployment are in one slot of a Redis cluster.
    const prefix = `{stargus:${id}}`;
    this.bus = new RedisBus({ url, prefix, changed, woke });
    this.work = new QueuedWork({ url, prefix, concurrency, lookMax: LOOK_MAX, done, warn });
    this.#sweeps = new SharedSweeps({ url, prefix, isShared: () => this.bus.isConnected, warn });
    this.bus.start();
  }

  get isRedisUp(): boolean {
    return this.bus.isConnected;
  }

  get queues(): readonly Queue[] {
    return [...this.work.queues.values(), this.#sweeps.queue];
  }

  start(workers: readonly Worker[], sweeps: readonly Scheduled[]): void {
    // What is found can't be asked for while Redis is away.
    const find = async () => (this.bus.isConnected ? this.work.look() : undefined);
    this.work.start(workers);
    this.#sweeps.start([...sweeps, { name: 'work', everyMs: LOOK_MS, work: { sweep: find } }]);
  }

  sweepSoon(name: string): void {
    this.#sweeps.soon(name);
  }

  async waiting(): Promise<Record<string, number>> {
    return this.bus.isConnected ? this.work.waiting() : {};
  }

  async stop(): Promise<void> {
    await Promise.all([this.#sweeps.stop(), this.work.stop()]);
  }

  async close(): Promise<void> {
    await Promise.all([this.work.close(), this.#sweeps.close(), this.bus.close()]);
  }
}
