/** `rooms/hall`: a collection and a key. What follows the first slash is the key, slashes included. */
import { Fault } from './fault.js';

export interface Place {
  readonly collection: string;
  readonly key: string;
}

export function collectionOf(text: string): string {
  if (text.includes('/'))
    throw new Fault(`${text} is an item; this command wants a collection, such as ${text.split('/', 1)[0]}.`);
  return text;
}

export function placeOf(text: string): Place {
  const slash = text.indexOf('/');
  if (slash <= 0 || slash === text.length - 1)
    throw new Fault(
      `${text} names no item: write <collection>/<key>, such as rooms/hall. \`stargus query ${text.replace(/\/.*$/s, '') || 'rooms'}\` lists a collection.`,
    );
  return { collection: text.slice(0, slash), key: text.slice(slash + 1) };
}

/** A collection, or an item of it. */
export function placeOrCollection(text: string): { readonly collection: string; readonly key?: string } {
  return text.includes('/') ? placeOf(text) : { collection: text };
}
