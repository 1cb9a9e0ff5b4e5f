/**
 * The changes of one item inside the retained log, newest first. The log has no index by item, which every write would
 * pay for; instead each change tells the revision of the item's change before it, so that a life of the item is walked
 * back by single looks. Before a life, or where the item isn't there now, the log is examined backwards, and a request
 * examines only so much of it: the page says where to go on.
 */

import { readableThrough } from '../access/entitled-reader.js';
import type { Entitlements } from '../access/entitlements.js';
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import type { Store } from '../ports.js';
import type { Change, ItemRef } from '../state/model.js';
import type { Reader } from '../state/reader.js';
import { commitsOf, type Replica } from '../state/replica.js';
import type { Subject } from '../subject.js';
import { pastSight } from './past.js';
import { seenChange } from './sight.js';
import { startOfRead } from './start.js';

export interface HistoryRequest extends ItemRef {
  /** Who reads: what is told is what they may read now, and might when it happened. */
  readonly subject: Subject;
  readonly limit: number;
  /** Only changes after this cursor. */
  readonly since?: string | undefined;
  /** Where the former page ended: only changes of this revision and earlier ones. */
  readonly upTo?: number | undefined;
}

export interface HistoryEntry {
  readonly revision: number;
  readonly time: number;
  readonly subject: string;
  readonly change: Change;
}

export interface HistoryPage {
  readonly replica: Replica;
  readonly revision: number;
  readonly entries: readonly HistoryEntry[];
  /** Where the next page begins; undefined when the retained log has no more. */
  readonly upTo: number | undefined;
}

export class History {
  constructor(
    private readonly store: Store,
    private readonly reader: Reader,
    private readonly entitlements: Entitlements,
  ) {}

  /** A page of the item's changes. An item that never was has none. */
  async page(
    pool: string,
    { subject, collection, key, limit, since, upTo: begin }: HistoryRequest,
  ): Promise<HistoryPage> {
    const { replica, revision, state } = await this.reader.item(pool, { collection, key });
    const entitlement = await this.entitlements.entitlement(replica, revision, subject);
    readableThrough(entitlement, collection);
    const stored = replica.collections.get(collection);
    const page = { replica, revision };
    const entries: HistoryEntry[] = [];
    let oldest = startOfRead(replica, since) + 1;
    // Whether it is there now is told to who sees it.
    const isSeen = state !== undefined && entitlement.lens('read', collection).see(key, state) !== undefined;
    let upTo = Math.min(begin ?? (isSeen ? state.revision : revision), revision);
    let examined = 0;
    let bytes = 0;
    while (stored && upTo >= oldest) {
      if (entries.length >= limit || bytes > limits.pageBytesMax || examined >= limits.historyRowsExaminedMax)
        return { ...page, entries, upTo };
      const look = await this.store.itemChange({
        poolId: replica.id,
        collectionId: stored.id,
        key,
        upTo,
        rowsMax: limits.historyLookRowsMax,
      });
      if (!look.head) throw new Problem('notFound', `There is no pool ${JSON.stringify(pool)} any more.`);
      oldest = Math.max(oldest, look.head.oldestRevision);
      if (look.row?.revision !== upTo) examined += limits.historyLookRowsMax;
      upTo = look.reached - 1;
      if (!look.row || look.row.revision < oldest) continue;
      const [commit] = commitsOf([look.row], () => collection);
      const [change] = (commit as NonNullable<typeof commit>).changes;
      const { before, after } = await pastSight(
        this.entitlements,
        replica,
        entitlement,
        subject,
        'read',
        look.row.revision,
      );
      const seen = seenChange(after, change as Change, before);
      if (!seen) {
        examined += limits.historyLookRowsMax;
        upTo = look.row.revision - 1;
        continue;
      }
      entries.push({ ...(commit as NonNullable<typeof commit>), change: seen });
      bytes += (look.row.after?.length ?? 0) + look.row.before.length;
      upTo = look.row.formerRevision ?? look.row.revision - 1;
    }
    return { ...page, entries, upTo: undefined };
  }
}
