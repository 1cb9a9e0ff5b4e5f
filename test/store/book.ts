/**
 * A store on an empty database, and a pool in it that is written commit by commit, for tests of the store's contract. It
 * writes what the engine would write, without the engine: the store keeps records and judges nothing.
 */
import type { ItemPlace, LogRow, PoolHead, Store, StoredItem, StoreTransaction } from '../../src/engine/ports.js';
import type { Collection } from '../../src/engine/state/model.js';
import { openDatabase } from '../../src/store/data-source.js';
import { SqlStore } from '../../src/store/store.js';
import { createDatabase, type DatabaseName } from '../support/server.js';

export interface OpenStore {
  readonly store: Store;
  readonly url: string;
}

/** A store on a new database, or as one more node on an existing one. The caller closes it. */
export async function openStore(database: DatabaseName, existing?: string): Promise<OpenStore> {
  const url = existing ?? (await createDatabase(database));
  return { store: new SqlStore(await openDatabase({ url, migrate: true })), url };
}

/** What one commit does: sets the JSON text of an item, or deletes it (null). */
export type Writes = readonly (readonly [key: string, json: string | null])[];

export interface CommitMore {
  readonly time?: number;
  readonly before?: string;
  readonly changed?: string;
  readonly trace?: string;
}

/** One pool with one collection, `things`. */
export class Book {
  private constructor(
    private readonly store: Store,
    readonly name: string,
    readonly id: number,
    readonly collectionId: number,
  ) {}

  /** The log's rows as they were written. */
  readonly log: LogRow[] = [];
  revision = 0;
  #items = 0;

  static async open(store: Store, name: string): Promise<Book> {
    const { id, collectionId } = await store.transact(async (tx) => {
      const head = await tx.createPool(name, `epoch-${name}`);
      return { id: head.id, collectionId: await tx.createCollection(head.id, 'things') };
    });
    return new Book(store, name, id, collectionId);
  }

  place(key: string): ItemPlace {
    return { collectionId: this.collectionId, key };
  }

  /** One transaction with one commit of these writes. */
  async commit(writes: Writes, more: CommitMore = {}): Promise<number> {
    await this.store.transact((tx) => this.append(tx, writes, more));
    return this.revision;
  }

  async append(
    tx: StoreTransaction,
    writes: Writes,
    { time = 1, before = '{}', changed = '[]', trace }: CommitMore = {},
  ): Promise<void> {
    const revision = this.revision + 1;
    const { collectionId } = this;
    const log = writes.map(
      ([key, json], ordinal): LogRow => ({
        revision,
        ordinal,
        collectionId,
        key,
        op: json === null ? 'delete' : 'add',
        changed,
        before,
        after: json,
        createdRevision: revision,
        formerRevision: json === null ? revision - 1 : null,
        formerCreatedRevision: json === null ? revision - 1 : null,
        subject: 'somebody',
        time,
        reason: null,
        trace: ordinal === 0 ? trace : undefined,
      }),
    );
    const upserts = writes.flatMap(([key, json]): StoredItem[] =>
      json === null ? [] : [{ collectionId, key, json, revision, createdRevision: revision }],
    );
    const deletions = writes.filter(([, json]) => json === null).map(([key]) => this.place(key));
    const items = this.#items + upserts.length - deletions.length;
    const collections: Collection[] = [{ id: collectionId, name: 'things', present: true, items, revision }];
    await tx.append({
      poolId: this.id,
      revision,
      time,
      log,
      upserts,
      deletions,
      collections,
      indexed: [],
      unindexed: [],
    });
    this.revision = revision;
    this.#items = items;
    this.log.push(...log);
  }

  async head(): Promise<PoolHead | undefined> {
    return this.store.poolById(this.id);
  }
}

/** Waits until the condition holds. Fails after ten seconds: long for a database, short for a person. */
export async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error('What was waited for did not come within 10 s.');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
