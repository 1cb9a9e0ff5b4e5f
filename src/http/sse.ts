/**
 * The connection of a stream of Server-Sent Events. The body ends with the connection instead of being chunked, so that a
 * frame that is for a thousand readers is one buffer for a thousand sockets, written as it is.
 */
import type { OutgoingHttpHeaders } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Problem } from '../engine/errors.js';
import type { StartRequest } from '../engine/watch/start.js';
import type { Sink } from '../engine/watch/stream.js';
import type { Opening } from '../engine/watch/watching.js';
import { poolHeaders } from './answers.js';
import { endSpan } from './request-spans.js';
import type { Call } from './route.js';
import { frameSealer } from './sealing.js';

/** Below this, a reader that was slow is written to again. */
const LOW_MARK_BYTES = 64 * 1024;

/** Where a stream is to begin, as the request says. */
export function startOf({ request }: Pick<Call, 'request'>, since: string | undefined): StartRequest {
  const lastEventId = request.headers['last-event-id'];
  return { since, lastEventId: Array.isArray(lastEventId) ? lastEventId[0] : lastEventId };
}

/** Answers the request with the stream, and settles when that has ended. */
export async function serveStream(
  { request, reply, subject, isRevoked }: Pick<Call, 'request' | 'reply' | 'subject' | 'isRevoked'>,
  opening: Opening,
): Promise<void> {
  if (request.raw.socket.destroyed) return void reply.hijack();
  // What is open is ended by a revocation; one that came while it was being opened has passed it by.
  if (isRevoked(subject)) throw new Problem('unauthenticated', 'The token was revoked.');
  const { epoch, revision } = opening.replica;
  const sink = new SseSink(request, reply, poolHeaders(epoch, revision));
  endSpan(request, 200);
  await opening.begin(sink, (listener) => void reply.raw.once('close', listener));
}

class SseSink implements Sink {
  readonly #response: FastifyReply['raw'];
  /** Of an encrypted login, whose frames are for this connection only. */
  readonly #seal: ((frames: string) => string) | undefined;
  #blockedSince: number | undefined;
  readonly #drained: (() => void)[] = [];

  constructor(request: FastifyRequest, reply: FastifyReply, headers: Record<string, string | number>) {
    reply.hijack();
    const response = reply.raw;
    this.#response = response;
    this.#seal = frameSealer(request);
    // A stream lives long and is written to in small pieces: none of the time-outs of a request fit.
    request.raw.socket.setNoDelay(true);
    request.raw.socket.setTimeout(0);
    response.shouldKeepAlive = false;
    response.useChunkedEncodingByDefault = false;
    response.writeHead(200, {
      // What every answer has is told by Fastify's hooks.
      ...(reply.getHeaders() as OutgoingHttpHeaders),
      ...headers,
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store, no-transform',
      'x-accel-buffering': 'no',
      connection: 'close',
    });
    response.flushHeaders();
    response.on('drain', () => this.#release());
    response.on('close', () => this.#release());
  }

  write(frames: Buffer | string): void {
    const response = this.#response;
    if (response.destroyed || response.writableEnded) return;
    const sent = this.#seal ? this.#seal(frames.toString()) : frames;
    if (!response.write(sent)) this.#blockedSince ??= Date.now();
  }

  get buffered(): number {
    return this.#response.writableLength;
  }

  blockedMs(now: number): number {
    return this.#blockedSince === undefined ? 0 : now - this.#blockedSince;
  }

  drained(): Promise<void> {
    if (this.closed || this.buffered <= LOW_MARK_BYTES) return Promise.resolve();
    return new Promise((resolve) => this.#drained.push(resolve));
  }

  get closed(): boolean {
    return this.#response.destroyed || this.#response.writableEnded;
  }

  end(): void {
    this.#blockedSince ??= Date.now();
    this.#response.end();
  }

  finished(): Promise<void> {
    if (this.#response.closed) return Promise.resolve();
    return new Promise((resolve) => this.#response.once('close', resolve));
  }

  destroy(): void {
    this.#response.destroy();
  }

  #release(): void {
    this.#blockedSince = undefined;
    for (const resolve of this.#drained.splice(0)) resolve();
  }
}
