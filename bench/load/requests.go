// The closed loop: each connection sends its next request when it has the answer to the last.
package main

import (
	"fmt"
	"math/rand"
	"sync"
	"sync/atomic"
	"time"
)

type requestsResult struct {
	Rate     float64 `json:"rate"`
	Requests int64   `json:"requests"`
	Answered int64   `json:"answered"` // before the measurement as well
	Errors   int64   `json:"errors"`
	Problem  string  `json:"problem,omitempty"` // the first error
	P50      float64 `json:"p50Ms"`
	P99      float64 `json:"p99Ms"`
	usage
}

// writers are connections that send until stopped. Only what is answered while measuring is on counts in latencies.
type writers struct {
	o         options
	stop      atomic.Bool
	measuring atomic.Bool
	answered  atomic.Int64 // 2xx answers, warm-up included
	errors    atomic.Int64
	problem   atomic.Pointer[string]
	latencies histogram
	group     sync.WaitGroup
}

func startWriters(o options) *writers {
	w := &writers{o: o}
	for i := 0; i < o.connections; i++ {
		w.group.Add(1)
		switch o.operation {
		case "lock":
			key := keyName(nil, i)
			go w.runSession(func(c *client) error { return c.cycle(o.collection, key) })
		case "renew":
			go w.runSession((*client).renew)
		case "login":
			go w.runLogin((*account).login)
		case "refresh":
			go w.runLogin((*account).refresh)
		default:
			go w.run(int64(i))
		}
	}
	return w
}

func (w *writers) finish() {
	w.stop.Store(true)
	w.group.Wait()
}

func (w *writers) run(seed int64) {
	defer w.group.Done()
	random := rand.New(rand.NewSource(seed + time.Now().UnixNano()))
	conn := &connection{address: w.o.address, until: deadlineOf(w.o)}
	defer conn.close()
	latencies := &histogram{}
	defer func() { w.latencies.add(latencies) }()
	value := newValue(w.o.valueBytes)
	authorization := bearerHeader(w.o.bearer)
	var key, request []byte
	for !w.stop.Load() {
		n := random.Intn(w.o.keys)
		key = keyName(key, n)
		start := time.Now()
		switch w.o.operation {
		case "get":
			request = w.o.dialect.get(request[:0], key)
		case "custom":
			restamp(value, start)
			request = w.o.custom.request(request[:0], filling{n, key, value, random})
		default:
			restamp(value, start)
			request = w.o.dialect.put(request[:0], key, value)
		}
		request = withHeader(request, authorization)
		if w.send(conn, request) && w.measuring.Load() {
			latencies.record(time.Since(start))
		}
	}
}

// runSession does something of a session's, each time on its own, until stopped.
func (w *writers) runSession(do func(c *client) error) {
	defer w.group.Done()
	c := newClient(w.o, deadlineOf(w.o))
	defer c.conn.close()
	if err := c.begin(longTTL); err != nil {
		w.fail(err)
		return
	}
	defer c.end()
	w.repeat(func() error { return do(c) })
}

// repeat does something again and again until stopped.
func (w *writers) repeat(do func() error) {
	latencies := &histogram{}
	defer func() { w.latencies.add(latencies) }()
	for !w.stop.Load() {
		start := time.Now()
		if err := do(); err != nil {
			w.fail(err)
			continue
		}
		w.answered.Add(1)
		if w.measuring.Load() {
			latencies.record(time.Since(start))
		}
	}
}

// send counts the answer; after an error it pauses, so that a dead server doesn't cost a core.
func (w *writers) send(conn *connection, request []byte) bool {
	status, err := conn.exchange(request)
	if err == nil && status >= 200 && status < 300 {
		w.answered.Add(1)
		return true
	}
	if err == nil {
		err = fmt.Errorf("status %d", status)
	}
	w.fail(err)
	return false
}

func (w *writers) fail(err error) {
	problem := err.Error()
	w.errors.Add(1)
	w.problem.CompareAndSwap(nil, &problem)
	time.Sleep(time.Millisecond)
}

func (w *writers) firstProblem() string {
	if problem := w.problem.Load(); problem != nil {
		return *problem
	}
	return ""
}

func deadlineOf(o options) time.Time { return time.Now().Add(o.warm + o.measure + 20*time.Second) }

func requests(o options) (requestsResult, error) {
	w := startWriters(o)
	time.Sleep(o.warm)
	before, start := w.answered.Load(), markUsage(o.pids)
	w.measuring.Store(true)
	time.Sleep(o.measure)
	w.measuring.Store(false)
	count, end := w.answered.Load()-before, markUsage(o.pids)
	w.finish()
	return requestsResult{
		Rate:     float64(count) / end.at.Sub(start.at).Seconds(),
		Requests: count,
		Answered: w.answered.Load(),
		Errors:   w.errors.Load(),
		Problem:  w.firstProblem(),
		P50:      w.latencies.milliseconds(0.50),
		P99:      w.latencies.milliseconds(0.99),
		usage:    start.until(end, o.pids),
	}, nil
}
