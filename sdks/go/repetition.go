package stargus

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// What is repeated, and when. Pure: the time that is left and the random number are arguments.

// waitBefore answers how long to wait before attempt number n+1, after n attempts failed; false: give up. retryAfter is
// negative where the server named no time.
func waitBefore(n int, retryAfter, left time.Duration, random float64) (time.Duration, bool) {
	wait := retryAfter
	if wait < 0 {
		wait = randomWait(n, repeatFirst, repeatMax, random)
	}
	return wait, wait < left
}

// randomWait is up to first, twice first, four times first … most. That callers which failed together don't come back together
// is what the whole range from zero on is for.
func randomWait(n int, first, most time.Duration, random float64) time.Duration {
	bound := most
	if n-1 < 16 {
		bound = min(most, first<<max(0, n-1))
	}
	return time.Duration(random * float64(bound))
}

// retryAfterOf reads Retry-After: seconds, or a date, which is compared with the answer's own, so that no clock of ours matters.
func retryAfterOf(header http.Header) time.Duration {
	text := header.Get("Retry-After")
	if text == "" {
		return -1
	}
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && seconds >= 0 && seconds < 1e9 {
		return time.Duration(seconds * float64(time.Second))
	}
	until, err := http.ParseTime(text)
	if err != nil {
		return -1
	}
	now, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return -1
	}
	return max(0, until.Sub(now))
}

func chance() float64 { return rand.Float64() }
