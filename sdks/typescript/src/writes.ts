/** Writes of items: as a client, or under a lock, whose proof goes with each. JSON is built and read here, without the generated models, for these are the hot calls. */

import type { BatchOp, Condition } from './batch.js';
import { notUnderstood } from './errors.js';
import type { Attributes, Item } from './item.js';
import { itemOfAnswer } from './item.js';
import { collectionPath, itemPath, poolPath } from './paths.js';
import type { Answer, Pipeline } from './pipeline.js';

export interface CallOptions {
  /** Ends the call with the signal's reason. What was sent may have been applied. */
  readonly signal?: AbortSignal;
}

export interface WriteOptions extends CallOptions {
  /** In place of a new one: the same key applies the same request once within 24 hours. */
  readonly idempotencyKey?: string;
}

export interface ItemWriteOptions extends WriteOptions {
  /** Only if the item has this revision; 0: only if there is none. Otherwise `preconditionFailed`. */
  readonly ifRevision?: number;
}

export interface IncrementOptions extends WriteOptions {
  /** The new value must be no less, or it is a `conflict`. */
  readonly min?: number;
  /** The new value must be no more, or it is a `conflict`. */
  readonly max?: number;
}

export interface BatchOptions extends WriteOptions {
  /** All must hold, or nothing is done: `preconditionFailed`. */
  readonly conditions?: readonly Condition[];
}

export interface BatchResult {
  readonly revision: number;
  readonly cursor: string;
  /** One for each op, in their order. */
  readonly results: readonly OpResult[];
}

export interface OpResult {
  readonly index: number;
  readonly status: number;
  readonly key?: string;
  readonly revision?: number;
  readonly changed?: readonly string[];
  readonly value?: number;
}

/** What a write came to. */
export interface Written {
  /** Undefined after a delete. */
  readonly item: Item | undefined;
  readonly revision: number;
  readonly cursor: string | undefined;
  readonly existed?: boolean;
}

export class Writes {
  readonly #pipeline: Pipeline;
  readonly #pool: string;
  readonly #proof: Readonly<Record<string, string>> | undefined;

  /** @param proof headers that go with each */
  constructor(pipeline: Pipeline, pool: string, proof?: Readonly<Record<string, string>>) {
    this.#pipeline = pipeline;
    this.#pool = pool;
    this.#proof = proof;
  }

  /** Replaces all attributes. Null means absent. */
  async set(collection: string, key: string, attributes: Attributes, options: ItemWriteOptions = {}): Promise<Item> {
    return (await this.write('set', collection, key, attributes, options)).item as Item;
  }

  /** A merge patch (RFC 7396): what is named is set, null removes. Makes the item where there is none. */
  async merge(collection: string, key: string, attributes: Attributes, options: ItemWriteOptions = {}): Promise<Item> {
    return (await this.write('merge', collection, key, attributes, options)).item as Item;
  }

  /** A new item; `conflict` where there is one. Without a key the server makes one that orders by time. */
  async create(collection: string, attributes: Attributes, key?: string, options: WriteOptions = {}): Promise<Item> {
    const { json } = await this.#send('POST', `${collectionPath(this.#pool, collection)}/items`, options, {
      key,
      attributes,
    });
    return itemOfAnswer(json);
  }

  /** @returns whether there was one */
  async delete(collection: string, key: string, options: ItemWriteOptions = {}): Promise<boolean> {
    return (await this.write('delete', collection, key, {}, options)).existed === true;
  }

  /** Adds to a number, atomically; an absent one counts as 0. @returns the new value */
  async increment(
    collection: string,
    key: string,
    attribute: string,
    by = 1,
    options: IncrementOptions = {},
  ): Promise<number> {
    const path = `${itemPath(this.#pool, collection, key)}/increment`;
    const { json } = await this.#send('POST', path, options, {
      attribute,
      by,
      min: options.min,
      max: options.max,
    });
    const { value } = (json ?? {}) as { value?: unknown };
    if (typeof value !== 'number') throw notUnderstood('The value');
    return value;
  }

  /** All or nothing, in one commit. */
  async batch(ops: readonly BatchOp[], options: BatchOptions = {}): Promise<BatchResult> {
    const { json } = await this.#send('POST', `${poolPath(this.#pool)}/batch`, options, {
      ops,
      ...(options.conditions && { if: options.conditions }),
    });
    const result = (json ?? {}) as BatchResult;
    if (typeof result.revision !== 'number' || !Array.isArray(result.results)) throw notUnderstood('The result');
    return result;
  }

  /** `set`, `merge` or `delete`, with all that the answer says. */
  async write(
    op: 'set' | 'merge' | 'delete',
    collection: string,
    key: string,
    attributes: Attributes,
    options: ItemWriteOptions = {},
  ): Promise<Written> {
    const path = itemPath(this.#pool, collection, key);
    const method = op === 'set' ? 'PUT' : op === 'merge' ? 'PATCH' : 'DELETE';
    const { ifRevision } = options;
    const condition: Record<string, string> | undefined =
      ifRevision === undefined
        ? undefined
        : ifRevision === 0
          ? { 'if-none-match': '*' }
          : { 'if-match': `"${ifRevision}"` };
    const { json, header } = await this.#send(
      method,
      path,
      options,
      op === 'delete' ? undefined : { attributes },
      condition,
    );
    const answer = (json ?? {}) as { revision: number; existed?: boolean };
    if (typeof answer.revision !== 'number') throw notUnderstood('The revision');
    return {
      item: op === 'delete' ? undefined : itemOfAnswer(json),
      revision: answer.revision,
      cursor: header('stargus-cursor'),
      ...(answer.existed !== undefined && { existed: answer.existed }),
    };
  }

  #send(
    method: string,
    path: string,
    { idempotencyKey, signal }: WriteOptions,
    body: { readonly [name: string]: unknown } | undefined,
    headers?: Readonly<Record<string, string>>,
  ): Promise<Answer> {
    return this.#pipeline.request({
      method,
      path,
      body,
      headers: headers || this.#proof ? { ...headers, ...this.#proof } : undefined,
      idempotencyKey,
      signal,
    });
  }
}
