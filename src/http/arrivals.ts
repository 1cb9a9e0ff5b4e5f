/**
 * Requests whose bodies are still arriving, and for how long: a request that takes longer to arrive than any should is
 * refused and its connection ended. Node's own bound knows no exception; here a route that takes a body of any length is
 * let go once it has begun to read, and keeps its own time. A request without a body costs nothing.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { answerMalformed } from './malformed.js';

/** How late the bound may be noticed. */
const LOOK_EVERY_MS = 5000;

interface Arriving {
  readonly response: ServerResponse;
  readonly since: number;
}

export class Arrivals {
  readonly #arriving = new Map<IncomingMessage, Arriving>();
  #timer: NodeJS.Timeout | undefined;

  constructor(private readonly arriveMs: number) {}

  start(): void {
    this.#timer = setInterval(() => this.look(performance.now()), LOOK_EVERY_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  begin(request: IncomingMessage, response: ServerResponse, now = performance.now()): void {
    const { 'content-length': length, 'transfer-encoding': encoding } = request.headers;
    if (encoding === undefined && (length === undefined || length === '0')) return;
    this.#arriving.set(request, { response, since: now });
  }

  /** The request has arrived, or whoever reads it keeps its time. */
  release(request: IncomingMessage): void {
    this.#arriving.delete(request);
  }

  /** Ends what takes too long. */
  look(now: number): void {
    for (const [request, { response, since }] of this.#arriving) {
      const isLate = now - since >= this.arriveMs;
      if (!request.complete && !request.destroyed && !isLate) continue;
      this.#arriving.delete(request);
      if (request.complete || request.destroyed) continue;
      // Who has his answer already and goes on sending needs no second one.
      if (response.headersSent) request.socket.destroy();
      else answerMalformed({ code: 'ERR_HTTP_REQUEST_TIMEOUT' }, request.socket);
    }
  }
}
