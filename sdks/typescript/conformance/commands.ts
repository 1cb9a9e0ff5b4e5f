/**
 * The driver's commands (sdks/conformance/README.md), wherever they are done: in Node by driver.ts, in a browser by a page. What they answer must not
 * depend on the language, so nothing here knows of files, processes or standard input.
 */
import {
  type Change,
  type Client,
  type Commit,
  type Connect,
  type Entry,
  type Held,
  type Item,
  isProblem,
  type Mirror,
  ProblemError,
  StargusError,
  verifyWebhook,
} from '@stargus/client';

// biome-ignore lint/suspicious/noExplicitAny: JSON, as whoever drives sends it
type Command = any;

export interface Answer {
  readonly ok: boolean;
  readonly value?: unknown;
  readonly error?: {
    readonly code: string;
    readonly status?: number;
    readonly message: string;
    readonly [member: string]: unknown;
  };
}

export interface Surroundings {
  readonly connect: Connect;
  discover?(timeoutMs: number): Promise<readonly { readonly url: string }[]>;
  /** What is running and connected now; where that can't be asked for, the clients are believed. */
  measure?(): { readonly tasks: number; readonly sockets: number };
  exit?(): void;
}

export interface Driver {
  handle(command: unknown): Promise<Answer>;
  close(): Promise<void>;
}

interface Watched {
  readonly mirror: Mirror<Entry>;
  callback: unknown[];
  iterator: unknown[];
  denied: string[];
}

interface Read {
  readonly commits: Commit[];
  isEnded: boolean;
  error: unknown;
  wake: () => void;
  stop(): void;
}

export function createDriver({ connect, discover, measure, exit }: Surroundings): Driver {
  const clients = new Map<string, Client>();
  const problems = new Map<string, string[]>();
  const mirrors = new Map<string, Watched>();
  const locks = new Map<string, Held>();
  const feeds = new Map<string, Read>();
  const reading = new Set<Promise<unknown>>();

  const clientOf = (name: string): Client => found(clients, name, 'client');
  const mirrorOf = (name: string): Watched => found(mirrors, name, 'mirror');

  const commands: Record<string, (command: Command) => Promise<unknown> | unknown> = {
    connect: async ({ client, url, pool, retryForMs, requestTimeoutMs, eventBytesMax }) => {
      const told: string[] = [];
      problems.set(client, told);
      const made = await connect(url, pool, {
        retryForMs,
        requestTimeoutMs,
        eventBytesMax,
        onProblem: (error) => told.push(isProblem(error) ? error.code : String(error)),
      });
      clients.set(client, made);
      return {};
    },

    authenticate: async ({ client, apiKey, token, keyFile, account, passphrase, recoveryCode, oneTimeKey }) => {
      const login =
        apiKey !== undefined
          ? { apiKey }
          : token !== undefined
            ? { token }
            : keyFile !== undefined
              ? { keyFile, oneTimeKey }
              : passphrase !== undefined
                ? { account, passphrase, oneTimeKey }
                : { account, recoveryCode, oneTimeKey };
      return clientOf(client).authenticate(login);
    },

    attach: ({ client, mirror: name, collection, id: _id, do: _do, ...options }) => {
      const mirror = clientOf(client).attach(collection, options) as Mirror<Entry>;
      const watched: Watched = { mirror, callback: [], iterator: [], denied: [] };
      mirror.onChange((change) => watched.callback.push(told(change)));
      mirror.onDenied((error) => watched.denied.push(error.code));
      const changes = mirror.changes();
      keep(
        (async () => {
          for await (const change of changes) watched.iterator.push(told(change));
        })().catch(() => {}),
      );
      mirrors.set(name, watched);
      return {};
    },

    ready: async ({ mirror: name, timeoutMs }) => {
      const { mirror } = mirrorOf(name);
      await within(timeoutMs, mirror.ready);
      return { revision: mirror.revision };
    },

    reached: async ({ mirror: name, revision, timeoutMs }) => {
      const { mirror } = mirrorOf(name);
      const giveUp = new AbortController();
      await within(timeoutMs, mirror.reached(revision, { signal: giveUp.signal })).finally(() => giveUp.abort());
      return { revision: mirror.revision };
    },

    state: ({ mirror: name }) => {
      const { mirror } = mirrorOf(name);
      const items = [...mirror].map(([key, entry]) => [key, (entry as Item).attributes ?? entry.revision]);
      return {
        revision: mirror.revision,
        isLive: mirror.isLive,
        ...(mirror.error && mirror.error.code !== 'closed' && { error: mirror.error.code }),
        items: Object.fromEntries(items),
      };
    },

    heard: ({ mirror: name }) => {
      const watched = mirrorOf(name);
      const { callback, iterator } = watched;
      watched.callback = [];
      watched.iterator = [];
      return { callback, iterator };
    },

    denied: ({ mirror: name }) => {
      const watched = mirrorOf(name);
      const codes = watched.denied;
      watched.denied = [];
      return { codes };
    },

    fetch: async ({ mirror: name, key }) => {
      const item = await mirrorOf(name).mirror.fetch(key);
      return item ? { attributes: item.attributes } : {};
    },

    kept: ({ mirror: name }) => mirrorOf(name).mirror.kept,

    write: async ({ on, op, collection, key, attributes, attribute, by, ifRevision, idempotencyKey }) => {
      const options = { ifRevision, idempotencyKey };
      const watched = mirrors.get(on);
      if (watched) {
        const { mirror } = watched;
        if (op === 'delete') {
          const existed = await mirror.delete(key, options);
          return existed === undefined ? {} : { existed };
        }
        if (op !== 'set' && op !== 'merge') throw new Error(`A mirror has no ${op}.`);
        return itemAnswer(await mirror[op as 'set' | 'merge'](key, attributes, options));
      }
      const writer = locks.get(on) ?? clientOf(on);
      switch (op) {
        case 'set':
        case 'merge':
          return itemAnswer(await writer[op as 'set' | 'merge'](collection, key, attributes, options));
        case 'create':
          return itemAnswer(await writer.create(collection, attributes, key, options));
        case 'delete':
          return { existed: await writer.delete(collection, key, options) };
        case 'increment':
          return { value: await writer.increment(collection, key, attribute, by, options) };
        default:
          throw new Error(`There is no op ${op}.`);
      }
    },

    batch: async ({ on, ops, conditions }) => {
      const writer = locks.get(on) ?? clientOf(on);
      const { revision } = await writer.batch(ops, conditions && { conditions });
      return { revision };
    },

    get: async ({ on, collection, key }) => itemAnswer(await clientOf(on).get(collection, key)),

    query: async ({ on, collection, where, order, limit }) => {
      const keys: string[] = [];
      for await (const { key } of clientOf(on).query(collection, { where, order, limit: limit ?? 50 })) keys.push(key);
      return { keys };
    },

    count: async ({ on, collection, where }) => ({ count: await clientOf(on).count(collection, where) }),

    changes: ({ on, feed, id: _id, do: _do, ...options }) => {
      const commits = clientOf(on).changes(options);
      const read: Read = {
        commits: [],
        isEnded: false,
        error: undefined,
        wake: () => {},
        stop: () => void commits.return(),
      };
      feeds.set(feed, read);
      keep(
        (async () => {
          for await (const commit of commits) {
            read.commits.push(commit);
            read.wake();
          }
        })()
          .catch((error: unknown) => {
            read.error = error;
          })
          .finally(() => {
            read.isEnded = true;
            read.wake();
          }),
      );
      return {};
    },

    next: async ({ feed, count, timeoutMs }) => {
      const read = found(feeds, feed, 'feed');
      const until = performance.now() + timeoutMs;
      while (read.commits.length < count && !read.isEnded && performance.now() < until)
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, until - performance.now());
          read.wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      const commits = read.commits.splice(0, count);
      if (commits.length < count && read.error !== undefined) throw read.error;
      return {
        commits: commits.map(({ revision, cursor, changes }) => ({
          revision,
          cursor,
          keys: changes.map(({ key }) => key),
        })),
        ended: read.isEnded && read.commits.length === 0,
      };
    },

    lock: async ({ on, lock: name, collection, key, prefix, attributes, mode, waitMs, leaseMs }) => {
      const scope = { collection, key, prefix, attributes };
      const held = await clientOf(on).lock(scope, { mode, waitMs, leaseMs });
      locks.set(name, held);
      return { fence: held.fence };
    },

    lost: async ({ lock: name, timeoutMs }) => {
      const { signal } = found(locks, name, 'lock');
      let stop = () => {};
      const lost = new Promise<void>((resolve) => {
        stop = () => signal.removeEventListener('abort', heard);
        const heard = () => resolve();
        if (signal.aborted) resolve();
        else signal.addEventListener('abort', heard, { once: true });
      });
      await within(timeoutMs, lost).finally(stop);
      return { code: (signal.reason as StargusError).code };
    },

    unlock: async ({ lock: name }) => {
      await found(locks, name, 'lock').release();
      return {};
    },

    verify: async ({ secret, headers, body }) => ({ id: (await verifyWebhook(secret, headers, body)).id }),

    discover: async ({ timeoutMs }) => {
      if (!discover) throw new Error('There is no local network here.');
      return { urls: (await discover(timeoutMs)).map(({ url }) => url) };
    },

    api: async ({ on, call, collection, notifier }) => {
      const { api, pool } = clientOf(on);
      if (call === 'getAbout') return { version: (await api.system.getAbout()).version };
      if (call === 'listItems')
        return { keys: (await api.items.listItems({ pool, collection })).items.map(({ key }) => key) };
      if (call === 'testNotifier') {
        await api.notifiers.testNotifier({ pool, notifier });
        return {};
      }
      throw new Error(`There is no call ${call}.`);
    },

    close: async ({ client, mirror }) => {
      if (client !== undefined) await clientOf(client).close();
      else await mirrorOf(mirror).mirror.close();
      return {};
    },

    open: () => {
      if (measure) return measure();
      const all = [...clients.values()].map(({ activity }) => activity);
      return {
        tasks: all.reduce((sum, { mirrors: running, sessions }) => sum + running + sessions, 0),
        sockets: all.reduce((sum, { requests }) => sum + requests, 0),
      };
    },

    problems: ({ client }) => {
      const codes = found(problems, client, 'client').splice(0);
      return { codes };
    },

    exit: () => exit?.(),
  };

  function keep(work: Promise<unknown>): void {
    reading.add(work);
    void work.finally(() => reading.delete(work));
  }

  return {
    async handle(command) {
      const { do: name } = command as { do: string };
      try {
        const work = commands[name];
        if (!work) throw new Error(`There is no command ${name}.`);
        return { ok: true, value: await work(command) };
      } catch (error) {
        return { ok: false, error: errorAnswer(error) };
      }
    },
    async close() {
      for (const { stop } of feeds.values()) stop();
      await Promise.all([...clients.values()].map((client) => client.close()));
      await Promise.all(reading);
    },
  };
}

function found<T>(map: ReadonlyMap<string, T>, name: string, what: string): T {
  const value = map.get(name);
  if (value === undefined) throw new Error(`There is no ${what} ${name}.`);
  return value;
}

function told({ op, key, changed, removed, item, previous, reason, revision }: Change<Entry>): unknown {
  const attributes = (item as Item | undefined)?.attributes;
  const former = (previous as Item | undefined)?.attributes;
  return {
    op,
    key,
    changed,
    removed,
    ...(attributes && { attributes }),
    ...(former && { previous: former }),
    ...(reason !== undefined && { reason }),
    revision,
  };
}

function itemAnswer(item: Item | undefined): unknown {
  return item ? { key: item.key, revision: item.revision, attributes: item.attributes } : {};
}

function errorAnswer(error: unknown): NonNullable<Answer['error']> {
  if (!isProblem(error))
    return { code: 'driver', message: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  const told = error instanceof ProblemError ? error.problem : (error as { oldest?: unknown; current?: unknown });
  return {
    code: error.code,
    message: error.message,
    ...(error instanceof ProblemError && { status: error.status }),
    ...(told.oldest !== undefined && { oldest: told.oldest }),
    ...(told.current !== undefined && { current: told.current }),
  };
}

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new StargusError('timeout', `It didn't come within ${ms} ms.`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
