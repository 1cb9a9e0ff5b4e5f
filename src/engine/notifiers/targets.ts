/** The ports to where notifiers deliver: places on the web, implemented in platform/webhooks.ts, and queues of sessions. */
import type { JsonObject } from '../state/json.js';

/** What became of one attempt to deliver. */
export interface Outcome {
  /** The receiver took it: a webhook by a status from 200 to 299, whatever became of the connection afterwards. */
  readonly ok: boolean;
  /** The status that the receiver answered with; absent where it didn't answer. */
  readonly status?: number | undefined;
  /** What went wrong, a sentence without its subject, the receiver. */
  readonly error?: string | undefined;
  /** When the receiver asks to be tried again. */
  readonly retryAfterMs?: number | undefined;
  readonly ms: number;
}

/** A way to one receiver, open for as long as there is something to deliver; its connection is kept meanwhile. */
export interface Channel {
  /** Sends a body by POST. Rejects only when `signal` ends it: then the receiver may have taken it or not. */
  post(headers: Readonly<Record<string, string>>, body: string, signal: AbortSignal): Promise<Outcome>;
  close(): void;
}

export interface Webhooks {
  /** What is wrong with a URL, a sentence without its subject; undefined for one that may be delivered to. */
  faultOf(url: string): string | undefined;
  /** Opens a way there; undefined where there are as many at once, to its host or in all, as this node has. */
  open(url: string): Channel | undefined;
}

/** What is put into the queue of a session. */
export interface QueueEntry {
  /** The session's name. */
  readonly session: string;
  readonly notifier: string;
  /** Whose the notifier is, as its item says. */
  readonly owner: string;
  /** Names the delivery; one that is repeated has the same name. */
  readonly delivery: string;
  /** The CloudEvent. */
  readonly event: JsonObject;
  /** Names what is delivered in one go, by rising revisions; what is delivered again on purpose is of another. */
  readonly series: string;
}

export interface QueueTarget {
  /** Puts the entry into the queue for good, once for each `delivery`, in this life of the pool; rejects with a Problem where it can't be. */
  enqueue(pool: string, epoch: string, entry: QueueEntry): Promise<unknown>;
}
