// Holds idle watchers open until stdin ends: says {"held":n} when they are all listening, and at the end what they received.
package main

import (
	"io"
	"os"
	"time"
)

type held struct {
	Held int `json:"held"`
}

type holdResult struct {
	Deliveries int64 `json:"deliveries"`
	Closed     int64 `json:"closed"`
}

func hold(o options) (holdResult, error) {
	streams, err := openWatchers(o)
	if err != nil {
		return holdResult{}, err
	}
	defer streams.close()
	printJSON(held{o.watchers})
	awaitEnd(os.Stdin, o.measure)
	return holdResult{Deliveries: streams.deliveries.Load(), Closed: streams.closed.Load()}, nil
}

// awaitEnd returns when the input ends, or after the time given.
func awaitEnd(input io.Reader, longest time.Duration) {
	ended := make(chan struct{})
	go func() {
		io.Copy(io.Discard, input)
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(longest):
	}
}
