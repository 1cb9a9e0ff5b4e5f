/**
 * Connections to Redis. Nothing of what is sent over them is durable or true by itself (the log is), so nothing waits for Redis: a
 * command that can't be sent now fails at once, and who sent it goes on. A connection that is lost is made again for ever.
 */
import type { ConnectionOptions } from 'bullmq';
import { Redis, type RedisOptions } from 'ioredis';

/**
 * A job is another worker's when the one that has it has not been heard of for so long, and so often it is looked: a worker that was
 * killed keeps its works waiting for some seconds. One that only stood still goes on beside the other, which harms nobody.
 */
export const STALLING = { lockDuration: 6000, stalledInterval: 3000, maxStalledCount: Number.MAX_SAFE_INTEGER };
/** How long closing may take: BullMQ waits for ever for a Redis that is away. */
const CLOSE_MS = 1000;
/** How long a connection may take to be made, and how long is waited before it is tried again, at most. */
const CONNECT_MS = 5000;
const RETRY_MS_MAX = 2000;

/** Options of every connection: `redis://` or, with TLS, `rediss://`. */
const CONNECTING: RedisOptions = {
  connectTimeout: CONNECT_MS,
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
  retryStrategy: (times) => Math.min(RETRY_MS_MAX, 50 * 2 ** Math.min(times, 10)) * (0.5 + Math.random() / 2),
  // A Redis that hangs shows itself by the probe of redis-bus.ts; the operating system finds out about hosts that vanished.
  keepAlive: 10_000,
};

export function connectTo(url: string, name: string, options: RedisOptions = {}): Redis {
  const redis = new Redis(url, { ...CONNECTING, connectionName: `stargus-${name}`, ...options });
  // Told by whoever watches over the connection; without a listener each would end the process.
  redis.on('error', () => undefined);
  return redis;
}

/** The connection of a queue that is only asked. */
export function queueConnection(url: string): ConnectionOptions {
  return { ...CONNECTING, url, connectionName: 'stargus-queue' } as ConnectionOptions;
}

/** The connection of who does what is queued, who waits for Redis as long as it takes. */
export function workerConnection(url: string): ConnectionOptions {
  const waiting = { enableOfflineQueue: true, maxRetriesPerRequest: null };
  return { ...CONNECTING, ...waiting, url, connectionName: 'stargus-worker' } as ConnectionOptions;
}

/** Waits for what is closing, but not for a Redis that is away. What has to be finished is finished before. */
export async function closed(closing: readonly Promise<unknown>[]): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, CLOSE_MS);
  });
  await Promise.race([Promise.allSettled(closing), late]);
  clearTimeout(timer);
}
