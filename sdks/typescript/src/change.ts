/** One item's difference, as a mirror tells it. */
import type { Entry, Item } from './item.js';

export interface Change<T extends Entry = Item> {
  /** `reset`: too much came at once to be told one by one; look at the whole mirror. */
  readonly op: 'add' | 'change' | 'delete' | 'reset';
  /** Of a `reset` the empty text. */
  readonly key: string;
  /** The attributes that are different now. */
  readonly changed: readonly string[];
  /** Those of them that are gone. */
  readonly removed: readonly string[];
  /** What the mirror shows now. */
  readonly item?: T;
  /** What it showed before. */
  readonly previous?: T;
  /** `entered`, `left`, `expired`, `denied` of the server; `refused`: a write of one's own was taken back. A newer server may say others. */
  readonly reason?: string;
  /** Of the mirror, once it shows this. */
  readonly revision: number;
}

export function resetChange(revision: number): Change<never> {
  return Object.freeze({ op: 'reset', key: '', changed: Object.freeze([]), removed: Object.freeze([]), revision });
}
