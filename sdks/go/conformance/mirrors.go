package main

import (
	"context"
	"sync"

	stargus "github.com/stargus/stargus/sdks/go"
)

// heardCodes keeps the codes of what a listener was told.
type heardCodes struct {
	mu    sync.Mutex
	codes []string
}

func (h *heardCodes) hear(err error) {
	code := stargus.CodeOf(err)
	if code == "" {
		code = "driver"
	}
	h.mu.Lock()
	h.codes = append(h.codes, code)
	h.mu.Unlock()
}

func (h *heardCodes) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	codes := h.codes
	h.codes = nil
	if codes == nil {
		codes = []string{}
	}
	return codes
}

// mirror is one with what was heard of it.
type mirror struct {
	*stargus.Mirror
	isSparse bool
	// err is why there is none.
	err    error
	denied heardCodes
	cancel context.CancelFunc

	mu                 sync.Mutex
	callback, iterator []any
}

func newMirror(attached *stargus.Mirror, isSparse bool, err error) *mirror {
	m := &mirror{Mirror: attached, isSparse: isSparse, err: err}
	if err != nil {
		return m
	}
	var ctx context.Context
	ctx, m.cancel = context.WithCancel(context.Background())
	attached.OnDenied(func(denied stargus.Denied) { m.denied.hear(denied.Err) })
	attached.OnChange(func(change stargus.Change) { m.hear(&m.callback, change) })
	changes := attached.Changes(ctx)
	go func() {
		for change, err := range changes {
			if err != nil {
				return
			}
			m.hear(&m.iterator, change)
		}
	}()
	return m
}

func (m *mirror) close() {
	if m.err == nil {
		m.cancel()
		m.Close()
	}
}

func (m *mirror) hear(where *[]any, change stargus.Change) {
	told := object{
		"op": change.Op, "key": change.Key, "changed": namesOf(change.Changed), "removed": namesOf(change.Removed), "revision": change.Revision,
	}
	if change.Item != nil {
		told["attributes"] = attributesOf(change.Item.Attributes)
	}
	if change.Previous != nil {
		told["previous"] = attributesOf(change.Previous.Attributes)
	}
	if change.Reason != "" {
		told["reason"] = change.Reason
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	*where = append(*where, told)
}

func namesOf(names []string) []string {
	if names == nil {
		return []string{}
	}
	return names
}

func (d *driver) onMirror(c *command) (any, error) {
	d.mu.Lock()
	m := d.mirrors[c.Mirror]
	d.mu.Unlock()
	if m == nil {
		return nil, errDriver("there is no mirror %q", c.Mirror)
	}
	if m.err != nil {
		return nil, m.err
	}
	switch c.Do {
	case "ready":
		ctx, cancel := c.within()
		defer cancel()
		err := m.Ready(ctx)
		return object{"revision": m.Revision()}, err
	case "reached":
		ctx, cancel := c.within()
		defer cancel()
		err := m.Reached(ctx, c.Revision)
		return object{"revision": m.Revision()}, err
	case "state":
		return m.state(), nil
	case "heard":
		m.mu.Lock()
		defer m.mu.Unlock()
		callback, iterator := m.callback, m.iterator
		m.callback, m.iterator = nil, nil
		return object{"callback": listOf(callback), "iterator": listOf(iterator)}, nil
	case "denied":
		return object{"codes": m.denied.take()}, nil
	case "kept":
		items, bytes := m.Kept()
		return object{"items": items, "bytes": bytes}, nil
	}
	item, found, err := m.Fetch(context.Background(), c.Key)
	if err != nil || !found {
		return nil, err
	}
	return object{"attributes": attributesOf(item.Attributes)}, nil
}

func listOf(list []any) []any {
	if list == nil {
		return []any{}
	}
	return list
}

func (m *mirror) state() any {
	items := object{}
	for key, item := range m.All() {
		if m.isSparse {
			items[key] = item.Revision
		} else {
			items[key] = attributesOf(item.Attributes)
		}
	}
	told := object{"revision": m.Revision(), "isLive": m.IsLive(), "items": items}
	if err := m.Err(); err != nil {
		told["error"] = stargus.CodeOf(err)
	}
	return told
}

func (m *mirror) write(c *command) (any, error) {
	ctx := context.Background()
	if m.err != nil {
		return nil, m.err
	}
	switch c.Op {
	case "set":
		return written(m.Set(ctx, c.Key, c.given(), c.writeOptions()...))
	case "merge":
		return written(m.Merge(ctx, c.Key, c.given(), c.writeOptions()...))
	case "delete":
		existed, err := m.Delete(ctx, c.Key, c.writeOptions()...)
		return object{"existed": existed}, err
	}
	return nil, errDriver("there is no op %q of a mirror", c.Op)
}

// written is the item, or nothing where a refusal was told to listeners or to nobody.
func written(item stargus.Item, err error) (any, error) {
	if err != nil || item.Key == "" {
		return nil, err
	}
	return itemOf(item), nil
}
