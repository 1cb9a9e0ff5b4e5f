package stargus

import (
	"container/list"
	"context"
	"sync"
)

// keptValues are the values that a sparse mirror has in memory: at most so many bytes of JSON, the least recently used go first.
type keptValues struct {
	mu       sync.Mutex
	max      int
	bytes    int
	byKey    map[string]*list.Element
	byRecent *list.List
	// under are readings that are under way, by key: who wants the same value waits for it.
	under map[string]*fetching
	// toldAt are the commits that told of items which are older than they: what was read before isn't what may be seen now. The
	// mirror's lock guards it.
	toldAt map[string]int64
}

// fetching is one reading of an item, for all who want it.
type fetching struct {
	done  chan struct{}
	item  Item
	read  int64
	found bool
	err   error
	// isStale: all state was replaced meanwhile.
	isStale bool
}

type keptValue struct {
	key        string
	revision   int64
	attributes map[string]any
	bytes      int
}

func newKeptValues(max int) *keptValues {
	return &keptValues{max: max, byKey: map[string]*list.Element{}, byRecent: list.New(), under: map[string]*fetching{}, toldAt: map[string]int64{}}
}

// get answers the attributes that are kept for this revision of the item, and counts as a use.
func (k *keptValues) get(key string, revision int64) map[string]any {
	k.mu.Lock()
	defer k.mu.Unlock()
	element := k.byKey[key]
	if element == nil || element.Value.(*keptValue).revision != revision {
		return nil
	}
	k.byRecent.MoveToFront(element)
	return element.Value.(*keptValue).attributes
}

// peek is get without being a use.
func (k *keptValues) peek(key string, revision int64) map[string]any {
	k.mu.Lock()
	defer k.mu.Unlock()
	if element := k.byKey[key]; element != nil && element.Value.(*keptValue).revision == revision {
		return element.Value.(*keptValue).attributes
	}
	return nil
}

// put keeps attributes, and drops what has been used least recently. What is larger than the bound isn't kept.
func (k *keptValues) put(key string, revision int64, attributes map[string]any) {
	text, err := encode(attributes)
	if err != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.remove(k.byKey[key])
	size := len(text) + len(key)
	if size > k.max {
		return
	}
	k.byKey[key] = k.byRecent.PushFront(&keptValue{key, revision, attributes, size})
	for k.bytes += size; k.bytes > k.max; {
		k.remove(k.byRecent.Back())
	}
}

func (k *keptValues) drop(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.remove(k.byKey[key])
}

func (k *keptValues) remove(element *list.Element) {
	if element == nil {
		return
	}
	value := k.byRecent.Remove(element).(*keptValue)
	delete(k.byKey, value.key)
	k.bytes -= value.bytes
}

// join answers the reading of an item that is under way; true: it is for the caller to do.
func (k *keptValues) join(key string) (*fetching, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if one := k.under[key]; one != nil {
		return one, false
	}
	one := &fetching{done: make(chan struct{})}
	k.under[key] = one
	return one, true
}

func (k *keptValues) leave(key string, one *fetching) {
	k.mu.Lock()
	delete(k.under, key)
	k.mu.Unlock()
	close(one.done)
}

// dropAll forgets all values: where a state came whole they may be of a pool that is gone, or have more or fewer attributes than may
// be seen now. The mirror's lock is held.
func (k *keptValues) dropAll() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.byKey)
	clear(k.toldAt)
	k.byRecent.Init()
	k.bytes = 0
	for _, one := range k.under {
		one.isStale = true
	}
}

// Kept answers how many values a sparse mirror has in memory now, and how many bytes of JSON they are.
func (m *Mirror) Kept() (items, bytes int) {
	if m.kept == nil {
		return 0, 0
	}
	m.kept.mu.Lock()
	defer m.kept.mu.Unlock()
	return len(m.kept.byKey), m.kept.bytes
}

// fetchesMax: a fetch begins anew when the item changed while it was under way. One that changes faster than it can be read
// so often is as well answered by an error.
const fetchesMax = 20

// Fetch answers an item with its values: from memory, or of a sparse mirror from the server, and then keeps them until they
// change. It is never older than what the mirror knows of. False where there is no such item.
func (m *Mirror) Fetch(ctx context.Context, key string) (Item, bool, error) {
	if m.kept == nil {
		item, ok := m.Get(key)
		return item, ok, nil
	}
	for range fetchesMax {
		m.mu.RLock()
		known, is := m.view.items[key]
		isReady, revision := m.view.isKnown, m.view.revision
		var settled chan struct{}
		var confirmed *confirmedWrite
		if pending := m.overlay.keys[key]; pending != nil {
			confirmed = pending.confirmed
			if n := len(pending.writes); n > 0 {
				settled = pending.writes[n-1].settled
			}
		}
		m.mu.RUnlock()
		switch {
		case settled != nil:
			select {
			case <-settled:
			case <-ctx.Done():
				return Item{}, false, ofContext(ctx)
			}
			continue
		case confirmed != nil:
			if confirmed.item == nil || !m.shows(confirmed.item) {
				return Item{}, false, nil
			}
			item := *confirmed.item
			item.Attributes = project(item.Attributes, m.options.fields)
			return item, true, nil
		case !is && isReady:
			return Item{}, false, nil
		case !is:
			if err := m.Ready(ctx); err != nil {
				return Item{}, false, err
			}
			continue
		}
		if attributes := m.kept.get(key, known.Revision); attributes != nil {
			known.Attributes = attributes
			return known, true, nil
		}
		one, isOwn := m.kept.join(key)
		if isOwn {
			one.item, one.read, one.found, one.err = m.client.get(ctx, m.collection, key, m.options.fields, revision)
			if one.item.Attributes == nil {
				one.item.Attributes = map[string]any{}
			}
			m.kept.leave(key, one)
		} else {
			select {
			case <-one.done:
			case <-ctx.Done():
				return Item{}, false, ofContext(ctx)
			}
			if one.err != nil || !one.found {
				// It may be the end of somebody else's context, or of a state before the one that is known now.
				continue
			}
		}
		if one.err != nil || !one.found {
			return Item{}, false, one.err
		}
		if m.keep(key, one) {
			return one.item, true, nil
		}
	}
	return Item{}, false, &Error{Code: "conflict", Detail: "the item changes faster than it can be read"}
}

// keep keeps what was read; false where the mirror knows of a newer state than that which it was read in.
func (m *Mirror) keep(key string, one *fetching) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	known, is := m.view.items[key]
	switch {
	case one.isStale,
		is && max(known.Revision, m.kept.toldAt[key]) > one.read,
		// It was deleted meanwhile.
		!is && m.view.isKnown && m.view.revision > one.read:
		return false
	}
	if is {
		m.kept.put(key, known.Revision, one.item.Attributes)
	}
	return true
}
