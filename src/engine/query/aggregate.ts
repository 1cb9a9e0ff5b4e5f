/**
 * Aggregates over the items that match, all together or in groups by the values of attributes. Numbers are counted; other
 * values don't take part in sums, and a group in which there is none has no minimum, maximum or mean (null).
 */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import type { Json, JsonObject } from '../state/json.js';
import { setMember } from '../state/json.js';
import type { Budget } from './budget.js';
import { ExactSum } from './exact-sum.js';
import { type Path, type Readable, readPath } from './path.js';
import { sortInTurns } from './sorting.js';
import { digestOf } from './value-digest.js';
import { compareValues, equalValues, type Work } from './value-order.js';

export type AggregateFunction = 'count' | 'sum' | 'min' | 'max' | 'avg';

export interface Aggregate {
  readonly name: string;
  readonly function: AggregateFunction;
  readonly path: Path;
}

class Tally {
  count = 0;
  numbers = 0;
  min = Number.POSITIVE_INFINITY;
  max = Number.NEGATIVE_INFINITY;
  readonly #sum = new ExactSum();

  add(value: Json | undefined): void {
    if (value === undefined) return;
    this.count++;
    if (typeof value !== 'number') return;
    this.numbers++;
    if (value < this.min) this.min = value;
    if (value > this.max) this.max = value;
    this.#sum.add(value);
  }

  result(wanted: AggregateFunction): number | null {
    switch (wanted) {
      case 'count':
        return this.count;
      case 'sum':
        return finite(this.#sum.over(1));
      case 'avg':
        return this.numbers === 0 ? null : this.#sum.over(this.numbers);
      case 'min':
        return this.numbers === 0 ? null : this.min;
      case 'max':
        return this.numbers === 0 ? null : this.max;
    }
  }
}

/** JSON has no infinity: a sum past what a double holds is none. */
function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

interface Group {
  readonly values: readonly (Json | undefined)[];
  readonly tallies: readonly Tally[];
}

export class Aggregation {
  /** By the scalars among the groups' values and the digests of the others: nearly always one of each. */
  readonly #groups = new Map<string, Group[]>();
  #size = 0;
  /** Of the groups' values as text. */
  #bytes = 0;

  constructor(
    private readonly aggregates: readonly Aggregate[],
    private readonly groupBy: readonly Path[],
  ) {
    if (groupBy.length === 0) this.#groups.set('', [this.#newGroup([])]);
  }

  /** Takes an item in. Throws `scanLimit` when there are more groups than are answered. */
  add(item: Readable, work: Work): void {
    const group = this.#groupOf(item, work);
    for (const [i, { path }] of this.aggregates.entries()) group.tallies[i]?.add(readPath(path, item));
  }

  /** The results of all items together, when they aren't grouped. */
  get total(): JsonObject {
    return this.#results(this.#groups.get('')?.[0] as Group);
  }

  /** The groups in the order of their values. A value that is absent is left out of `group`. */
  async groups(budget: Budget): Promise<{ group: JsonObject; aggregates: JsonObject }[]> {
    const byValues = (a: Group, b: Group) => {
      for (const [i, value] of a.values.entries()) {
        const order = compareValues(value, b.values[i], budget);
        if (order !== 0) return order;
      }
      return 0;
    };
    const groups = await sortInTurns([...this.#groups.values()].flat(), byValues, this.#bytes, budget);
    return groups.map((group) => {
      const values: JsonObject = {};
      for (const [i, { text }] of this.groupBy.entries()) {
        const value = group.values[i];
        if (value !== undefined) setMember(values, text, value);
      }
      return { group: values, aggregates: this.#results(group) };
    });
  }

  #groupOf(item: Readable, work: Work): Group {
    if (this.groupBy.length === 0) return this.#groups.get('')?.[0] as Group;
    const values = this.groupBy.map((path) => readPath(path, item));
    const ids = values.map((value) => idOf(value, work));
    const id = ids.map(({ text }) => text).join('\n');
    const alike = this.#groups.get(id);
    const known = alike?.find((group) => group.values.every((value, i) => equalValues(value, values[i], work)));
    if (known) return known;
    for (const { length } of ids) this.#bytes += length;
    if (this.#size >= limits.groupsMax || this.#bytes > limits.pageBytesMax) {
      throw new Problem(
        'scanLimit',
        `The query has more than ${limits.groupsMax} groups, or their values are more than ${limits.pageBytesMax} bytes. Narrow it, or group by attributes with fewer and shorter values.`,
        { members: { groupsMax: limits.groupsMax } },
      );
    }
    const group = this.#newGroup(values);
    this.#size++;
    if (alike) alike.push(group);
    else this.#groups.set(id, [group]);
    return group;
  }

  #newGroup(values: readonly (Json | undefined)[]): Group {
    return { values, tallies: this.aggregates.map(() => new Tally()) };
  }

  #results({ tallies }: Group): JsonObject {
    const results: JsonObject = {};
    for (const [i, { name, function: wanted }] of this.aggregates.entries()) {
      setMember(results, name, tallies[i]?.result(wanted) ?? null);
    }
    return results;
  }
}

/** One text for equal values, and the length of them as JSON. */
function idOf(value: Json | undefined, work: Work): { text: string; length: number } {
  if (typeof value === 'object' && value !== null) {
    const { digest, length } = digestOf(value, work);
    return { text: `#${digest}`, length };
  }
  const text = JSON.stringify(value) ?? '';
  return { text, length: text.length };
}
