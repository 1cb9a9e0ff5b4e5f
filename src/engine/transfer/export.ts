/**
 * An export: the items of a pool, or of a part of it, at one revision R, in pages, collection after collection. It holds
 * nothing while its reader is slow: each page is read at whatever revision the pool has by then, and what changed after R
 * is undone on it (watch/snapshot.ts). Where the state at R can no longer be told the pages end with a Problem; whoever
 * sends them must make that visible, so that nobody takes a part for the whole.
 */

import { forbidden } from '../access/access-guard.js';
import { readableThrough } from '../access/entitled-reader.js';
import type { Entitlement } from '../access/entitlement.js';
import type { Entitlements } from '../access/entitlements.js';
import { Problem } from '../errors.js';
import type { Store } from '../ports.js';
import { isSystemName } from '../state/collections.js';
import { WRITABLE_SYSTEM_COLLECTIONS } from '../state/names.js';
import type { Reader } from '../state/reader.js';
import type { Replica } from '../state/replica.js';
import type { Replicas } from '../state/replicas.js';
import { isFree, type Subject } from '../subject.js';
import { LogExpired, LogReader } from '../watch/log-reader.js';
import { sightWithPast } from '../watch/past.js';
import { SnapshotOverrun, type SnapshotPage, snapshot } from '../watch/snapshot.js';
import { View } from '../watch/view.js';
import type { Slots } from './slots.js';

export interface ExportRequest {
  /** Who exports: what they don't see is left out. */
  readonly subject: Subject;
  /** Only this collection, which may be one of the system. */
  readonly collection?: string | undefined;
  readonly prefix?: string | undefined;
  readonly start?: string | undefined;
  readonly end?: string | undefined;
  /** The writable collections of the system too, before all others: what an import needs first. */
  readonly system: boolean;
}

export interface ExportPage {
  readonly collection: string;
  readonly items: SnapshotPage;
}

export interface ExportOpening {
  readonly replica: Replica;
  readonly revision: number;
  readonly pages: AsyncGenerator<ExportPage>;
}

export class Export {
  readonly #log: LogReader;

  constructor(
    private readonly store: Store,
    replicas: Replicas,
    private readonly reader: Reader,
    private readonly entitlements: Entitlements,
    private readonly slots: Slots,
  ) {
    this.#log = new LogReader(store, replicas);
  }

  /** Fixes the revision and what there is at it. Refuses with `notFound` where there is no such pool. */
  async open(pool: string, request: ExportRequest): Promise<ExportOpening> {
    await this.#checkReadable(pool, request);
    const replica = await this.reader.current(pool, request.collection);
    const { revision } = replica;
    // In the same turn as the revision: later the replica may have moved on.
    const all = collectionsOf(replica, request);
    const entitlement = await this.entitlements.entitlement(replica, revision, request.subject);
    if (request.collection !== undefined) readableThrough(entitlement, request.collection);
    else if (!entitlement.mayAnywhere('read')) throw forbidden('You may not read this pool.');
    const names = all.filter((name) => entitlement.lens('read', name).kind !== 'nothing');
    return { replica, revision, pages: this.#pages(replica, revision, names, request, entitlement) };
  }

  /** Before the collection is looked at: some of the system's are brought up to date by that. */
  async #checkReadable(pool: string, { collection, subject }: ExportRequest): Promise<void> {
    if (collection === undefined || isFree(subject)) return;
    const replica = await this.reader.current(pool);
    readableThrough(await this.entitlements.entitlement(replica, replica.revision, subject), collection);
  }

  async *#pages(
    replica: Replica,
    revision: number,
    names: readonly string[],
    { prefix, start, end, subject }: ExportRequest,
    entitlement: Entitlement,
  ): AsyncGenerator<ExportPage> {
    const release = this.slots.take();
    try {
      for (const collection of names) {
        const sight = sightWithPast(this.entitlements, replica, entitlement, subject, 'read', collection);
        const view = new View({ collection, prefix, start, end, values: 'full' }, undefined, sight);
        const isUntouched = (replica.collections.get(collection)?.revision ?? 0) <= revision;
        const undoFrom = isUntouched ? Math.max(revision, replica.revision) : revision;
        for await (const items of snapshot(this.store, this.#log, replica, view, revision, undoFrom))
          if (items.length > 0) yield { collection, items };
      }
    } catch (error) {
      throw explained(error, replica.name, revision);
    } finally {
      release();
    }
  }
}

/** The collections with items, in the order of the export. */
function collectionsOf(replica: Replica, { collection, system }: ExportRequest): string[] {
  if (collection !== undefined) return [collection];
  const holding = [...replica.collections.values()].filter(({ present, items }) => present && items > 0);
  const own = holding.map(({ name }) => name).filter((name) => !isSystemName(name));
  own.sort((a, b) => (a < b ? -1 : 1));
  const ofSystem = WRITABLE_SYSTEM_COLLECTIONS.filter((name) => holding.some((one) => one.name === name));
  return system ? [...ofSystem, ...own] : own;
}

function explained(error: unknown, pool: string, revision: number): unknown {
  if (error instanceof LogExpired && error.reason === 'deleted')
    return new Problem('notFound', `There is no pool ${JSON.stringify(pool)} any more.`);
  if (error instanceof LogExpired || error instanceof SnapshotOverrun) {
    const detail = `The state at revision ${revision} can no longer be told: too much changed while it was read.`;
    return new Problem('unavailable', detail, { headers: { 'retry-after': '1' } });
  }
  return error;
}
