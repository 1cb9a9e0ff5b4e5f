/**
 * What an item of a writable system collection may be, judged on what a write would leave, inside the commit. The
 * application's own collections pass unseen.
 */
import { Problem } from '../errors.js';
import { DICTIONARY } from '../state/collections.js';
import type { Attributes } from '../state/model.js';
import { checkOwnName } from '../state/names.js';
import { checkScript, SCRIPTS } from './scripts.js';

/** `next` is the item afterwards; undefined where the write deletes it. */
export function checkSystemItem(collection: string, key: string, next: Attributes | undefined): void {
  switch (collection) {
    case DICTIONARY:
      checkOwnName('collection', key);
      // The entry is the collection's being: without it the items would be there and nowhere.
      if (!next) throw new Problem('conflict', `Drop the collection itself: DELETE …/collections/${key}.`);
      return;
    case SCRIPTS:
      if (next) checkScript(key, next);
  }
}
