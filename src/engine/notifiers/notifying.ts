/** What delivering asks of the rest of the engine and of the world, as one object. */
import type { Telemetry } from '../ports.js';
import type { Replicas } from '../state/replicas.js';
import type { LogReader } from '../watch/log-reader.js';
import type { Watching } from '../watch/watching.js';
import type { NotifierStore } from './notifier-store.js';
import type { Owner } from './owner.js';
import type { Posting } from './posting.js';

export interface Owners {
  /** Why there is nobody any more by whose rights to watch, a sentence; undefined where there is. */
  whyEnded(owner: Owner): Promise<string | undefined>;
}

export interface Notifying {
  readonly store: NotifierStore;
  readonly posting: Posting;
  readonly owners: Owners;
  readonly watching: Pick<Watching, 'looking' | 'checkWatches'>;
  readonly replicas: Replicas;
  readonly log: LogReader;
  readonly telemetry: Telemetry;
  /** The database's clock, in ms since 1970. */
  now(): Promise<number>;
}
