/** Everything that is kept or waits has a bound, and each stands here with its reason. Times are in milliseconds, sizes in bytes. */

/** For one attempt at a request. The server answers in milliseconds, and holds nothing for longer than 5 s that wasn't asked to wait. */
export const REQUEST_TIMEOUT_MS = 30_000;

/** For how long a request is repeated in all: a restart of a server takes a few seconds. */
export const RETRY_FOR_MS = 10_000;

/** A random wait up to this after the first failure, doubled after each; so those who failed together don't come back together. */
export const RETRY_FIRST_MS = 100;
/** Longer waits would only make the end of an outage be noticed late. */
export const RETRY_MOST_MS = 2_000;

/** The same for streams, which come back for as long as they are wanted. */
export const RECONNECT_FIRST_MS = 250;
export const RECONNECT_MOST_MS = 15_000;
/** A stream that was live for less than this isn't come back to at once twice in a row: somebody cuts it. */
export const LIVE_LONG_ENOUGH_MS = 1_000;

/** Of one event of a stream. The server's have some 256 KiB; a single item has at most 1 MiB. */
export const EVENT_BYTES_MAX = 16 * 1024 * 1024;

/** Of a commit that comes in parts: twice what the server takes as one commit. */
export const COMMIT_BYTES_MAX = 64 * 1024 * 1024;

/** Of an answer: a page of 1,000 items of 64 KiB each. */
export const ANSWER_BYTES_MAX = 64 * 1024 * 1024;

/** Of the text of a refusal, which is for people. */
export const REFUSAL_BYTES_MAX = 1024 * 1024;

/** Without a word of the server: what its heartbeats usually are. */
export const HEARTBEAT_MS = 15_000;
/** So many heartbeats without anything, and the stream is dead: one may be late, two are not by chance. */
export const HEARTBEATS_MISSED = 2.5;

/** Changes that wait for an iterator; beyond, one `reset` takes their place. */
export const CHANGES_WAITING_MAX = 10_000;

/** Commits that wait for the iterator of a feed before the stream is read no further. */
export const COMMITS_WAITING_MAX = 1_000;
/** Of what waits for the iterator of a feed, or of a stream that can't be slowed down, before no more is taken. */
export const WAITING_BYTES_MAX = 64 * 1024 * 1024;

/** JSON of the values that a sparse mirror keeps. */
export const MEMORY_MAX = 16 * 1024 * 1024;

/** Writes of a mirror that are on their way; more wait in their calls. */
export const PENDING_WRITES_MAX = 1_000;

/** How often a cache is written: a crash costs at most this much to be told again. */
export const CACHE_EVERY_MS = 250;
/** Rows that are written in one go, so that nothing else waits long. */
export const CACHE_ROWS_AT_ONCE = 2_000;

/** How long a lock is waited for. */
export const LOCK_WAIT_MS = 30_000;
/** How long locks outlive a client that is gone. */
export const LEASE_MS = 15_000;
/** How long the server holds the question whether a lock was granted, where the stream that would tell it is down. */
export const LOCK_POLL_MS = 5_000;
/** After the end of a wait the server says that it is over; if it hasn't said so by then, nobody waits any longer. */
export const LOCK_LATE_MS = 2_000;
/** The shortest question: asked without end where the end of a wait is late, it must not be asked without a pause. */
export const LOCK_POLL_LEAST_MS = 250;
/** Between attempts at giving back what couldn't be given back. */
export const LOCK_RETRY_MS = 1_000;
/** News of locks whose request isn't answered yet. */
export const LOCK_NEWS_MAX = 256;

/** A token is renewed when this part of its life is over. */
export const TOKEN_RENEWED_AT = 0.9;

/** How long a closing client waits for the server to hear that its session ended; it ends by itself otherwise. */
export const FAREWELL_MS = 2_000;

/** How far the time of a webhook may be from now. */
export const WEBHOOK_TOLERANCE_MS = 5 * 60_000;

/** Items of a page of a query. */
export const PAGE_ITEMS = 200;

/** Connections for requests to one server; more requests than that wait. */
export const CONNECTIONS_MAX = 64;

/** How long servers are looked for on the local network. */
export const DISCOVER_MS = 2_000;
