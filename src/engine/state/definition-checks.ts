/**
 * What a write to `_dictionary` must not break: the items that are there. Where a definition checks otherwise than before, or
 * wants values to be unique that weren't, each item of its collection is looked at inside the commit, as the whole command
 * would leave it. The first offenders are told, and how many there are.
 */
import type { Definition } from '../dictionary/definition.js';
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import { sortKeyOf } from '../query/sort-key.js';
import { DICTIONARY } from './collections.js';
import type { Explorer } from './commands.js';
import type { Draft } from './draft.js';
import { partsOf } from './indexes.js';
import { stateOf } from './loading.js';
import type { Attributes, ItemRef } from './model.js';

/** Judges the definitions that the ops leave; what is refused is noted by the op. */
export async function checkDefinitions<T extends ItemRef>(
  explorer: Explorer,
  ops: readonly T[],
  judge: (draft: Draft, op: T) => unknown,
  refusals: Map<number, Problem>,
): Promise<void> {
  refusals.clear();
  const draft = explorer.draft();
  for (const op of ops) {
    try {
      judge(draft, op);
    } catch (error) {
      // It is met again, and told, when the command is judged for good.
      if (!(error instanceof Problem)) throw error;
    }
  }
  for (const [index, { collection, key }] of ops.entries()) {
    if (collection !== DICTIONARY || !draft.item({ collection, key })) continue;
    try {
      await checkItems(explorer, draft, key);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      refusals.set(index, error);
    }
  }
}

async function checkItems(explorer: Explorer, draft: Draft, collection: string): Promise<void> {
  const definition = draft.definition(collection);
  const former = draft.formerDefinition(collection);
  const offenders = new Offenders(collection);
  const judges = [
    ...(definition.mode === 'strict' && definition.checks && definition.checkId !== former.checkId
      ? [judgeOf(definition)]
      : []),
    ...uniqueOf(definition, former).map(({ name, parts }) => duplicateJudge(name, parts)),
  ];
  if (judges.length === 0) return;
  const look = (key: string, attributes: Attributes) => {
    for (const judge of judges) offenders.add(key, judge(key, attributes));
  };
  for await (const page of explorer.pages(collection)) {
    for (const item of page) {
      const known = draft.known({ collection, key: item.key });
      const state = known ? known.state : stateOf(item);
      if (state) look(item.key, state.attributes);
    }
  }
  for (const change of draft.changes())
    if (change.collection === collection && change.op === 'add' && change.after)
      look(change.key, change.after.attributes);
  offenders.raise();
}

type Judge = (key: string, attributes: Attributes) => readonly { pointer: string; detail: string }[];

function judgeOf(definition: Definition): Judge {
  return (_key, attributes) => definition.violations(attributes, undefined);
}

function uniqueOf(definition: Definition, former: Definition) {
  const idOf = ({ parts }: Definition['indexes'][number]) => JSON.stringify(parts);
  const known = new Set(former.indexes.filter(({ unique }) => unique).map(idOf));
  return definition.indexes
    .filter((index) => index.unique && !known.has(idOf(index)))
    .map(({ name, parts }) => ({ name, parts: partsOf(parts) }));
}

/** Tells of every item whose values an item before it has. What was cut from a sort key is left to the index itself. */
function duplicateJudge(name: string, parts: ReturnType<typeof partsOf>): Judge {
  const holders = new Map<string, string>();
  return (key, attributes) => {
    const { bytes, complete, exact } = sortKeyOf(parts, attributes);
    if (!complete || !exact) return [];
    const id = bytes.toString('latin1');
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

class Offenders {
  #count = 0;
  readonly #first: { collection: string; key: string; errors: readonly { pointer: string; detail: string }[] }[] = [];

  constructor(private readonly collection: string) {}

  add(key: string, errors: readonly { pointer: string; detail: string }[]): void {
    if (errors.length === 0) return;
    this.#count++;
    if (this.#first.length < limits.offendersTold) this.#first.push({ collection: this.collection, key, errors });
  }

  raise(): void {
    const [first] = this.#first;
    if (!first) return;
    const [error] = first.errors;
    throw new Problem(
      'dataViolatesSchema',
      `${this.#count} ${this.#count === 1 ? 'item' : 'items'} of ${this.collection} would break the definition, first ${JSON.stringify(first.key)}: ${error?.pointer} ${error?.detail}. Mend them first, or use the mode \`warn\`.`,
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
}
