/**
 * A scenario: one pool of its own on a server, spoken to in the words of the contract. `P` is the pool and `C` its collection
 * `things`, so a row of a table reads `PUT C/items/a`; any other path is taken as it is. Everything goes through supertest to
 * the server's real address.
 */
import { randomBytes } from 'node:crypto';
import supertest from 'supertest';
import { expect } from 'vitest';
import type { Server } from './server.js';
import { openSse, type SseStream } from './sse.js';

export interface Answer {
  status: number;
  headers: Record<string, string>;
  // biome-ignore lint/suspicious/noExplicitAny: a test asserts the shape; a type here would only repeat it.
  body: any;
  text: string;
}

export type Headers = Record<string, string>;

/** One step of a story: what is asked and what must be answered. Of `wanted`, the body must hold at least that. */
export type Step = readonly [line: string, body: unknown, status: number, wanted?: object, headers?: Headers];

/** A row of a table of stories. */
export type Story = readonly [says: string, ...steps: Step[]];

/** The stories as rows of `it.each`. */
export function rowsOf(stories: readonly Story[]): [says: string, steps: Step[]][] {
  return stories.map(([says, ...steps]) => [says, steps]);
}

/** Codes whose refusals may not be met again when the same request is repeated. */
const RETRYABLE = new Set(['tooManyRequests', 'unavailable', 'internal', 'locked', 'lockConflict', 'deadlock']);

export class Scenario {
  constructor(
    readonly server: Server,
    readonly pool = `p${randomBytes(5).toString('hex')}`,
  ) {}

  /** A path of the server, with `P` and `C` spelled out. */
  path(path: string): string {
    const P = `/v1/pools/${this.pool}`;
    return path.replace(/^P(?=[/?]|$)/, P).replace(/^C(?=[/?]|$)/, `${P}/collections/things`);
  }

  /** Sends a request, at once. `line` is method and path; a body that isn't text is sent as JSON. */
  async call(line: string, body?: unknown, headers: Headers = {}): Promise<Answer> {
    const [method, path] = line.split(/ (.*)/) as [string, string];
    const agent = supertest(this.server.url);
    const request = agent[method.toLowerCase() as 'get'](this.path(path)).set(headers);
    if (body !== undefined) {
      if (!Object.keys(headers).some((name) => name.toLowerCase() === 'content-type')) request.type('application/json');
      request.send(typeof body === 'string' ? body : JSON.stringify(body));
    }
    // A request of supertest is only sent when somebody waits for it.
    return (await request) as Answer;
  }

  /** Plays the steps one after another. `attributes` and `keys` must be just what is wanted; other objects may hold more. */
  async play(steps: readonly Step[]): Promise<void> {
    for (const [line, body, status, wanted = {}, headers] of steps) {
      const answer = await this.call(line, body, headers);
      expect({ line, status: answer.status, body: answer.body }).toMatchObject({ line, status, body: wanted });
      for (const [member, value] of Object.entries(wanted)) {
        if (member === 'attributes' || member === 'keys') expect(answer.body[member], line).toEqual(value);
      }
      if (status >= 400) expectProblem(answer, status, answer.body.code);
    }
  }

  /** Sends requests that must succeed, one after another, and answers the last. */
  async calls(...requests: readonly (readonly [line: string, body?: unknown, headers?: Headers])[]): Promise<Answer> {
    let last: Answer | undefined;
    for (const [line, body, headers] of requests) {
      last = await this.call(line, body, headers);
      expect(last.status, `${line}: ${last.text}`).toBeLessThan(400);
    }
    return last as Answer;
  }

  /** Sends a request that must be refused, and makes sure that nothing of it was applied. */
  async refused(status: number, code: string, line: string, body?: unknown, headers?: Headers): Promise<Answer> {
    const before = await this.revision();
    const answer = await this.call(line, body, headers);
    expectProblem(answer, status, code);
    expect(await this.revision(), `${line} was refused, but the pool moved`).toBe(before);
    return answer;
  }

  /** The pool's revision; undefined while there is no such pool. */
  async revision(): Promise<number | undefined> {
    const { status, body } = await this.call('GET P');
    return status === 404 ? undefined : body.revision;
  }

  async cursor(): Promise<string> {
    return (await this.call('GET P')).body.cursor;
  }

  /** The attributes of an item of `C`; undefined where there is none. */
  async attributes(key: string): Promise<Record<string, unknown> | undefined> {
    const { status, body } = await this.call(`GET C/items/${encodeURIComponent(key)}`);
    return status === 404 ? undefined : body.attributes;
  }

  /** Sets items of `C`, each by a commit of its own. */
  async fill(items: Readonly<Record<string, object>>): Promise<void> {
    for (const [key, attributes] of Object.entries(items)) {
      await this.calls([`PUT C/items/${encodeURIComponent(key)}`, { attributes }]);
    }
  }

  watch(path: string, headers?: Headers): Promise<SseStream> {
    return openSse(`${this.server.url}${this.path(path)}`, headers && { headers });
  }
}

/** Every refusal is an RFC 9457 document with all members of the contract, and as the headers say. */
export function expectProblem(
  answer: Pick<Answer, 'status' | 'headers' | 'text' | 'body'>,
  status: number,
  code: string,
): void {
  expect({ status: answer.status, code: answer.body.code }, answer.text).toEqual({ status, code });
  expect(answer.headers['content-type']).toMatch(/^application\/problem\+json(;|$)/);
  expect(answer.body).toMatchObject({
    type: expect.stringMatching(new RegExp(`^http://127\\.0\\.0\\.1:\\d+/docs/errors/${code}$`)),
    title: expect.stringMatching(/\w/),
    status,
    code,
    detail: expect.stringMatching(/\w/),
    // What is only written under a lock stays refused without one.
    retryable: code === 'locked' ? answer.body.locks !== undefined : RETRYABLE.has(code),
    requestId: answer.headers['request-id'],
  });
  expect(answer.headers['request-id']).toMatch(/^[\w.-]{1,64}$/);
  for (const place of answer.body.errors ?? []) {
    expect(place).toMatchObject({ pointer: expect.any(String), code: expect.any(String), detail: expect.any(String) });
  }
}

/** The pointers of a refusal's `errors`. */
export function pointersOf({ body }: Answer): string[] {
  return (body.errors ?? []).map(({ pointer }: { pointer: string }) => pointer);
}
