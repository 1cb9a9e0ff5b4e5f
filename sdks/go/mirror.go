package stargus

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"sort"
	"sync"

	"github.com/stargus/stargus/sdks/go/where"
)

// Mirror is a collection as it is now, or the part of it that was asked for: a read-only table that follows the server. It
// shows one state at a time, all of a commit or nothing of it, and never an older one after a newer one. Reading is from
// memory, and may be done by many goroutines at once.
type Mirror struct {
	client     *Client
	collection string
	options    attachOptions
	filter     *where.Judge
	query      string

	// life is over when the mirror is to end; done is closed when it has.
	life  context.Context
	stop  context.CancelCauseFunc
	done  chan struct{}
	ready chan struct{}

	// mu guards what is shown. Only the stream's goroutine alters the view, so that one reads it without.
	mu      sync.RWMutex
	view    view
	overlay overlay
	// subject is whose sight the view is of; only the stream's goroutine knows it.
	subject string
	moved   chan struct{}
	err     error
	ended   bool

	listeners listeners
	writing   writing
	kept      *keptValues
	cache     *cacheWriter
}

// OnDeniedMode says what a refusal of an optimistic write does, see [OnDenied].
type OnDeniedMode string

// What becomes of a write through a mirror that policy, lock, schema or condition refuse: the call fails; the listeners of
// [Mirror.OnDenied] are told and the call answers nothing; neither.
const (
	DeniedIsError  OnDeniedMode = "error"
	DeniedIsEvent  OnDeniedMode = "event"
	DeniedIsSilent OnDeniedMode = "ignore"
)

type attachOptions struct {
	selection
	values    Values
	cache     Cache
	memoryMax int
	onDenied  OnDeniedMode
}

type attaching func(*attachOptions)

func (a attaching) toAttach(o *attachOptions) { a(o) }

// WithCache keeps what the mirror has in a file, so that it is shown at once the next time: sqlitecache.File(path).
func WithCache(cache Cache) AttachOption {
	return attaching(func(o *attachOptions) { o.cache = cache })
}

// MemoryMax bounds the values that a sparse mirror keeps, in bytes of JSON; 16 MiB where it isn't given.
func MemoryMax(bytes int) AttachOption {
	return attaching(func(o *attachOptions) { o.memoryMax = bytes })
}

// OnDenied says what a refusal by policy, lock, schema or condition does beside taking the write back; DeniedIsError where it
// isn't given.
func OnDenied(mode OnDeniedMode) AttachOption {
	return attaching(func(o *attachOptions) { o.onDenied = mode })
}

// Attach makes a live mirror of a collection, or of what the options select of it. It answers at once; the mirror is complete
// when it is [Mirror.Ready]. It lives until it is closed, its client is, or ctx is over.
//
// Errors: ErrCacheInUse and ErrCacheFailed where the cache can't be had, ErrBadRequest for options that make no sense.
func (c *Client) Attach(ctx context.Context, collection string, options ...AttachOption) (*Mirror, error) {
	chosen := attachOptions{memoryMax: defaultMemoryMax, onDenied: DeniedIsError}
	for _, option := range options {
		option.toAttach(&chosen)
	}
	if chosen.err != nil {
		return nil, chosen.err
	}
	switch chosen.values {
	case "", ValuesFull, ValuesNone:
	default:
		return nil, &Error{Code: "badRequest", Detail: "the values of a mirror are full or none"}
	}
	switch chosen.onDenied {
	case DeniedIsError, DeniedIsEvent, DeniedIsSilent:
	default:
		return nil, &Error{Code: "badRequest", Detail: "onDenied is error, event or ignore"}
	}
	if err := ctx.Err(); err != nil {
		return nil, ofContext(ctx)
	}
	m := &Mirror{
		client: c, collection: collection, options: chosen,
		done: make(chan struct{}), ready: make(chan struct{}), moved: make(chan struct{}),
	}
	m.subject = c.Subject()
	m.view = view{collection: collection, isSparse: chosen.values == ValuesNone, items: map[string]Item{}}
	if m.view.isSparse {
		m.kept = newKeptValues(chosen.memoryMax)
	}
	if len(chosen.where) > 0 {
		// What can't be judged here (a filter of a newer server) is left to the server.
		m.filter, _ = where.Parse(json.RawMessage(chosen.where))
	}
	sent := chosen.parameters()
	if m.view.isSparse {
		sent["values"] = string(ValuesNone)
	}
	m.query = canonicalQuery(sent)
	m.overlay.init()
	m.listeners.tellErr = c.tell
	m.writing.init()
	if chosen.cache != nil {
		if err := m.openCache(ctx); err != nil {
			return nil, err
		}
	}
	m.life, m.stop = context.WithCancelCause(ctx)
	c.mu.Lock()
	if c.isClosed {
		c.mu.Unlock()
		m.stop(nil)
		m.cache.abandon()
		return nil, closedError("client")
	}
	c.mirrors[m] = struct{}{}
	c.running.Add(1)
	c.mu.Unlock()
	go func() {
		defer c.running.Done()
		m.run()
	}()
	return m, nil
}

// Ready waits until the mirror shows the collection as it is: the first snapshot, or what a cache had missed, is complete. Where
// the mirror ended before, it answers why.
func (m *Mirror) Ready(ctx context.Context) error {
	select {
	case <-m.ready:
		return m.endedWith()
	default:
	}
	select {
	case <-m.ready:
		return m.endedWith()
	case <-m.done:
		return m.closedOr(m.Err())
	case <-ctx.Done():
		return ofContext(ctx)
	}
}

// endedWith is nil while the mirror lives.
func (m *Mirror) endedWith() error {
	select {
	case <-m.done:
		return m.closedOr(m.Err())
	default:
		return nil
	}
}

func (m *Mirror) closedOr(err error) error {
	if err == nil {
		return closedError("mirror")
	}
	return err
}

// Reached waits until the mirror shows the revision, or a later one.
func (m *Mirror) Reached(ctx context.Context, revision int64) error {
	for {
		m.mu.RLock()
		is, moved := m.view.revision, m.moved
		m.mu.RUnlock()
		if is >= revision {
			return nil
		}
		select {
		case <-moved:
		case <-m.done:
			return m.closedOr(m.Err())
		case <-ctx.Done():
			return ofContext(ctx)
		}
	}
}

// Get answers the item as the mirror shows it, from memory; false where it shows none. Of a sparse mirror it has attributes
// only if they are kept; see [Mirror.Fetch].
func (m *Mirror) Get(key string) (Item, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.shown(key)
}

// shown is what readers see of a key. The lock is held.
func (m *Mirror) shown(key string) (Item, bool) {
	if pending := m.overlay.keys[key]; pending != nil && pending.isShown {
		if pending.shown == nil {
			return Item{}, false
		}
		return *pending.shown, true
	}
	item, ok := m.view.items[key]
	if ok && m.kept != nil {
		item.Attributes = m.kept.peek(key, item.Revision)
	}
	return item, ok
}

func (m *Mirror) shownPointer(key string) *Item {
	if item, ok := m.shown(key); ok {
		return &item
	}
	return nil
}

// Has reports whether the mirror shows an item of this key.
func (m *Mirror) Has(key string) bool {
	_, ok := m.Get(key)
	return ok
}

// Len is how many items the mirror shows.
func (m *Mirror) Len() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.length()
}

func (m *Mirror) length() int {
	n := len(m.view.items)
	for key, pending := range m.overlay.keys {
		if !pending.isShown {
			continue
		}
		_, was := m.view.items[key]
		switch is := pending.shown != nil; {
		case is && !was:
			n++
		case was && !is:
			n--
		}
	}
	return n
}

// Snapshot copies all that the mirror shows at this moment, by key. The items are shared, not copied.
func (m *Mirror) Snapshot() map[string]Item {
	m.mu.RLock()
	defer m.mu.RUnlock()
	items := make(map[string]Item, m.length())
	for key, item := range m.view.items {
		if m.kept != nil {
			item.Attributes = m.kept.peek(key, item.Revision)
		}
		items[key] = item
	}
	for key, pending := range m.overlay.keys {
		if !pending.isShown {
			continue
		}
		if pending.shown != nil {
			items[key] = *pending.shown
		} else {
			delete(items, key)
		}
	}
	return items
}

// All gives the items of one state, that of the beginning of the iteration, in the order of their keys' bytes.
func (m *Mirror) All() iter.Seq2[string, Item] {
	return func(yield func(string, Item) bool) {
		items := m.Snapshot()
		keys := make([]string, 0, len(items))
		for key := range items {
			keys = append(keys, key)
		}
		sort.Strings(keys)
		for _, key := range keys {
			if !yield(key, items[key]) {
				return
			}
		}
	}
}

// Revision is that of the state that the mirror shows.
func (m *Mirror) Revision() int64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.view.revision
}

// IsLive reports whether the mirror is connected and complete now.
func (m *Mirror) IsLive() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.view.isLive && !m.ended
}

// Collection is the name of what is mirrored.
func (m *Mirror) Collection() string { return m.collection }

// Err tells why the mirror ended by itself; nil while it lives and where it was closed.
func (m *Mirror) Err() error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.err
}

// Done is closed when the mirror has ended.
func (m *Mirror) Done() <-chan struct{} { return m.done }

// Close ends the mirror; what it has is kept in its cache, and stays readable. It may be called more than once, also by a
// callback.
func (m *Mirror) Close() error {
	m.end(nil)
	<-m.done
	return nil
}

// end has the mirror end, and doesn't wait for it. A nil error is that of being closed.
func (m *Mirror) end(err error) {
	if err == nil {
		err = errClosedByUser
	}
	m.stop(err)
}

var errClosedByUser = errors.New("closed")
