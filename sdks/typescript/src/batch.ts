/** Operations of a batch, each by a function of its name: `client.batch([ops.put('rooms', 'hall', {…}), ops.increment(…)])`. */
import type { Attributes } from './item.js';
import type { Json } from './json.js';
import type { Where } from './where.js';

/** One operation, as the API has it (docs/API.md#batches). Ops of a newer server may be written by hand. */
export interface BatchOp {
  readonly op: 'put' | 'merge' | 'create' | 'delete' | 'unset' | 'increment' | 'append' | 'remove' | (string & {});
  readonly collection?: string;
  readonly key?: string;
  readonly attributes?: Attributes;
  readonly names?: readonly string[];
  readonly attribute?: string;
  readonly by?: number;
  readonly min?: number;
  readonly max?: number;
  readonly value?: Json;
  readonly if?: Readonly<Record<string, unknown>>;
  readonly [member: string]: unknown;
}

/** What must hold for a batch to be done: of an item its `revision`, that it `exists` or not, or a filter. */
export interface Condition {
  readonly collection: string;
  readonly key: string;
  readonly revision?: number;
  readonly exists?: boolean;
  readonly where?: Where;
}

export const ops = {
  /** Replaces all attributes. */
  put: (collection: string, key: string, attributes: Attributes): BatchOp => ({
    op: 'put',
    collection,
    key,
    attributes,
  }),
  /** What is named is set, null removes. */
  merge: (collection: string, key: string, attributes: Attributes): BatchOp => ({
    op: 'merge',
    collection,
    key,
    attributes,
  }),
  /** `conflict` where there is one; without a key the server makes one. */
  create: (collection: string, attributes: Attributes, key?: string): BatchOp => ({
    op: 'create',
    collection,
    ...(key !== undefined && { key }),
    attributes,
  }),
  delete: (collection: string, key: string): BatchOp => ({ op: 'delete', collection, key }),
  /** Removes attributes. */
  unset: (collection: string, key: string, names: readonly string[]): BatchOp => ({
    op: 'unset',
    collection,
    key,
    names,
  }),
  /** Adds to a number; past a bound it is a `conflict`. */
  increment: (
    collection: string,
    key: string,
    attribute: string,
    by = 1,
    bounds: { readonly min?: number; readonly max?: number } = {},
  ): BatchOp => ({ op: 'increment', collection, key, attribute, by, ...bounds }),
  /** Puts a value at the end of a list. */
  append: (collection: string, key: string, attribute: string, value: Json): BatchOp => ({
    op: 'append',
    collection,
    key,
    attribute,
    value,
  }),
  /** Takes every equal value out of a list. */
  remove: (collection: string, key: string, attribute: string, value: Json): BatchOp => ({
    op: 'remove',
    collection,
    key,
    attribute,
    value,
  }),
} as const;
