/**
 * A group of commands as a span, with a span for each transaction that was tried for it. It is told when it is over: who is in the
 * group, and so whose trace it is a part of, is known only once the pool's lock was had. A group serves many requests: it is a
 * part of the first that is recorded, and linked to the others. A group of which none is recorded is no span.
 */
import { isSampled, type Trace, type Tracing } from '../tracing.js';

interface Attempt {
  readonly startedMs: number;
  readonly endedMs: number;
  readonly fault: string | undefined;
}

export class GroupTrace {
  readonly #startedMs = performance.now();
  readonly #attempts: Attempt[] = [];

  constructor(
    private readonly tracing: Tracing,
    private readonly pool: string,
  ) {}

  async attempt<T>(work: () => Promise<T>): Promise<T> {
    const startedMs = performance.now();
    let fault: string | undefined;
    try {
      return await work();
    } catch (error) {
      fault = nameOf(error);
      throw error;
    } finally {
      this.#attempts.push({ startedMs, endedMs: performance.now(), fault });
    }
  }

  /** The group has settled; `revision` is the last that it made. */
  committed(traces: Iterable<Trace | undefined>, commits: number, revision: number | undefined): void {
    this.#tell(traces, undefined, { 'stargus.commits': commits, ...(revision && { 'stargus.revision': revision }) });
  }

  failed(traces: Iterable<Trace | undefined>, error: unknown): void {
    this.#tell(traces, nameOf(error), {});
  }

  #tell(all: Iterable<Trace | undefined>, fault: string | undefined, attributes: Record<string, number>): void {
    const [parent, ...others] = new Set(
      [...all].filter((trace) => trace !== undefined && isSampled(trace)),
    ) as Set<Trace>;
    if (parent === undefined) return;
    const span = this.tracing.begin('commit', {
      parent,
      startedMs: this.#startedMs,
      attributes: { 'stargus.pool': this.pool, 'stargus.requests': others.length + 1, ...attributes },
    });
    for (const trace of others) span.link(trace);
    for (const [i, { startedMs, endedMs, fault }] of this.#attempts.entries()) {
      const options = { parent: span.trace, startedMs, attributes: { 'stargus.attempt': i + 1 } };
      this.tracing.begin('transaction', options).end(fault, endedMs);
    }
    span.end(fault, performance.now());
  }
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : 'Error';
}
