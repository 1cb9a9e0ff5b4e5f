/**
 * An HTTP proxy before a server that does to what passes what networks, other proxies and newer servers do: it refuses, cuts, delays, splits,
 * alters and adds, as rules say. It remembers what it was asked.
 *
 * A rule has the requests that it is about (`match`, a regular expression for `METHOD path?query`), how often it applies, and what it does.
 * For each request the first rule that matches and isn't used up counts, and no other. What comes to a path under `/behind` is passed on
 * without that, as by a proxy that has a server at a path of its own.
 */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { StringDecoder } from 'node:string_decoder';
import { setTimeout as sleep } from 'node:timers/promises';

/** What a rule does to an answer's body, in this order. */
export interface Alteration {
  /** Pairs of a regular expression and what stands for it, in each event of a stream, or in the whole of another answer. */
  replace?: readonly (readonly [string, string])[];
  /** Adds this text after the first event that matches the regular expression. */
  insert?: { readonly after: string; readonly text: string };
  /** Adds an event of so many bytes after the first one that matches. */
  flood?: { readonly after: string; readonly bytes: number };
  /** How lines end instead. */
  lines?: 'crlf' | 'cr';
  /** Begins with a byte order mark. */
  bom?: boolean;
  /** Closes the connection when the text that matches has passed. */
  cutAfter?: string;
  /** Passes nothing more when the text that matches has passed, and leaves the connection open. */
  stallAfter?: string;
  /** Passes pieces of so many bytes. */
  split?: number;
}

export interface Rule extends Alteration {
  readonly match: string;
  /** Without: always. */
  times?: number;
  /** Answers this, and asks nobody. */
  answer?: { readonly status: number; readonly headers?: Record<string, string>; readonly body?: unknown };
  /** Closes the connection before the server is asked, or when it has answered, with nothing said. */
  drop?: 'before' | 'after';
  delayMs?: number;
  /** Asks the server for this besides: `name=value`. */
  query?: string;
}

export interface Heard {
  readonly request: string;
  readonly atMs: number;
  readonly headers: IncomingHttpHeaders;
}

export interface CuttingProxy {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  /** Every request so far. */
  readonly heard: readonly Heard[];
  /** Where the server is. */
  target(url: string): void;
  rules(rules: readonly Rule[]): void;
  /** Forgets what was asked. */
  forget(): void;
  /** As new: no rules, nothing heard, all connections closed. */
  reset(): void;
  /** Closes all connections. */
  cut(): void;
  /** Closes all connections, and each new one at once, or no longer does so. */
  refuse(isRefusing: boolean): void;
  stop(): Promise<void>;
}

/** Serves what begins with `/-/` by itself, past all rules: pages of the server's own origin. */
export type Site = (asked: IncomingMessage, answer: ServerResponse) => void;

export async function startCuttingProxy(site?: Site): Promise<CuttingProxy> {
  const sockets = new Set<Socket>();
  const heard: Heard[] = [];
  let target = '';
  let rules: Rule[] = [];
  let isRefusing = false;

  const server = createServer({ keepAliveTimeout: 60_000 }, (asked, answer) => {
    if (site && asked.url?.startsWith('/-/')) {
      site(asked, answer);
      return;
    }
    const line = `${asked.method} ${asked.url}`;
    heard.push({ request: line, atMs: Date.now(), headers: asked.headers });
    const rule = ruleFor(rules, line);
    pass(asked, answer, target, rule).catch(() => answer.destroy());
  });
  server.on('connection', (socket) => {
    if (isRefusing) {
      socket.destroy();
      return;
    }
    socket.setNoDelay(true);
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  const forget = () => {
    heard.length = 0;
  };
  return {
    url: `http://127.0.0.1:${port}`,
    heard,
    target: (url) => {
      target = url;
    },
    rules: (next) => {
      rules = next.map((rule) => ({ ...rule }));
    },
    forget,
    reset: () => {
      rules = [];
      forget();
      isRefusing = false;
      cut();
    },
    cut,
    refuse: (wanted) => {
      isRefusing = wanted;
      if (wanted) cut();
    },
    stop: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      cut();
      await closed;
    },
  };
}

function ruleFor(rules: Rule[], line: string): Rule | undefined {
  const rule = rules.find(({ match, times }) => times !== 0 && new RegExp(match).test(line));
  if (rule?.times !== undefined) rule.times -= 1;
  return rule;
}

async function pass(asked: IncomingMessage, answer: ServerResponse, target: string, rule: Rule = { match: '' }) {
  if (rule.delayMs) await sleep(rule.delayMs);
  if (rule.drop === 'before') {
    answer.destroy();
    return;
  }
  if (rule.answer) {
    asked.resume();
    const { status, headers = {}, body = '' } = rule.answer;
    answer.writeHead(status, {
      'content-type': typeof body === 'string' ? 'text/html' : 'application/problem+json',
      ...headers,
    });
    answer.end(typeof body === 'string' ? body : JSON.stringify(body));
    return;
  }
  const { port, hostname } = new URL(target);
  // The server sees its own name, for an open one refuses others; and no page of elsewhere, for those that there are are its own.
  const { origin: _origin, ...others } = asked.headers;
  const headers = { ...others, host: `${hostname}:${port}` };
  const upstream = request({
    host: hostname,
    port,
    method: asked.method,
    path: pathOf(asked, rule),
    headers,
    agent: false,
  });
  answer.once('close', () => upstream.destroy());
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    upstream.once('response', resolve).once('error', reject);
  });
  asked.pipe(upstream);
  const response = await answered;
  if (rule.drop === 'after') {
    await consumed(response);
    answer.destroy();
    return;
  }
  const isStream = response.headers['content-type']?.startsWith('text/event-stream') ?? false;
  const { 'content-length': length, connection, 'keep-alive': keepAlive, ...passed } = response.headers;
  const isAltered = Object.keys(rule).some((name) => !['match', 'times', 'delayMs', 'query'].includes(name));
  answer.writeHead(
    response.statusCode as number,
    isAltered || !length ? passed : { ...passed, 'content-length': length },
  );
  answer.flushHeaders();
  if (!isAltered) await pipeline(response, answer);
  else await pipeline(response, altering(rule, isStream), answer);
}

function pathOf({ url = '' }: IncomingMessage, { query }: Rule): string {
  const path = url.replace(/^\/behind(?=\/)/, '');
  return query === undefined ? path : `${path}${path.includes('?') ? '&' : '?'}${query}`;
}

async function consumed(stream: Readable): Promise<void> {
  for await (const _ of stream);
}

/** Takes a stream event by event, another answer whole. */
function altering(rule: Rule, isStream: boolean): Transform {
  const decoder = new StringDecoder('utf8');
  const state = { text: '', isFirst: true, isStalled: false, inserted: new Set<string>() };
  const once = (name: string, pattern: string | undefined, unit: string): boolean => {
    if (pattern === undefined || state.inserted.has(name) || !new RegExp(pattern).test(unit)) return false;
    state.inserted.add(name);
    return true;
  };
  async function give(to: Transform, original: string): Promise<void> {
    if (state.isStalled) return;
    let unit = original;
    for (const [from, by] of rule.replace ?? []) unit = unit.replaceAll(new RegExp(from, 'g'), by);
    if (rule.insert && once('insert', rule.insert.after, original)) unit += rule.insert.text;
    const cut = once('cut', rule.cutAfter, original);
    const stall = once('stall', rule.stallAfter, original);
    if (rule.lines) unit = unit.replaceAll('\n', rule.lines === 'crlf' ? '\r\n' : '\r');
    if (rule.bom && state.isFirst) unit = `\uFEFF${unit}`;
    state.isFirst = false;
    await push(to, Buffer.from(unit), rule.split);
    if (rule.flood && once('flood', rule.flood.after, original)) await flood(to, rule.flood.bytes);
    if (cut) {
      // What was pushed has to be on its way first; then the pipeline breaks, and the connection with it.
      await sleep(20);
      throw new Error('cut');
    }
    if (stall) state.isStalled = true;
  }
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      state.text += decoder.write(chunk);
      const work = async () => {
        if (!isStream) return;
        for (let end = state.text.indexOf('\n\n'); end >= 0; end = state.text.indexOf('\n\n')) {
          const unit = state.text.slice(0, end + 2);
          state.text = state.text.slice(end + 2);
          await give(this, unit);
        }
      };
      work().then(() => done(), done);
    },
    flush(done) {
      give(this, state.text).then(() => {
        // A connection that is dead has no end either.
        if (!state.isStalled) done();
      }, done);
    },
  });
}

async function push(to: Transform, bytes: Buffer, split: number | undefined): Promise<void> {
  if (!split) {
    if (bytes.length > 0) to.push(bytes);
    return;
  }
  for (let at = 0; at < bytes.length; at += split) {
    to.push(bytes.subarray(at, at + split));
    // Each piece a packet of its own.
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

async function flood(to: Transform, bytes: number): Promise<void> {
  const piece = Buffer.alloc(1024 * 1024, 'x');
  to.push('event: changes\ndata: {"revision":1,"filler":"');
  for (let left = bytes; left > 0 && !to.destroyed; left -= piece.length) {
    to.push(piece.subarray(0, Math.min(left, piece.length)));
    while (to.readableLength > 4 * piece.length && !to.destroyed) await sleep(1);
  }
  to.push('"}\n\n');
}
