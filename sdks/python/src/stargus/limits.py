"""What is kept or waits has a bound, and each bound its reason beside it. Times are seconds, sizes bytes."""

MIB = 1024 * 1024

#: One event of a stream. The server cuts snapshots and commits into parts of 256 KiB, but one item may have 1 MiB, and newer servers may send more.
EVENT_BYTES_MAX = 16 * MIB

#: A commit that comes in parts, all of which are held until the last one is there. The server's own bound on a commit is 32 MiB.
COMMIT_BYTES_MAX = 64 * MIB

#: An answer to a request. The largest that the server gives, a page of a query, has 8 MiB.
ANSWER_BYTES_MAX = 64 * MIB

#: Changes that wait for an iterator. Who is further behind looks at the whole mirror rather than at each of them.
CHANGES_WAITING_MAX = 10_000

#: JSON of the values that a sparse mirror keeps. It is for those who look at few items of many.
SPARSE_BYTES_MAX = 16 * MIB

#: A value is read again when its item changed meanwhile. One that changes faster than it can be read so often is as well told as that.
FETCHES_MAX = 20

#: Writes that wait in a mirror. Each is laid over the state whenever it is shown, and each is somebody's call that hasn't returned.
WRITES_WAITING_MAX = 1_000

#: For one attempt at a request. Writes that wait for others are answered within a few seconds by a healthy server.
REQUEST_TIMEOUT = 30.0

#: In all, a request is repeated for so long: a restart of the server takes less.
RETRY_FOR = 10.0

#: The random waits between attempts grow up to this, so that a server that comes back is found soon.
RETRY_WAIT_MAX = 2.0
RETRY_WAIT_FIRST = 0.1

#: The random waits between attempts at a stream grow up to this: many streams come back to one server.
STREAM_WAIT_MAX = 15.0
STREAM_WAIT_FIRST = 0.25

#: What a server says to wait, or how often it lets hear of itself: a longer time is a mistake, and no clock of threads takes any.
TOLD_TIME_MAX = 86_400.0

#: A stream from which nothing came for so many heartbeats is dead: two may be late, or one lost.
HEARTBEATS_MISSED = 2.5

#: Until `hello` has told how often a stream beats: what the API promises.
HEARTBEAT = 15.0

#: A wait for a lock, and the lease of the session that holds locks.
LOCK_WAIT = 30.0
LOCK_LEASE = 15.0

#: The server takes waits of at most ten minutes.
LOCK_WAIT_MAX = 600.0

#: The server is asked again so long after a wait for a lock should have ended without a word of it.
LOCK_WORD_LATE = 2.0

#: Where the session's stream is down a lock is asked for, and the answer held for so long: shorter than any timeout between here and there.
LOCK_POLL = 5.0

#: News of locks whose request isn't answered yet: as many as could be asked for at once.
LOCK_NEWS_MAX = 1_000

#: A lock that couldn't be given back is tried again so often, for the session that has it lives on.
LOCK_RETURN_EVERY = 1.0

#: Commits of one page, where the feed is read page by page: the most that the server gives.
FEED_PAGE_MAX = 1_000

#: The stream of the session stays open for so long after the last lock was given back, so that locks in a row share one.
LOCK_STREAM_LINGER = 1.0

#: A session is ended when its client is closed; a server that doesn't answer in this time ends it when its lease is over.
FAREWELL_TIMEOUT = 3.0

#: A cache is written some four times a second: often enough to be told little again, seldom enough to cost little.
CACHE_WRITE_EVERY = 0.25

#: A token is renewed when this part of its life is over.
TOKEN_LIFE_USED = 0.9

#: A webhook's signature may be so much older or newer than now (Standard Webhooks).
WEBHOOK_AGE_MAX = 300.0

#: Connections that one client keeps for its requests; those beyond wait for one. Streams have their own.
CONNECTIONS_MAX = 64

#: What an envelope may ask of this machine, and what it must ask at least, so that no server can get a proof that is cheap to guess by.
KDF_MEMORY_KIB = 65_536
KDF_MEMORY_KIB_MAX = 262_144
KDF_PASSES = 3
KDF_PASSES_MAX = 10
KDF_PARALLELISM = 1
KDF_PARALLELISM_MAX = 4
ENVELOPE_BYTES_MAX = 16_384
