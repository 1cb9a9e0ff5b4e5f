/** The body of a request as it arrives: read piece by piece, and no further than it is asked for. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ByteSource } from '../engine/transfer/import.js';
import { ClientGone } from './ndjson.js';
import { noteBytesIn } from './uses.js';

export class BodySource implements ByteSource {
  readonly #raw: FastifyRequest['raw'];
  readonly #chunks: Buffer[] = [];
  #ended = false;
  #gone = false;
  #wake: (() => void) | undefined;
  readonly #listeners: readonly (readonly [event: string, listener: (chunk: Buffer) => void])[];

  constructor(request: FastifyRequest, reply: FastifyReply) {
    const { raw } = request;
    this.#raw = raw;
    this.#listeners = [
      [
        'data',
        (chunk) => {
          this.#chunks.push(chunk);
          noteBytesIn(request, chunk.length);
          raw.pause();
          this.#wake?.();
        },
      ],
      [
        'end',
        () => {
          this.#ended = true;
          this.#wake?.();
        },
      ],
    ];
    const leave = () => {
      this.#gone = true;
      this.#wake?.();
    };
    raw.on('error', leave);
    // Before the body's end, or after it and before the answer's.
    reply.raw.on('close', leave);
    for (const [event, listener] of this.#listeners) raw.on(event, listener);
    raw.pause();
  }

  get gone(): boolean {
    return this.#gone || this.#raw.socket.destroyed;
  }

  async next(waitMs: number): Promise<Buffer | 'late' | undefined> {
    let isLate = false;
    if (this.#chunks.length === 0 && !this.#ended && !this.gone) {
      this.#raw.resume();
      await new Promise<void>((resolve) => {
        const timer = setTimeout(() => {
          isLate = true;
          resolve();
        }, waitMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = undefined;
    }
    if (this.gone) throw new ClientGone();
    const chunk = this.#chunks.shift();
    return chunk ?? (isLate && !this.#ended ? 'late' : undefined);
  }

  /** What is still to come is read and dropped. */
  drop(): void {
    for (const [event, listener] of this.#listeners) this.#raw.off(event, listener);
    this.#raw.resume();
  }
}
