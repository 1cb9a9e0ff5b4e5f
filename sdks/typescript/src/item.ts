/** Items as they are given out: frozen, so they may be kept and compared. */
import { notUnderstood } from './errors.js';
import { frozen, isJsonObject, type JsonObject } from './json.js';

/** What a sparse mirror knows of an item. */
export interface Entry {
  readonly key: string;
  /** The commit that altered it last. */
  readonly revision: number;
}

/** An item: its key, its revision, and named JSON values. */
export interface Item extends Entry {
  readonly attributes: Attributes;
}

/** Named JSON values. */
// biome-ignore lint/suspicious/noExplicitAny: JSON of whoever wrote it; they know its shape
export type Attributes = Readonly<Record<string, any>>;

export function itemOf(key: string, revision: number, attributes: JsonObject): Item {
  return Object.freeze({ key, revision, attributes: frozen(attributes) });
}

export function entryOf(key: string, revision: number): Entry {
  return Object.freeze({ key, revision });
}

/** An answer of the server as an item. @throws StargusError `protocolError` */
export function itemOfAnswer(json: unknown): Item {
  const { key, revision, attributes = {} } = isJsonObject(json) ? json : {};
  if (typeof key !== 'string' || typeof revision !== 'number' || !isJsonObject(attributes))
    throw notUnderstood('The item');
  return itemOf(key, revision, attributes);
}
