// How long news takes: from sending a request until somebody else is told what came of it, one after the other, so that nothing
// but the way of the news is in the time.
package main

import (
	"fmt"
	"time"
)

type newsResult struct {
	Told      int64   `json:"told"`
	P50       float64 `json:"p50Ms"`
	P99       float64 `json:"p99Ms"`
	AnswerP50 float64 `json:"answerP50Ms"` // until the request itself was answered
	usage
}

// source causes news again and again. listen is called before send, in a goroutine of its own, and returns when it has come.
type source interface {
	next() (listen, send func() error)
	settle() error // what is to be done before the next time
	close()
}

// settleTime is more than a request takes to be waiting in the server for its answer.
const settleTime = 3 * time.Millisecond

func news(o options) (newsResult, error) {
	from, err := openSource(o)
	if err != nil {
		return newsResult{}, err
	}
	defer from.close()
	var told, answered histogram
	warmUntil := time.Now().Add(o.warm)
	end, start := warmUntil.Add(o.measure), markUsage(o.pids)
	for now := time.Now(); now.Before(end); now = time.Now() {
		tellMs, answerMs, err := timeNews(from)
		if err == nil {
			err = from.settle()
		}
		if err != nil {
			return newsResult{}, err
		}
		if now.After(warmUntil) {
			told.record(tellMs)
			answered.record(answerMs)
		}
	}
	return newsResult{
		Told:      told.total(),
		P50:       told.milliseconds(0.50),
		P99:       told.milliseconds(0.99),
		AnswerP50: answered.milliseconds(0.50),
		usage:     start.until(markUsage(o.pids), o.pids),
	}, nil
}

func openSource(o options) (source, error) {
	switch o.by {
	case "poll", "stream":
		return openQueue(o)
	case "attach":
		return openItem(o)
	}
	return nil, fmt.Errorf("unknown -by %q", o.by)
}

func timeNews(from source) (told, answered time.Duration, err error) {
	listen, send := from.next()
	heard := make(chan error, 1)
	var heardAt time.Time
	go func() {
		err := listen()
		heardAt = time.Now()
		heard <- err
	}()
	time.Sleep(settleTime)
	start := time.Now()
	if err = send(); err != nil {
		return 0, 0, err
	}
	answered = time.Since(start)
	err = <-heard
	if told = heardAt.Sub(start); told < 0 && err == nil {
		err = fmt.Errorf("the news came before its cause")
	}
	return told, answered, err
}

// item is written, and its only watcher told.
type item struct {
	o       options
	conn    *connection
	watcher *listener
	key     []byte
	value   []byte
}

func openItem(o options) (source, error) {
	i := &item{o: o, conn: &connection{address: o.address, until: deadlineOf(o)}, key: keyName(nil, 0), value: newValue(o.valueBytes)}
	var err error
	i.watcher, err = openListener(o.address, o.dialect.watch(nil, string(i.key), ""))
	return i, err
}

func (i *item) next() (listen, send func() error) {
	restamp(i.value, time.Now())
	listen = func() error { return i.watcher.await(string(i.value[:stampBytes])) }
	send = func() error {
		_, err := i.conn.ask(i.o.dialect.put(nil, i.key, i.value))
		return err
	}
	return listen, send
}

func (i *item) settle() error { return nil }

func (i *item) close() {
	i.watcher.close()
	i.conn.close()
}

// queue is one item that a session holds while o.watchers others wait for it. Whoever gave it back waits again, at the end.
type queue struct {
	o       options
	waiters []*waiter // the first holds the item
}

type waiter struct {
	*client
	lock   string
	stream *listener // of its session; nil when it polls
}

func openQueue(o options) (source, error) {
	q := &queue{o: o}
	for len(q.waiters) <= o.watchers {
		w := &waiter{client: newClient(o, deadlineOf(o).Add(longTTL))}
		q.waiters = append(q.waiters, w)
		if err := q.open(w); err != nil {
			q.close()
			return nil, fmt.Errorf("waiter %d: %w", len(q.waiters)-1, err)
		}
	}
	return q, nil
}

func (q *queue) open(w *waiter) (err error) {
	if err = w.begin(longTTL); err != nil {
		return err
	}
	if q.o.by == "stream" {
		if w.stream, err = w.listen(); err != nil {
			return err
		}
	}
	return q.enter(w)
}

func (q *queue) enter(w *waiter) (err error) {
	w.lock, err = w.acquire(q.o.collection, keyName(nil, 0), longTTL)
	return err
}

func (q *queue) next() (listen, send func() error) {
	holder, heir := q.waiters[0], q.waiters[1]
	listen = func() error { return heir.awaitLock(heir.lock) }
	if heir.stream != nil {
		listen = func() error { return heir.stream.await(`"lock":"` + heir.lock + `","type":"granted"`) }
	}
	return listen, func() error { return holder.release(holder.lock) }
}

func (q *queue) settle() error {
	last := q.waiters[0]
	q.waiters = append(q.waiters[1:], last)
	return q.enter(last)
}

// The last first, so that nobody is granted what others are about to give up.
func (q *queue) close() {
	for i := len(q.waiters) - 1; i >= 0; i-- {
		w := q.waiters[i]
		w.end()
		if w.stream != nil {
			w.stream.close()
		}
		w.conn.close()
	}
}
