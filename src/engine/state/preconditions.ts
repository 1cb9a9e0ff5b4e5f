/** Preconditions: RFC 9110's If-Match and If-None-Match, and the conditions of a batch. Pure; judged inside the commit. */
import { Problem } from '../errors.js';
import { type Meter, matcherOf } from '../query/evaluate.js';
import type { Filter } from '../query/filter.js';
import type { ItemRef, ItemState } from './model.js';

/** A list of entity tags, or `*` for any. A tag is the revision of an item as text. */
export type TagList = '*' | readonly string[];

export interface Preconditions {
  readonly ifMatch?: TagList | undefined;
  readonly ifNoneMatch?: TagList | undefined;
}

/** A condition of a batch on any item of the pool. Members that are absent don't matter. */
export interface Condition extends ItemRef {
  /** Where it stands in the request, or in its op. */
  readonly pointer: string;
  /** The item's revision; 0 means that there is no such item. */
  readonly revision?: number | undefined;
  readonly exists?: boolean | undefined;
  /** What the item must be like; one that isn't there matches nothing. */
  readonly where?: Filter | undefined;
}

const TAG = /\s*(W\/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*(,|$)/y;

/**
 * Parses the header's list of entity tags. Weak tags never match a write (RFC 9110, 13.1.1) but do match a read. A
 * proxy's `-gzip` suffix is taken off.
 */
export function parseTags(header: string, name: string, weak: boolean): TagList {
  if (header.trim() === '*') return '*';
  const tags: string[] = [];
  TAG.lastIndex = 0;
  while (TAG.lastIndex < header.length) {
    const match = TAG.exec(header);
    if (!match) throw new Problem('badRequest', `${name} must be * or a list of entity tags such as "17".`);
    if (weak || !match[1]) tags.push((match[2] as string).replace(/-gzip$/, ''));
  }
  if (tags.length === 0 && !header.includes('"')) throw new Problem('badRequest', `${name} must not be empty.`);
  return tags;
}

export function tagsMatch(tags: TagList, revision: number | undefined): boolean {
  if (revision === undefined) return false;
  return tags === '*' || tags.includes(String(revision));
}

/** Refuses with `preconditionFailed` when the representation, whose tag is `revision`, isn't what the headers ask for. */
export function checkPreconditions({ ifMatch, ifNoneMatch }: Preconditions, revision: number | undefined): void {
  const present = revision === undefined ? 'it does not exist' : `its ETag is "${revision}"`;
  if (ifMatch !== undefined && !tagsMatch(ifMatch, revision)) {
    throw new Problem('preconditionFailed', `If-Match does not hold: ${present}.`, {
      members: { currentRevision: revision ?? null },
    });
  }
  if (ifNoneMatch !== undefined && tagsMatch(ifNoneMatch, revision)) {
    throw new Problem('preconditionFailed', `If-None-Match does not hold: ${present}.`, {
      members: { currentRevision: revision ?? null },
    });
  }
}

/**
 * Refuses with `preconditionFailed` when the condition doesn't hold. `charge` is told of steps that comparing large values
 * takes; it throws where they are too many.
 */
export function checkCondition(
  condition: Condition,
  item: ItemState | undefined,
  charge: (steps: number) => void,
): void {
  const { collection, key, pointer, revision, exists, where } = condition;
  const holds =
    (exists === undefined || exists === (item !== undefined)) &&
    (revision === undefined || revision === (item?.revision ?? 0)) &&
    (where === undefined || (item !== undefined && matches(where, key, item, charge)));
  if (holds) return;
  const present = item ? `is at revision ${item.revision}` : 'does not exist';
  const detail = `The condition on ${collection}/${key} does not hold: the item ${present}.`;
  throw new Problem('preconditionFailed', detail, { errors: [{ pointer, code: 'preconditionFailed', detail }] });
}

function matches(where: Filter, key: string, item: ItemState, charge: (steps: number) => void): boolean {
  const meter: Meter = {
    steps: 0,
    check: () => {
      charge(meter.steps);
      meter.steps = 0;
    },
  };
  return matcherOf(where, meter)({ key, revision: item.revision, attributes: item.attributes });
}
