// Writes every key once, so that what follows reads and replaces what exists.
package main

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

type seedResult struct {
	Keys    int     `json:"keys"`
	Seconds float64 `json:"seconds"`
}

func seed(o options) (seedResult, error) {
	start := time.Now()
	w := &writers{o: o}
	var next atomic.Int64
	var group sync.WaitGroup
	for i := 0; i < o.connections; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			conn := &connection{address: o.address, until: time.Now().Add(2 * time.Minute)}
			defer conn.close()
			value := newValue(o.valueBytes)
			for n := int(next.Add(1)) - 1; n < o.keys; n = int(next.Add(1)) - 1 {
				restamp(value, time.Now())
				w.send(conn, o.dialect.create(nil, keyName(nil, n), value))
			}
		}()
	}
	group.Wait()
	if errors := w.errors.Load(); errors > 0 {
		return seedResult{}, fmt.Errorf("%d of %d keys not written: %s", errors, o.keys, w.firstProblem())
	}
	return seedResult{Keys: o.keys, Seconds: time.Since(start).Seconds()}, nil
}
