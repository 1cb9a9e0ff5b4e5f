/** What a watcher asks to see, checked, as it stands in a query string (`?`) or in a body (`/`). */
import { Problem } from '../engine/errors.js';
import { limits } from '../engine/limits.js';
import { parseFilterText } from '../engine/query/filter.js';
import { parsePaths } from '../engine/query/request.js';
import { compareKeys, rangeOf } from '../engine/state/key-order.js';
import { checkItemKey, checkName } from '../engine/state/names.js';
import type { ViewRequest } from '../engine/watch/view.js';

type Place = '?' | '/';
type Items = Pick<ViewRequest, 'collection' | 'key' | 'prefix' | 'start' | 'end'>;

/** A view as a query string has it, with its filter as text. */
export function checkView({
  where,
  fields,
  ...view
}: Omit<ViewRequest, 'where'> & { where?: string | undefined }): ViewRequest {
  checkItems(view, '?');
  return {
    ...view,
    ...(fields && { fields: checkFields(fields, '?') }),
    ...(where !== undefined && { where: parseFilterText(where, '?where') }),
  };
}

export function checkItems({ collection, key, prefix, start, end }: Items, place: Place): void {
  if (collection !== undefined) checkName('collection', collection);
  if (key !== undefined) checkItemKey(key);
  if (key !== undefined && (prefix ?? start ?? end) !== undefined) {
    throw fault(`${place}key`, 'names one item; it can’t be combined with `prefix`, `start` or `end`.');
  }
}

/** A range that is kept: one that can hold no key is refused, and what is longer than a key. */
export function checkKeptRange({ prefix, start, end }: Items): void {
  for (const [name, bound] of Object.entries({ prefix, start, end })) {
    if (bound === undefined) continue;
    if (Buffer.byteLength(bound) > limits.itemKeyBytesMax || !bound.isWellFormed())
      throw fault(`/${name}`, `must be at most ${limits.itemKeyBytesMax} bytes of UTF-8.`);
  }
  const range = rangeOf({ prefix, start, end });
  if (range.end !== undefined && compareKeys(range.start ?? '', range.end) >= 0)
    throw fault(end === undefined ? '/start' : '/end', 'leaves no keys: a range without any has nothing to tell.');
}

/** Attributes by their names or pointers to them: changes are told by whole attributes. */
export function checkFields(fields: readonly string[], place: Place): string[] {
  const pointer = `${place}fields`;
  return parsePaths(fields, pointer, limits.attributesMax).map(({ text, tokens }) => {
    const [name, ...deeper] = tokens;
    if (name !== undefined && deeper.length === 0) return name;
    throw fault(
      pointer,
      `must name whole attributes: a change tells of them, and not of what is inside, as ${JSON.stringify(text)} would.`,
    );
  });
}

function fault(pointer: string, detail: string): Problem {
  return new Problem('badRequest', `${pointer} ${detail}`, { errors: [{ pointer, code: 'badRequest', detail }] });
}
