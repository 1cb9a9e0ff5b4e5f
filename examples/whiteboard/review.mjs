/**
 * What the log says of the drawing: whether each stroke was counted, and whether turns in a region kept out of one another. A painter
 * reads how many strokes a cell has and writes one more; had two done so at the same time, one of them would have written over
 * the other's, and the number would not have risen.
 */
import { COLLECTION, regionOf } from './board.mjs';

/** The strokes since a cursor, in the order of their commits: `{key, by, turn, strokes, before}`. */
export async function strokesSince(stargus, cursor) {
  const strokes = [];
  for (let page = { cursor, upToDate: false }; !page.upToDate; ) {
    const query = `since=${page.cursor}&collection=${COLLECTION}&values=full&limit=1000`;
    page = await stargus.call('GET', `/changes?${query}`);
    for (const { changes } of page.commits) strokes.push(...changes.filter(isStroke).map(strokeOf));
  }
  return strokes;
}

function isStroke({ op, changed }) {
  return op !== 'delete' && changed.includes('strokes');
}

function strokeOf({ key, attributes, previous }) {
  const { by, turn, strokes } = attributes;
  return { key, by, turn, strokes, before: previous.strokes ?? 0 };
}

/** Strokes over which another one was written without knowing of it. */
export function lostStrokes(strokes) {
  return strokes.filter(({ before, strokes }) => strokes !== before + 1).length;
}

/** A turn is known by its lock's fence, and later locks have higher ones. */
export function turnsOf(strokes) {
  const latest = new Map();
  let turns = 0;
  let mixed = 0;
  for (const { key, by, turn } of strokes) {
    const region = regionOf(key);
    const former = latest.get(region);
    if (former?.turn === turn && former.by === by) continue;
    if (former && former.turn >= turn) mixed++;
    else turns++;
    latest.set(region, { turn, by });
  }
  return { turns, mixed };
}
