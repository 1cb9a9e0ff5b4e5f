/**
 * The cache in IndexedDB: the same content and checksum as the file's (docs/CLIENTS.md#the-cache), in two object stores, `about` and `item`. A Web Lock
 * keeps other tabs off for as long as it is open.
 */
import { CACHE_ROWS_AT_ONCE } from '../bounds.js';
import {
  type CacheCommit,
  type CacheContent,
  type CacheRow,
  type CacheStore,
  Checksum,
  FORMAT_VERSION,
  isSameView,
  rowOf,
  type Sha256,
  verified,
} from '../cache.js';
import { StargusError } from '../errors.js';

const PREFIX = 'stargus-cache:';

/** @throws StargusError `cacheInUse`, `cacheFailed` */
export async function openIndexedDbCache(name: string, view: readonly string[]): Promise<CacheStore> {
  const release = await lockOut(name);
  try {
    const sha256 = await loadSha256();
    return new IndexedDbCache(await open(PREFIX + name), view, sha256, release);
  } catch (error) {
    release();
    throw failed(error);
  }
}

/** @returns to let it go */
function lockOut(name: string): Promise<() => void> {
  return new Promise((resolve, reject) => {
    if (!navigator.locks) {
      reject(
        new StargusError(
          'cacheFailed',
          'A cache needs Web Locks, which pages have that came by https or from this machine.',
        ),
      );
      return;
    }
    navigator.locks
      .request(PREFIX + name, { ifAvailable: true }, (lock) => {
        if (!lock) {
          reject(new StargusError('cacheInUse', `Another tab or mirror has the cache ${name}. Give each its own.`));
          return undefined;
        }
        return new Promise<void>((release) => resolve(release));
      })
      .catch((error: unknown) => reject(failed(error)));
  });
}

/** WebCrypto's answers later, one digest at a time: too slow for a hundred thousand of them. */
async function loadSha256(): Promise<Sha256> {
  const { createSHA256 } = await import('hash-wasm');
  const hasher = await createSHA256();
  return (text) => hasher.init().update(text).digest('binary');
}

/** What is of another format, or damaged beyond opening, is thrown away: it is a copy. */
async function open(name: string): Promise<IDBDatabase> {
  try {
    const database = await openAsItIs(name);
    if (['about', 'item'].every((store) => database.objectStoreNames.contains(store))) return database;
    database.close();
  } catch {
    // Made anew below, unless that fails as well.
  }
  const removing = indexedDB.deleteDatabase(name);
  await Promise.race([
    settled(removing),
    new Promise((_, reject) => {
      removing.onblocked = () =>
        reject(new StargusError('cacheInUse', `Another program of this page has the database ${name} open.`));
    }),
  ]);
  return openAsItIs(name);
}

function openAsItIs(name: string): Promise<IDBDatabase> {
  const request = indexedDB.open(name, FORMAT_VERSION);
  request.onupgradeneeded = () => {
    const database = request.result;
    for (const store of [...database.objectStoreNames]) database.deleteObjectStore(store);
    database.createObjectStore('about');
    database.createObjectStore('item');
  };
  return settled(request);
}

class IndexedDbCache implements CacheStore {
  readonly #database: IDBDatabase;
  readonly #view: readonly string[];
  readonly #sha256: Sha256;
  readonly #release: () => void;
  #sum: Checksum;

  constructor(database: IDBDatabase, view: readonly string[], sha256: Sha256, release: () => void) {
    this.#database = database;
    this.#view = view;
    this.#sha256 = sha256;
    this.#release = release;
    this.#sum = new Checksum(sha256);
  }

  async load(): Promise<CacheContent | undefined> {
    try {
      const transaction = this.#database.transaction(['about', 'item'], 'readwrite');
      const done = completed(transaction);
      const about = transaction.objectStore('about');
      const [view, cursor, checksum] = await Promise.all(
        ['view', 'cursor', 'checksum'].map((name) => settled<string | undefined>(about.get(name))),
      );
      const item = transaction.objectStore('item');
      if (view !== undefined && isSameView(view, this.#view)) {
        const [keys, values] = await Promise.all([settled(item.getAllKeys()), settled(item.getAll())]);
        const rows = keys.map(
          (key, index): CacheRow => ({ key: String(key), ...(values[index] as Omit<CacheRow, 'key'>) }),
        );
        const sum = verified(this.#sha256, rows, cursor, checksum);
        if (sum && cursor !== undefined) {
          await done;
          this.#sum = sum;
          return { cursor, rows };
        }
      }
      about.clear();
      item.clear();
      await done;
      this.#sum = new Checksum(this.#sha256);
      return undefined;
    } catch (error) {
      throw failed(error);
    }
  }

  async commit({ cursor, count, isAll, puts, deletes }: CacheCommit): Promise<void> {
    try {
      const transaction = this.#database.transaction(['about', 'item'], 'readwrite', { durability: 'relaxed' });
      const done = completed(transaction);
      const sum = isAll ? new Checksum(this.#sha256) : this.#sum.copy();
      const item = transaction.objectStore('item');
      if (isAll) item.clear();
      else {
        const keys = [...puts.map(({ key }) => key), ...deletes];
        const old = await Promise.all(keys.map((key) => settled<Omit<CacheRow, 'key'> | undefined>(item.get(key))));
        old.forEach((row, index) => {
          if (row) sum.toggle({ key: keys[index] as string, ...row });
        });
      }
      let put = 0;
      for (const entry of puts) {
        const { key, ...row } = rowOf(entry);
        sum.toggle({ key, ...row });
        const request = item.put(row, key);
        // The page has its turn; the transaction goes on with the request's success.
        if (++put % CACHE_ROWS_AT_ONCE === 0) await settled(request);
      }
      for (const key of deletes) item.delete(key);
      const about = transaction.objectStore('about');
      about.put(JSON.stringify(this.#view), 'view');
      about.put(cursor, 'cursor');
      about.put(sum.with(cursor, count), 'checksum');
      await done;
      this.#sum = sum;
    } catch (error) {
      throw failed(error);
    }
  }

  async close(): Promise<void> {
    this.#database.close();
    this.#release();
  }
}

function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function completed(transaction: IDBTransaction): Promise<void> {
  const done = new Promise<void>((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
    transaction.onerror = () => reject(transaction.error);
  });
  // Told where it is waited for.
  done.catch(() => {});
  return done;
}

function failed(error: unknown): StargusError {
  if (error instanceof StargusError) return error;
  const why = error instanceof Error ? error.message : String(error);
  return new StargusError('cacheFailed', `The cache can't be opened or written: ${why}`, { cause: error });
}
