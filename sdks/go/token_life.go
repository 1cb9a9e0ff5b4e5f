package stargus

import (
	"net/http"
	"time"
)

// For how long a token is good, and what time it is at the server. Times are those of time.Now, whose differences come from a
// clock that nobody sets; the wall clock of this machine is never asked.

// renewAtTenths of its time a token is renewed.
const renewAtTenths = 9

type tokenLife struct {
	dueAt, endsAt time.Time
}

// lifeOf counts from when the token was asked for, so that it ends here no later than there.
func lifeOf(asked time.Time, expiresIn time.Duration) tokenLife {
	return tokenLife{dueAt: asked.Add(expiresIn / 10 * renewAtTenths), endsAt: asked.Add(expiresIn)}
}

func (t tokenLife) isDue(now time.Time) bool  { return !now.Before(t.dueAt) }
func (t tokenLife) isGood(now time.Time) bool { return now.Before(t.endsAt) }

// serverClock is the server's time as its last answer told it.
type serverClock struct {
	told time.Time
	at   time.Time
}

func (c *serverClock) set(header http.Header) {
	if told, err := http.ParseTime(header.Get("Date")); err == nil {
		c.told, c.at = told, time.Now()
	}
}

// now is the wall clock's only where no server ever said a time.
func (c *serverClock) now() time.Time {
	if c.at.IsZero() {
		return time.Now()
	}
	return c.told.Add(time.Since(c.at))
}
