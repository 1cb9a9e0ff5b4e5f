/**
 * What a filter makes of a change. An item is in a view while it matches, so there are three kinds: a change of an item that
 * matched and still does is told as it is; one that makes an item match is told as its coming (`entered`) with all that
 * it has, since nothing of it was told before; one after which it no longer matches as its going (`left`), and nothing of
 * what it has become. Changes outside aren't told. Both sides are judged from the change alone, so a replay from the log
 * says what was said live. Pure.
 */
import { type Matcher, matcherOf } from '../query/evaluate.js';
import type { Filter, FilterNode } from '../query/filter.js';
import type { Path } from '../query/path.js';
import { type Change, changeBetween, type ItemState } from '../state/model.js';
import { formerOf } from './former.js';

/** What an item must be to be in a view. */
export interface Criterion {
  readonly matches: Matcher;
  /** The attributes that it looks at. */
  readonly reads: ReadonlySet<string>;
  readonly readsRevision: boolean;
}

export function criterionOf(filter: Filter): Criterion {
  const paths = pathsOf(filter.root);
  return {
    matches: matcherOf(filter),
    reads: new Set(paths.filter((path) => path.of === 'attribute').map(({ tokens }) => tokens[0] as string)),
    readsRevision: paths.some((path) => path.of === 'revision'),
  };
}

export class Filtering {
  constructor(private readonly criterion: Criterion) {}

  matches(key: string, { revision, attributes }: ItemState): boolean {
    return this.criterion.matches({ key, revision, attributes });
  }

  /** The change as it looks from inside the filter; undefined where it is outside before and after. */
  see(change: Change): Change | undefined {
    const { key, after } = change;
    const is = after !== undefined && this.matches(key, after);
    if (!change.former) return is ? change : undefined;
    if (after && !this.#concerns(change)) return is ? change : undefined;
    const former = formerOf(change) as ItemState;
    const was = this.matches(key, former);
    if (was === is) return is ? change : undefined;
    if (is) return { ...(changeBetween(change, undefined, after) as Change), reason: 'entered' };
    return after ? { ...(changeBetween(change, former, undefined) as Change), reason: 'left' } : change;
  }

  /** Whether the change touches anything that the filter looks at: if not, the item matches as it did before. */
  #concerns({ changed }: Change): boolean {
    const { reads, readsRevision } = this.criterion;
    return readsRevision || changed.some((name) => reads.has(name));
  }
}

function pathsOf(node: FilterNode): Path[] {
  switch (node.kind) {
    case 'test':
      return [node.path];
    case 'not':
      return pathsOf(node.part);
    default:
      return node.parts.flatMap(pathsOf);
  }
}
