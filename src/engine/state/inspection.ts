/**
 * Looking at the items that a new definition would hold for: what judges them, who offends, and what the look may cost.
 */
import type { Definition } from '../dictionary/definition.js';
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import { Turns, turn } from '../turn.js';
import { partsOf } from './indexes.js';
import type { Attributes } from './model.js';
import { valuesId } from './unique.js';

export type Judge = (key: string, attributes: Attributes) => readonly { pointer: string; detail: string }[];

export function judgeOf(definition: Definition): Judge {
  return (_key, attributes) => definition.violations(attributes, undefined);
}

/** For each index that is to be unique and wasn't. */
export function uniqueJudges(definition: Definition, former: Definition): Judge[] {
  const idOf = ({ parts }: Definition['indexes'][number]) => JSON.stringify(parts);
  const known = new Set(former.indexes.filter(({ unique }) => unique).map(idOf));
  return definition.indexes
    .filter((index) => index.unique && !known.has(idOf(index)))
    .map(({ name, parts }) => duplicateJudge(name, partsOf(parts)));
}

/** Tells of every item whose values an item before it has. */
function duplicateJudge(name: string, parts: ReturnType<typeof partsOf>): Judge {
  const holders = new Map<string, string>();
  return (key, attributes) => {
    const id = valuesId(parts, attributes);
    if (id === undefined) return [];
    const holder = holders.get(id);
    if (holder !== undefined)
      return [{ pointer: '/attributes', detail: `has the values of ${holder} in the unique index ${name}` }];
    if (holders.size >= limits.uniqueCheckItemsMax) {
      throw new Problem(
        'invalid',
        `A unique index can be declared while the collection holds at most ${limits.uniqueCheckItemsMax} items.`,
      );
    }
    holders.set(id, key);
    return [];
  };
}

/** One look at the items of a collection. To be raised at its end. */
export class Inspection {
  #count = 0;
  #cost = 0;
  readonly #turns = new Turns(limits.turnCost);
  readonly #first: { collection: string; key: string; errors: readonly { pointer: string; detail: string }[] }[] = [];

  constructor(
    private readonly collection: string,
    private readonly definition: Definition,
    private readonly judges: readonly Judge[],
    /** Steps that the whole look may take. */
    private readonly costMax: number,
    /** Whether the mode `warn` would help beside mending the items: for unique values it doesn't. */
    private readonly warnHelps: boolean,
    /** Whether the offenders may be told by name, and what is wrong with them: who asks sees all of the collection. */
    private readonly tells: boolean,
  ) {}

  /** Looks at some items; others have their turn on the event loop when that takes long. */
  async look(items: Iterable<{ readonly key: string; readonly attributes: Attributes }>): Promise<void> {
    for (const { key, attributes } of items) {
      for (const judge of this.judges) this.#add(key, judge(key, attributes));
      this.#charge();
      if (this.#turns.areDue(this.#cost)) await turn();
    }
  }

  /** Throws `dataViolatesSchema` where items break the definition. */
  raise(): void {
    const [first] = this.#first;
    if (!first) return;
    const [error] = first.errors;
    if (!this.tells) {
      throw new Problem(
        'dataViolatesSchema',
        `Items of ${this.collection} would break the definition. Who may read all of them is told which.`,
      );
    }
    const many = `${this.#count} ${this.#count === 1 ? 'item' : 'items'} of ${this.collection}`;
    throw new Problem(
      'dataViolatesSchema',
      `${many} would break the definition, first ${JSON.stringify(first.key)}: ${error?.pointer} ${error?.detail}. Mend them first${this.warnHelps ? ', or use the mode `warn`' : ''}.`,
      {
        errors: this.#first.flatMap(({ key, errors }) =>
          errors.map(({ pointer, detail }) => ({
            pointer: '/attributes',
            code: 'dataViolatesSchema',
            detail: `The item ${JSON.stringify(key)}: ${pointer} ${detail}`,
          })),
        ),
        members: { count: this.#count, offenders: this.#first },
      },
    );
  }

  #add(key: string, errors: readonly { pointer: string; detail: string }[]): void {
    if (errors.length === 0) return;
    this.#count++;
    if (this.#first.length < limits.offendersTold) this.#first.push({ collection: this.collection, key, errors });
  }

  #charge(): void {
    const { cost } = this.definition;
    this.#cost += cost;
    if (this.#cost <= this.costMax) return;
    throw new Problem(
      'invalid',
      `Checking the items that are there takes more than ${this.costMax} steps. Make the schema or the rules simpler, or set them while the collection is small.`,
    );
  }
}
