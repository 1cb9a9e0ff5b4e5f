package stargus

import (
	"context"
	"fmt"
	"iter"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// Who hears of a mirror's changes: callbacks, in the order of commits and one at a time, and iterators, each at its own speed.
// What is told is put into queues while the mirror is locked, so that its order is that of the states; nobody is called there.

type listeners struct {
	mu        sync.Mutex
	callbacks []*callback
	// waiting are changes for the callbacks. running: a goroutine is calling them.
	waiting []Change
	running bool
	room    chan struct{}
	queues  map[*changeQueue]struct{}
	isEnded bool
	endErr  error
	tellErr func(error)
}

type callback struct {
	call func(Change)
	// isGone: it was removed, and hears nothing more of what waits.
	isGone atomic.Bool
}

// changeQueue is what waits for one iterator.
type changeQueue struct {
	changes []Change
	// signal has room for one, for who waits.
	signal chan struct{}
	ended  bool
}

func (l *listeners) tell(changes []Change) {
	if len(changes) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isEnded {
		return
	}
	for queue := range l.queues {
		queue.add(changes)
	}
	if len(l.callbacks) == 0 {
		return
	}
	l.waiting = append(l.waiting, changes...)
	if !l.running {
		l.running = true
		// Nobody waits for it to end: a callback may itself be what closes the mirror.
		go l.deliver()
	}
}

func (q *changeQueue) add(changes []Change) {
	if len(q.changes)+len(changes) > changesWaitingMax {
		q.changes = append(q.changes[:0:0], Change{Op: OpReset, Revision: changes[len(changes)-1].Revision})
	} else {
		q.changes = append(q.changes, changes...)
	}
	q.wake()
}

func (q *changeQueue) wake() {
	select {
	case q.signal <- struct{}{}:
	default:
	}
}

// deliver calls the callbacks until nothing waits. It ends then, so that a mirror at rest has no goroutine for it.
func (l *listeners) deliver() {
	for {
		l.mu.Lock()
		changes, callbacks := l.waiting, l.callbacks
		l.waiting = nil
		if len(changes) == 0 || len(callbacks) == 0 {
			l.running = false
			l.wakeRoom()
			l.mu.Unlock()
			return
		}
		l.wakeRoom()
		l.mu.Unlock()
		for _, change := range changes {
			for _, one := range callbacks {
				if l.isClosed() {
					return
				}
				if !one.isGone.Load() {
					l.call(one, change)
				}
			}
		}
	}
}

func (l *listeners) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	// One that ended by itself still tells what it had; one that was closed tells nothing more.
	return l.isEnded && l.endErr == nil
}

func (l *listeners) wakeRoom() {
	if l.room != nil {
		close(l.room)
		l.room = nil
	}
}

func (l *listeners) call(one *callback, change Change) {
	defer func() {
		if thrown := recover(); thrown != nil {
			l.tellErr(fmt.Errorf("stargus: a listener panicked: %v\n%s", thrown, debug.Stack()))
		}
	}()
	one.call(change)
}

// wait holds up the stream while too much waits for callbacks.
func (l *listeners) wait(ctx context.Context) error {
	for {
		l.mu.Lock()
		if len(l.waiting) < changesWaitingMax || l.isEnded {
			l.mu.Unlock()
			return nil
		}
		if l.room == nil {
			l.room = make(chan struct{})
		}
		room := l.room
		l.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return ofContext(ctx)
		}
	}
}

func (l *listeners) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isEnded, l.endErr = true, err
	for queue := range l.queues {
		queue.ended = true
		queue.wake()
	}
	l.wakeRoom()
}

// OnChange has a function called at each change, after the mirror shows it: in the order of commits, one at a time, by another
// goroutine. A callback that is slow holds up the mirror's stream. It answers a function that ends this.
func (m *Mirror) OnChange(call func(Change)) (remove func()) {
	l := &m.listeners
	one := &callback{call: call}
	l.mu.Lock()
	l.callbacks = append(l.callbacks[:len(l.callbacks):len(l.callbacks)], one)
	l.mu.Unlock()
	return func() {
		one.isGone.Store(true)
		l.mu.Lock()
		defer l.mu.Unlock()
		left := make([]*callback, 0, len(l.callbacks))
		for _, other := range l.callbacks {
			if other != one {
				left = append(left, other)
			}
		}
		l.callbacks = left
	}
}

// Changes gives the changes one by one, from the first one after this call on, whenever the iteration begins. When 10,000 wait
// they are replaced by one with the Op OpReset. It ends with the error of the mirror where that ends by itself, with that of ctx,
// and without one where the mirror is closed. It can be iterated once; again, it gives nothing. What waits is kept until the iteration or ctx ends.
func (m *Mirror) Changes(ctx context.Context) iter.Seq2[Change, error] {
	l := &m.listeners
	queue := &changeQueue{signal: make(chan struct{}, 1)}
	l.mu.Lock()
	if l.queues == nil {
		l.queues = map[*changeQueue]struct{}{}
	}
	l.queues[queue] = struct{}{}
	queue.ended = l.isEnded
	l.mu.Unlock()
	leave := func() {
		l.mu.Lock()
		delete(l.queues, queue)
		queue.ended = true
		l.mu.Unlock()
	}
	stop := context.AfterFunc(ctx, leave)
	return func(yield func(Change, error) bool) {
		defer stop()
		defer leave()
		for {
			if ctx.Err() != nil {
				yield(Change{}, ofContext(ctx))
				return
			}
			l.mu.Lock()
			changes, ended := queue.changes, queue.ended
			queue.changes = nil
			err := l.endErr
			l.mu.Unlock()
			// What is being given one by one still waits: it counts for the bound by being handed back.
			for i, change := range changes {
				if !yield(change, nil) {
					return
				}
				if ctx.Err() != nil {
					break
				}
				if queue.isLong(l, len(changes)-i-1) {
					break
				}
			}
			if len(changes) > 0 {
				continue
			}
			if ended {
				if ctx.Err() != nil {
					err = ofContext(ctx)
				}
				if err != nil {
					yield(Change{}, err)
				}
				return
			}
			select {
			case <-queue.signal:
			case <-ctx.Done():
			}
		}
	}
}

// isLong replaces all that waits where what was taken out and not given yet makes it too much.
func (q *changeQueue) isLong(l *listeners, taken int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(q.changes) == 0 || taken+len(q.changes) <= changesWaitingMax {
		return false
	}
	q.changes = append(q.changes[:0:0], Change{Op: OpReset, Revision: q.changes[len(q.changes)-1].Revision})
	return true
}
