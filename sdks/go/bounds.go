package stargus

import "time"

// Everything that is kept or waits has a bound. These are they, each with its reason.
const (
	// defaultRequestTimeout is for one attempt: the server itself holds nothing back for longer than a few seconds, and a
	// connection that is silent for so long is dead.
	defaultRequestTimeout = 30 * time.Second
	// defaultRetryFor bridges the restart of a server, and is about as long as somebody waits before a screen.
	defaultRetryFor = 10 * time.Second
	// defaultEventBytesMax is far above what a server sends in one event (parts of 256 KiB, and one item of 1 MiB), and small
	// enough for a program with a few mirrors.
	defaultEventBytesMax = 16 << 20
	// commitBytesMax holds what the server takes in one commit (32 MiB of items), with the former values beside.
	commitBytesMax = 64 << 20
	// answerBytesMax is above the largest page (8 MiB) and the answer of the largest batch.
	answerBytesMax = 64 << 20
	// problemBytesMax is of what is no problem by its type, and read only to be able to use the connection again.
	problemBytesMax = 1 << 20
	// changesWaitingMax is of changes that wait for an iterator or a callback: some seconds of a busy collection.
	changesWaitingMax = 10_000
	// defaultMemoryMax is of the values that a sparse mirror keeps, as JSON.
	defaultMemoryMax = 16 << 20
	// pendingWritesMax is of writes that a mirror shows before they are applied. More wait in their calls.
	pendingWritesMax = 1_000

	// repeatFirst and repeatMax bound the random wait before a request is repeated.
	repeatFirst = 100 * time.Millisecond
	repeatMax   = 2 * time.Second
	// comeBackFirst and comeBackMax bound the random wait before a stream comes back.
	comeBackFirst = 250 * time.Millisecond
	comeBackMax   = 15 * time.Second
	// silenceFactor of heartbeats without anything make a stream dead.
	silenceFactor = 2.5
	// defaultHeartbeat is what a server has, until its hello tells.
	defaultHeartbeat = 15 * time.Second
	// heartbeatMsMax is an hour: a longer one is no measure of whether a connection lives.
	heartbeatMsMax = 3_600_000

	// defaultLockWait and defaultLease are what a lock has when nothing else is said.
	defaultLockWait = 30 * time.Second
	defaultLease    = 15 * time.Second
	// lockPollMax is how long one question for a waiting lock is held by the server while there is no stream.
	lockPollMax = 10 * time.Second

	// cacheEvery is how often a mirror's cache is written while there is something to write.
	cacheEvery = 250 * time.Millisecond

	// connectionsKept is of idle connections to the server: callers at once that need not connect anew each time.
	connectionsKept = 256
	// pageLimitMax is the most that the server gives in one page.
	pageLimitMax = 1_000
	// goodbyeTimeout is for what is said to the server on closing: it hears of it anyhow once the lease is over.
	goodbyeTimeout = 2 * time.Second
)
