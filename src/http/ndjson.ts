/**
 * An answer as lines of JSON that is written while it is made. Whoever writes waits for the client to take it, so that
 * nothing piles up here; an answer that can't be finished is cut, so that nobody takes a part for the whole.
 */
import type { OutgoingHttpHeaders } from 'node:http';
import type { FastifyReply } from 'fastify';
import { limits } from '../engine/limits.js';

export const NDJSON_TYPE = 'application/x-ndjson';

/** The client has gone, or takes nothing any more. There is nobody left to tell. */
export class ClientGone extends Error {}

export class NdjsonAnswer {
  readonly #response: FastifyReply['raw'];

  constructor(reply: FastifyReply, headers: Record<string, string>) {
    reply.hijack();
    this.#response = reply.raw;
    this.#response.writeHead(200, {
      ...(reply.getHeaders() as OutgoingHttpHeaders),
      ...headers,
      'content-type': NDJSON_TYPE,
      'cache-control': 'no-store, no-transform',
      'x-accel-buffering': 'no',
    });
    this.#response.flushHeaders();
  }

  get closed(): boolean {
    return this.#response.destroyed || this.#response.writableEnded;
  }

  /** Whether the client hasn't taken what was written before. */
  get isBehind(): boolean {
    return this.#response.writableNeedDrain;
  }

  /** Writes lines, each with its line feed. */
  write(lines: string): void {
    if (!this.closed) this.#response.write(lines);
  }

  /** Resolves when the client has taken what was written. Rejects with ClientGone, at the latest after a stall. */
  async taken(): Promise<void> {
    if (this.closed) throw new ClientGone();
    if (!this.isBehind) return;
    const response = this.#response;
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer);
        response.off('drain', done).off('close', done);
        resolve();
      };
      const timer = setTimeout(() => {
        this.cut();
        done();
      }, limits.transferStallMs);
      response.on('drain', done).on('close', done);
    });
    if (this.closed) throw new ClientGone();
  }

  end(): void {
    this.#response.end();
  }

  /** A reset, not an orderly end: an answer without chunks (HTTP/1.0, as proxies speak) would otherwise look whole. */
  cut(): void {
    const { socket } = this.#response;
    if (socket && !socket.destroyed) socket.resetAndDestroy();
    else this.#response.destroy();
  }
}
