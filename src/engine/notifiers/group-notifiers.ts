/** What a group of commands makes of notifiers: written to their rows in the group's own transaction. */
import type { Change } from '../state/model.js';
import type { Subject } from '../subject.js';
import { NOTIFIERS, type TargetRules } from './notifier.js';
import type { NotifierWrite } from './notifier-store.js';
import { keepOwner } from './owner.js';

/** Where notifiers begin that a command makes, by their names. */
export type NotifierStarts = Map<string, NotifierWrite['start']>;

export class GroupNotifiers {
  readonly writes: NotifierWrite[] = [];
  /** What a notifier's target may be here. */
  targets: TargetRules = { faultOf: () => undefined };
  /** The oldest revision of the pool that may be asked for. */
  oldestRevision = 1;

  /** Takes in the changes of a commit. */
  take(
    changes: readonly Change[],
    starts: NotifierStarts,
    commit: { readonly subject: Subject; readonly nextRevision: number; readonly group: { readonly epoch: string } },
  ): void {
    const { subject, nextRevision: generation, group } = commit;
    for (const { collection, key, after } of changes) {
      if (collection !== NOTIFIERS) continue;
      const { owner, ...definition } = after?.attributes ?? {};
      this.writes.push({
        ...{ name: key, generation, epoch: group.epoch, start: starts.get(key) },
        ...{ definition: after && JSON.stringify(definition), ownerName: String(owner) },
        ...{ owner: keepOwner(subject), ownerId: subject.id },
      });
    }
  }
}
