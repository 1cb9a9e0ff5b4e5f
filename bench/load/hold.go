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
	ended := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(o.measure):
	}
	return holdResult{Deliveries: streams.deliveries.Load(), Closed: streams.closed.Load()}, nil
}
