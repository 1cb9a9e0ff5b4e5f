// Holds sessions open until stdin ends, each with one view attached and its stream: says how long each step took when all are
// live, and at the end how many streams were cut.
package main

import (
	"io"
	"os"
	"sync/atomic"
	"time"
)

type heldSessions struct {
	Held          int     `json:"held"`
	BeginSeconds  float64 `json:"beginSeconds"`
	AttachSeconds float64 `json:"attachSeconds"`
	StreamSeconds float64 `json:"streamSeconds"`
}

const usualTTL = 30 * time.Second

func holdSessions(o options) (holdResult, error) {
	sessions := make([]string, o.watchers)
	streams := make([]*listener, o.watchers)
	steps := []step{
		func(c *client, n int) error {
			err := c.begin(usualTTL)
			sessions[n] = c.session
			return err
		},
		func(c *client, n int) error {
			c.session = sessions[n]
			return c.attach("v", o.collection)
		},
		func(c *client, n int) (err error) {
			c.session = sessions[n]
			streams[n], err = c.listen()
			return err
		},
	}
	var seconds [3]float64
	for i, step := range steps {
		start := time.Now()
		if err := forAllSessions(o, step); err != nil {
			return holdResult{}, err
		}
		seconds[i] = time.Since(start).Seconds()
	}
	var closed atomic.Int64
	for _, stream := range streams {
		go func(l *listener) {
			l.socket.SetReadDeadline(time.Time{})
			io.Copy(io.Discard, l.reader)
			closed.Add(1)
		}(stream)
	}
	printJSON(heldSessions{o.watchers, seconds[0], seconds[1], seconds[2]})
	awaitEnd(os.Stdin, o.measure)
	cut := closed.Load()
	return holdResult{Closed: cut}, forAllSessions(o, func(c *client, n int) error {
		c.session = sessions[n]
		return c.end()
	})
}

// step is done for each session, over a connection that others share.
type step func(c *client, n int) error

func forAllSessions(o options, do step) error {
	return inParallel(openers, o.watchers, func() (work func(n int) error, done func()) {
		c := newClient(o, time.Now().Add(o.measure))
		return func(n int) error { return do(c, n) }, c.conn.close
	})
}
