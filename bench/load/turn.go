// A custom request that turns what many watchers see, such as a change of policy: how long until each of them is told.
package main

import (
	"fmt"
	"math/rand"
	"sync"
	"time"
)

type turnResult struct {
	Told     int     `json:"told"`
	AnswerMs float64 `json:"answerMs"` // until the request itself was answered
	FirstMs  float64 `json:"firstMs"`
	P50      float64 `json:"p50Ms"`
	LastMs   float64 `json:"lastMs"`
	usage
}

// turnTime is more than any turn may take.
const turnTime = 4 * time.Minute

func turn(o options) (turnResult, error) {
	streams := make([]*listener, o.watchers)
	defer func() {
		for _, stream := range streams {
			if stream != nil {
				stream.close()
			}
		}
	}()
	open := func(n int) (err error) {
		if streams[n], err = openListener(o.address, o.watchRequest(n, "", "")); err == nil {
			err = streams[n].await("data: ") // the rest of what says that it is live
		}
		return err
	}
	if err := inParallel(openers, o.watchers, func() (func(int) error, func()) { return open, func() {} }); err != nil {
		return turnResult{}, fmt.Errorf("watcher %w", err)
	}
	time.Sleep(o.warm)

	told := make([]time.Duration, o.watchers)
	failures := make(chan error, o.watchers)
	begin, start := markUsage(o.pids), time.Now()
	var group sync.WaitGroup
	for n, stream := range streams {
		group.Add(1)
		go func(n int, stream *listener) {
			defer group.Done()
			// Nothing else happens: the next id is of the commit that turns what is seen.
			if err := stream.awaitWithin("id: ", turnTime); err != nil {
				failures <- fmt.Errorf("watcher %d: %w", n, err)
			}
			told[n] = time.Since(start)
		}(n, stream)
	}
	conn := &connection{address: o.address, until: time.Now().Add(turnTime)}
	defer conn.close()
	random := rand.New(rand.NewSource(start.UnixNano()))
	request := o.custom.request(nil, filling{random: random})
	if _, err := conn.ask(withHeader(request, bearerHeader(o.bearer))); err != nil {
		return turnResult{}, err
	}
	answered := time.Since(start)
	group.Wait()
	end := markUsage(o.pids)
	select {
	case err := <-failures:
		return turnResult{}, err
	default:
	}
	var all histogram
	first, last := told[0], told[0]
	for _, time := range told {
		all.record(time)
		first, last = min(first, time), max(last, time)
	}
	ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
	return turnResult{o.watchers, ms(answered), ms(first), all.milliseconds(0.5), ms(last), begin.until(end, o.pids)}, nil
}
