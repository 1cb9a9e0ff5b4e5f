/**
 * What an item of a writable system collection may be, judged on what a write has left in the draft, inside the commit. The
 * application's own collections pass unseen.
 */
import { POLICIES, parsePolicy } from '../access/policy.js';
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import { NOTIFIERS } from '../notifiers/notifier.js';
import { checkNotifier } from '../notifiers/notifier-items.js';
import { DICTIONARY, entryRef } from '../state/collections.js';
import type { Draft } from '../state/draft.js';
import type { ItemRef } from '../state/model.js';
import { checkName, checkOwnName } from '../state/names.js';
import { checkScript, SCRIPTS } from './scripts.js';

/** Refuses what a write has made of the item, if it may not be. */
export function checkSystemItem(draft: Draft, { collection, key }: ItemRef): void {
  if (collection === DICTIONARY) checkEntry(draft, key);
  else if (collection === POLICIES) checkPolicy(draft, key);
  else if (collection === NOTIFIERS) checkNotifier(draft, key);
  else if (collection === SCRIPTS) {
    const state = draft.item({ collection, key });
    if (state) checkScript(key, state.attributes);
  }
}

function checkPolicy(draft: Draft, key: string): void {
  const state = draft.item({ collection: POLICIES, key });
  if (!state) return;
  checkName('policy', key);
  parsePolicy(state.attributes);
  const added = draft.changes().filter(({ collection, op }) => collection === POLICIES && op === 'add').length;
  if (added > 0 && (draft.group.get(POLICIES)?.items ?? 0) + added > limits.policiesPerPoolMax)
    throw new Problem('invalid', `A pool has at most ${limits.policiesPerPoolMax} policies; one may have many rules.`);
}

function checkEntry(draft: Draft, key: string): void {
  checkOwnName('collection', key);
  const collection = draft.group.get(key);
  if (draft.item(entryRef(key))) {
    // Compiling it finds its faults.
    draft.definition(key);
  } else if (collection?.present && collection.items > 0) {
    // The entry is the collection's being: without it the items would be there and nowhere.
    throw new Problem(
      'conflict',
      `The collection ${JSON.stringify(key)} holds ${collection.items} items. DELETE …/collections/${key} drops it with them; PUT {"attributes": {}} here only forgets what is said about it.`,
    );
  }
}
