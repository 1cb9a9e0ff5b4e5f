// Locks in great number on items that nobody else wants, taken and left.
package main

import "time"

type takenResult struct {
	Rate     float64  `json:"rate"`
	Sessions []string `json:"sessions"`
}

const (
	locksPerSession = 10_000 // the most that a session may have
	otherCollection = "elsewhere"
)

// takeLocks leaves o.locks of them held: half on items of the collection that are beyond o.keys, half in another collection.
func takeLocks(o options) (takenResult, error) {
	sessions, err := beginSessions(o, (o.locks+locksPerSession-1)/locksPerSession)
	if err != nil {
		return takenResult{}, err
	}
	start := time.Now()
	err = inParallel(o.connections, o.locks, func() (take func(n int) error, done func()) {
		c := newClient(o, time.Now().Add(longTTL))
		take = func(n int) error {
			c.session = sessions[n%len(sessions)]
			collection := o.collection
			if n/len(sessions)%2 == 1 {
				collection = otherCollection
			}
			_, err := c.acquire(collection, keyName(nil, o.keys+n), 0)
			return err
		}
		return take, c.conn.close
	})
	return takenResult{float64(o.locks) / time.Since(start).Seconds(), sessions}, err
}

func beginSessions(o options, count int) (sessions []string, err error) {
	c := newClient(o, time.Now().Add(time.Minute))
	defer c.conn.close()
	for len(sessions) < count {
		if err = c.begin(longTTL); err != nil {
			return nil, err
		}
		sessions = append(sessions, c.session)
	}
	return sessions, nil
}
