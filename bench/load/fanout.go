// Fan-out: many watchers of one collection while writers write into it, as fast as they can or at a fixed rate with every delivery timed.
package main

import (
	"sync"
	"time"
)

type fanoutResult struct {
	Deliveries float64 `json:"deliveriesPerSecond"`
	Writes     float64 `json:"writesPerSecond"`
	Missing    int64   `json:"missing"` // deliveries of acknowledged writes that had not come 10 s after the last write
	Closed     int64   `json:"closed"`  // watchers that the server disconnected
	Errors     int64   `json:"errors"`
	Problem    string  `json:"problem,omitempty"`
	P50        float64 `json:"p50Ms"`
	P99        float64 `json:"p99Ms"`
	Max        float64 `json:"maxMs"`
	usage
}

func fanout(o options) (fanoutResult, error) {
	streams, err := openWatchers(o)
	if err != nil {
		return fanoutResult{}, err
	}
	defer streams.close()
	var sending *writers
	if o.rate > 0 {
		sending = startPacedWriters(o)
	} else {
		sending = startWriters(o)
	}
	time.Sleep(o.warm)
	streams.timing.Store(o.rate > 0)
	delivered, answered, start := streams.deliveries.Load(), sending.answered.Load(), markUsage(o.pids)
	time.Sleep(o.measure)
	delivered, answered = streams.deliveries.Load()-delivered, sending.answered.Load()-answered
	end := markUsage(o.pids)
	sending.finish()
	missing := awaitDeliveries(streams, sending.answered.Load()*int64(o.told))
	seconds := end.at.Sub(start.at).Seconds()
	return fanoutResult{
		Deliveries: float64(delivered) / seconds,
		Writes:     float64(answered) / seconds,
		Missing:    missing,
		Closed:     streams.closed.Load(),
		Errors:     sending.errors.Load(),
		Problem:    sending.firstProblem(),
		P50:        streams.latencies.milliseconds(0.50),
		P99:        streams.latencies.milliseconds(0.99),
		Max:        streams.latencies.milliseconds(1),
		usage:      start.until(end, o.pids),
	}, nil
}

func awaitDeliveries(streams *watchers, expected int64) int64 {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if streams.deliveries.Load() >= expected {
			break
		}
	}
	return expected - streams.deliveries.Load()
}

// startPacedWriters sends at o.rate whatever the answers do: each write's stamp is the time it was due, so waiting for a free
// connection counts as latency.
func startPacedWriters(o options) *writers {
	w := &writers{o: o}
	due := make(chan time.Time, 1024)
	w.group.Add(1)
	go func() {
		defer w.group.Done()
		defer close(due)
		ticker := time.NewTicker(time.Second / time.Duration(o.rate))
		defer ticker.Stop()
		for !w.stop.Load() {
			<-ticker.C
			due <- time.Now()
		}
	}()
	var n int
	var mutex sync.Mutex
	nextKey := func() []byte {
		mutex.Lock()
		defer mutex.Unlock()
		n++
		return keyName(nil, n%o.keys)
	}
	for i := 0; i < o.connections; i++ {
		w.group.Add(1)
		go func() {
			defer w.group.Done()
			conn := &connection{address: o.address, until: deadlineOf(o)}
			defer conn.close()
			value := newValue(o.valueBytes)
			for at := range due {
				restamp(value, at)
				w.send(conn, o.dialect.put(nil, nextKey(), value))
			}
		}()
	}
	return w
}
