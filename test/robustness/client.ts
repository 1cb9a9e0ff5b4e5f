/**
 * Requests as a test of robustness needs them: many at once on kept connections, to a server that may be gone the next
 * moment. An answer is an answer whatever its status; no answer is a rejection.
 */
import { Agent, request } from 'node:http';

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  // biome-ignore lint/suspicious/noExplicitAny: a test asserts the shape; a type here would only repeat it.
  readonly body: any;
}

export type Headers = Readonly<Record<string, string>>;

export class Client {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 });

  /** `base` may move to another server: it is asked at each request. */
  constructor(private readonly base: string | (() => string)) {}

  /** `line` is method and path. A body is sent as JSON. Rejects when the connection fails or nothing comes for ten seconds. */
  call(line: string, body?: unknown, headers: Headers = {}): Promise<Answer> {
    const [method, path] = line.split(/ (.*)/) as [string, string];
    const text = body === undefined ? undefined : JSON.stringify(body);
    const type =
      text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
    const url = `${typeof this.base === 'string' ? this.base : this.base()}${path}`;
    return new Promise((resolve, reject) => {
      const outgoing = request(url, { method, agent: this.#agent, headers: { ...type, ...headers }, timeout: 10_000 });
      outgoing.once('timeout', () => outgoing.destroy(new Error(`${line}: no answer within 10 s`)));
      outgoing.once('error', reject);
      outgoing.once('response', (response) => {
        let received = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          received += chunk;
        });
        response.once('error', reject);
        response.once('close', () => {
          if (!response.complete) return reject(new Error(`${line}: the answer was cut off`));
          const answer = { status: response.statusCode ?? 0, headers: response.headers as Answer['headers'] };
          resolve({ ...answer, body: received === '' ? undefined : JSON.parse(received) });
        });
      });
      outgoing.end(text);
    });
  }

  /** The same, for requests that must succeed. */
  async ok(line: string, body?: unknown, headers?: Headers): Promise<Answer> {
    const answer = await this.call(line, body, headers);
    if (answer.status >= 400) throw new Error(`${line}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer;
  }

  /** Every item of a collection, page by page, and the revision of the last page. */
  async items(collectionPath: string, limit = 1000): Promise<{ items: Item[]; revision: number }> {
    const items: Item[] = [];
    for (let token = ''; ; ) {
      const { body } = await this.ok(
        `GET ${collectionPath}/items?limit=${limit}${token && `&pageToken=${encodeURIComponent(token)}`}`,
      );
      items.push(...body.items);
      if (body.nextPageToken === undefined) return { items, revision: body.revision };
      token = body.nextPageToken;
    }
  }

  /** The commits after a cursor (`start`: all that are retained) until the log has no more. */
  async commits(pool: string, since = 'start', query = ''): Promise<{ commits: LoggedCommit[]; cursor: string }> {
    const commits: LoggedCommit[] = [];
    for (let cursor = since; ; ) {
      const { body } = await this.ok(`GET /v1/pools/${pool}/changes?since=${cursor}&limit=1000&values=full${query}`);
      commits.push(...body.commits);
      cursor = body.cursor;
      if (body.upToDate) return { commits, cursor };
    }
  }

  close(): void {
    this.#agent.destroy();
  }
}

export interface Item {
  readonly collection: string;
  readonly key: string;
  readonly revision: number;
  readonly createdRevision: number;
  readonly attributes: Attributes;
}

export interface LoggedChange {
  readonly op: 'add' | 'change' | 'delete';
  readonly collection: string;
  readonly key: string;
  readonly changed: string[];
  readonly removed: string[];
  readonly attributes: Attributes;
  readonly previous: Attributes;
  readonly reason?: string;
}

export interface LoggedCommit {
  readonly revision: number;
  readonly cursor: string;
  readonly time: string;
  readonly subject: string;
  readonly changes: LoggedChange[];
}

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
export type Attributes = { [name: string]: Json };

/** Runs so many of the calls at a time. */
export async function inParallel<T>(workers: number, works: Iterable<() => Promise<T>>): Promise<T[]> {
  const results: T[] = [];
  const iterator = works[Symbol.iterator]();
  await Promise.all(
    Array.from({ length: workers }, async () => {
      for (let next = iterator.next(); !next.done; next = iterator.next()) results.push(await next.value());
    }),
  );
  return results;
}

/** Waits until the condition holds, and fails with the description if it doesn't within the time. */
export async function until(what: () => string, condition: () => boolean, ms = 20_000): Promise<void> {
  const deadline = Date.now() + ms;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`${what()} (waited ${ms} ms)`);
    await pause(5);
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
