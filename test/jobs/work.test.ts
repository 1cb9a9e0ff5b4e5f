/**
 * One contract for work, in this process and over BullMQ: what is wanted is done, by one at a time, once more where it was wanted
 * meanwhile, later where it says so, again where it failed; and what is asked to end ends.
 */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import path from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import type { Work, Worker, WorkQueue } from '../../src/engine/hints.js';
import { LocalWork } from '../../src/jobs/local-work.js';
import { QueuedWork } from '../../src/jobs/queued-work.js';
import { redisUrl } from '../support/redis.js';
import { markRunning } from '../support/server.js';

interface Backend {
  /** Where it is wanted; over BullMQ another process than the one that does it. */
  readonly queue: WorkQueue;
  readonly start: (workers: readonly Worker[]) => void;
  readonly look: () => Promise<unknown>;
  readonly waiting: () => Promise<Record<string, number>>;
  readonly stop: () => Promise<unknown>;
}

const outcomes: string[] = [];
const warnings: unknown[] = [];
const options = {
  concurrency: 3,
  lookMax: 100,
  done: (kind: string, outcome: string) => void outcomes.push(`${kind} ${outcome}`),
  warn: (error: unknown) => void warnings.push(error),
};

function local(): Backend {
  const work = new LocalWork({ ...options, lookMs: 50 });
  return {
    queue: work,
    start: (workers) => work.start(workers),
    look: () => new Promise((resolve) => setTimeout(resolve, 100)),
    waiting: async () => work.waiting,
    stop: () => work.stop(),
  };
}

function queued(): Backend {
  const shared = { ...options, url: redisUrl(), prefix: `{test:${randomUUID()}}` };
  const [wanting, doing] = [new QueuedWork(shared), new QueuedWork(shared)];
  return {
    queue: wanting,
    start: (workers) => doing.start(workers),
    look: () => doing.look(),
    waiting: () => wanting.waiting(),
    async stop() {
      for (const work of [wanting, doing]) {
        await work.stop();
        await work.close();
      }
    },
  };
}

const work = (name: string, kind: Work['kind'] = 'notifier'): Work => ({ kind, pool: 'p:ö', name });

/** A worker that notes what it does, and does it as it is told. */
class Doing implements Worker {
  readonly kind = 'notifier';
  readonly done: string[] = [];
  readonly running = new Set<string>();
  runningMax = 0;
  left: Work[] = [];

  constructor(
    private readonly how: (name: string, times: number) => Promise<number | undefined> | number | undefined,
  ) {}

  async work({ name }: Work): Promise<number | undefined> {
    expect(this.running.has(name)).toBe(false);
    this.running.add(name);
    this.runningMax = Math.max(this.runningMax, this.running.size);
    try {
      return await this.how(name, this.times(name) + 1);
    } finally {
      this.running.delete(name);
      this.done.push(name);
    }
  }

  async pending(): Promise<readonly Work[]> {
    return this.left.splice(0);
  }

  times(name: string): number {
    return this.done.filter((each) => each === name).length;
  }
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const until = (is: () => boolean) => expect.poll(is, { timeout: 20_000, interval: 5 }).toBe(true);

describe.each([
  { name: 'in this process', open: local },
  { name: 'over BullMQ', open: queued },
])('work $name', ({ open }) => {
  const backends: Backend[] = [];
  afterEach(async () => {
    for (const backend of backends.splice(0)) await backend.stop();
  });
  const begin = (worker: Worker) => {
    const backend = open();
    backends.push(backend);
    backend.start([worker]);
    return backend;
  };

  test('is done once for many wants, and once more for those that came meanwhile', async () => {
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const doing = new Doing(async (_name, times) => (times === 1 ? void (await held) : undefined));
    const { queue } = begin(doing);
    for (let i = 0; i < 10; i++) queue.want(work('a'));
    await until(() => doing.running.has('a'));
    await pause(50);
    for (let i = 0; i < 10; i++) queue.want(work('a'));
    await pause(100);
    release();
    await until(() => doing.times('a') >= 2 && doing.running.size === 0);
    await pause(100);
    // At the most once for the wants that were throttled, and never as often as it was wanted.
    expect(doing.times('a')).toBeLessThanOrEqual(3);
  });

  test('that is wanted again is done again', async () => {
    const doing = new Doing(() => undefined);
    const { queue } = begin(doing);
    for (let i = 1; i <= 5; i++) {
      queue.want(work('a'));
      await until(() => doing.times('a') >= i);
    }
  });

  test('of many names is done several at a time, no more than it may be, and of each name one', async () => {
    const doing = new Doing(() => pause(20).then(() => undefined));
    const { queue } = begin(doing);
    const names = Array.from({ length: 20 }, (_, i) => `n${i}`);
    for (const name of names) queue.want(work(name));
    for (const name of names) queue.want(work(name));
    await until(() => names.every((name) => doing.times(name) >= 1) && doing.running.size === 0);
    expect(doing.runningMax).toBeGreaterThan(1);
    expect(doing.runningMax).toBeLessThanOrEqual(options.concurrency);
  });

  test('is done again after the time that it names, and at once when it is wanted before', async () => {
    const doing = new Doing((_name, times) => (times === 1 ? 50 : times === 2 ? 3_600_000 : undefined));
    const { queue, waiting } = begin(doing);
    queue.want(work('a'));
    await until(() => doing.times('a') === 2);
    await expect.poll(async () => (await waiting()).notifier, { timeout: 5000 }).toBe(1);
    await pause(50);
    expect(doing.times('a')).toBe(2);
    queue.want(work('a'));
    await until(() => doing.times('a') === 3);
    await expect.poll(async () => (await waiting()).notifier, { timeout: 5000 }).toBe(0);
  });

  test('that fails is told of and tried again', async () => {
    outcomes.length = 0;
    warnings.length = 0;
    const doing = new Doing((_name, times) => {
      if (times === 1) throw new Error('the database is away');
      return undefined;
    });
    const { queue } = begin(doing);
    queue.want(work('a'));
    await until(() => doing.times('a') === 2);
    expect(warnings.map((error) => (error as Error).message)).toEqual(['the database is away']);
    await until(() => outcomes.length === 2);
    expect(outcomes).toEqual(['notifier failed', 'notifier done']);
  });

  test('that nobody wanted is found in the database', async () => {
    const doing = new Doing(() => undefined);
    const { look } = begin(doing);
    doing.left = [work('forgotten')];
    await look();
    await until(() => doing.times('forgotten') === 1);
  });

  test('is asked to end at a stop, which waits for it, and nothing is begun after', async () => {
    let aborted = false;
    const doing: Worker = {
      kind: 'notifier',
      async work(_work, signal) {
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
        await pause(30);
        aborted = true;
        return 0;
      },
      pending: async () => [],
    };
    const backend = begin(doing);
    backend.queue.want(work('a'));
    await pause(300);
    await backends.pop()?.stop();
    expect(aborted).toBe(true);
    backend.queue.want(work('b'));
  });

  test('of a kind that nobody here does harms nobody', async () => {
    const doing = new Doing(() => undefined);
    const { queue } = begin(doing);
    queue.want(work('x', 'operation'));
    queue.want(work('a'));
    await until(() => doing.times('a') === 1);
    expect(doing.times('x')).toBe(0);
  });
});

test('work of a worker that was killed in the middle of it is another’s within seconds', async () => {
  const shared = { ...options, url: redisUrl(), prefix: `{test:${randomUUID()}}` };
  const program = path.resolve(import.meta.dirname, '../../dist/src/jobs/queued-work.js');
  // A process of its own, for only that can be killed: it takes the work and never ends it.
  const script = `
    const { QueuedWork } = await import(${JSON.stringify(program)});
    const work = new QueuedWork({ ...${JSON.stringify({ ...shared, done: undefined, warn: undefined })}, done() {}, warn() {} });
    work.start([{ kind: 'notifier', pending: async () => [], work: () => new Promise(() => console.log('has it')) }]);
    setInterval(() => {}, 1000);`;
  const doomed = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const forget = markRunning(doomed);
  const wanting = new QueuedWork(shared);
  const taken = once(doomed.stdout, 'data');
  wanting.want(work('a'));
  await taken;
  doomed.kill('SIGKILL');
  await once(doomed, 'exit');
  forget();
  const doing = new Doing(() => undefined);
  wanting.start([doing]);
  // What is wanted meanwhile doesn't help: the work counts as being done.
  wanting.want(work('a'));
  await until(() => doing.times('a') >= 1);
  await wanting.stop();
  await wanting.close();
});
