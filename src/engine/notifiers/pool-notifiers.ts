/**
 * What a pool's notifiers are about, as a replica knows it: found for each commit without asking the database, by collection and
 * prefix. Whether a notifier is told anything is judged when it is worked on; here it is enough that none is left out.
 */
import { changesPolicy } from '../access/policy-history.js';
import { LOCKS } from '../locks/lock-items.js';
import { ATTACHMENTS } from '../sessions/session-items.js';
import { isSystemName } from '../state/collections.js';
import { CHANGES } from '../state/log-items.js';
import type { Change, Commit, ItemState } from '../state/model.js';
import { isItemEvent, NOTIFIERS, type NotifierDefinition, type NotifierEvent } from './notifier.js';

type About = Pick<NotifierDefinition, 'events' | 'collection' | 'prefix'>;

const isOfAttachments = (event: NotifierEvent) => event === 'attach' || event === 'detach';

export class PoolNotifiers {
  readonly #about = new Map<string, About>();

  /** Takes in what a commit made of a notifier's item. */
  learn(name: string, item: ItemState | undefined): void {
    if (item) this.#about.set(name, item.attributes as unknown as About);
    else this.#about.delete(name);
  }

  get names(): Iterable<string> {
    return this.#about.keys();
  }

  /** The notifiers that the commits may concern. */
  concernedBy(commits: readonly Commit[]): Set<string> {
    const concerned = new Set<string>();
    if (this.#about.size === 0) return concerned;
    for (const commit of commits) {
      // What is seen may change with the policy, whatever it is about.
      if (changesPolicy(commit)) return new Set(this.#about.keys());
      for (const change of commit.changes) {
        if (change.collection === NOTIFIERS && this.#about.has(change.key)) concerned.add(change.key);
        for (const [name, about] of this.#about)
          if (!concerned.has(name) && mayConcern(about, change)) concerned.add(name);
        if (concerned.size === this.#about.size) return concerned;
      }
    }
    return concerned;
  }
}

function mayConcern({ events, collection, prefix }: About, change: Change): boolean {
  if (change.collection === ATTACHMENTS && events.some(isOfAttachments)) return true;
  if (change.collection === LOCKS && events.includes('lock')) return true;
  if (!events.some(isItemEvent)) return false;
  // Of the log as a collection each commit is an item.
  if (collection === CHANGES) return true;
  const isCovered = collection === undefined ? !isSystemName(change.collection) : change.collection === collection;
  return isCovered && (prefix === undefined || change.key.startsWith(prefix));
}
