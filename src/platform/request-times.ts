/**
 * Times of answered requests, by operation and status. A histogram of prom-client hashes its labels at every observation,
 * which is felt at tens of thousands of requests a second; here an observation is two look-ups and an addition, and the
 * histogram is made when it is asked for.
 */

interface Times {
  readonly operation: string;
  readonly status: number;
  /** How many fell between one bound and the next; the last is for what is past all bounds. */
  readonly counts: Float64Array;
  sum: number;
}

export class RequestTimes {
  readonly #byOperation = new Map<string, Map<number, Times>>();

  constructor(private readonly bounds: readonly number[]) {}

  observe(operation: string, status: number, seconds: number): void {
    const times = this.#byOperation.get(operation)?.get(status) ?? this.#add(operation, status);
    times.sum += seconds;
    let slot = 0;
    while (slot < this.bounds.length && seconds > (this.bounds[slot] as number)) slot++;
    times.counts[slot] = (times.counts[slot] as number) + 1;
  }

  /** In Prometheus's format: cumulative buckets, as `Histogram` of prom-client writes them. */
  text(name: string, help: string): string {
    const lines = [`# HELP ${name} ${help}`, `# TYPE ${name} histogram`];
    for (const times of [...this.#byOperation.values()].flatMap((byStatus) => [...byStatus.values()])) {
      const labels = `operation="${times.operation}",status="${times.status}"`;
      let count = 0;
      for (const [slot, inSlot] of times.counts.entries()) {
        count += inSlot;
        lines.push(`${name}_bucket{le="${this.bounds[slot] ?? '+Inf'}",${labels}} ${count}`);
      }
      lines.push(`${name}_sum{${labels}} ${times.sum}`, `${name}_count{${labels}} ${count}`);
    }
    return `${lines.join('\n')}\n`;
  }

  #add(operation: string, status: number): Times {
    const times = { operation, status, counts: new Float64Array(this.bounds.length + 1), sum: 0 };
    const byStatus = this.#byOperation.get(operation) ?? new Map<number, Times>();
    byStatus.set(status, times);
    this.#byOperation.set(operation, byStatus);
    return times;
  }
}
