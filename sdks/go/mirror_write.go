package stargus

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
)

// Writing through a mirror: what is written shows at once, is sent, and is taken back where the server refuses it.

// writing is what a mirror has for it.
type writing struct {
	// slots has room for the writes that may be pending.
	slots chan struct{}
	gone  chan struct{}

	mu sync.Mutex
	// rules are a hint, asked for when the first write wants them.
	rules   *policyRules
	isKnown bool
	denied  []*deniedListener
}

type deniedListener struct{ call func(Denied) }

// Denied is a write that policy, lock, schema or condition refused.
type Denied struct {
	Key string
	// Err is why: a *Problem.
	Err error
}

func (w *writing) init() {
	w.slots = make(chan struct{}, pendingWritesMax)
	w.gone = make(chan struct{})
}

func (w *writing) end() { close(w.gone) }

// OnDenied has a function called for each refused write of a mirror that was attached with OnDenied(DeniedIsEvent). It answers
// a function that ends this.
func (m *Mirror) OnDenied(call func(Denied)) (remove func()) {
	one := &deniedListener{call}
	m.writing.mu.Lock()
	m.writing.denied = append(m.writing.denied, one)
	m.writing.mu.Unlock()
	return func() {
		m.writing.mu.Lock()
		defer m.writing.mu.Unlock()
		m.writing.denied = slices.DeleteFunc(slices.Clone(m.writing.denied), func(other *deniedListener) bool { return other == one })
	}
}

// Set replaces all attributes of an item: in the mirror at once, and on the server, whose answer it waits for. Writes of one
// item are sent in their order. When the server refuses it the mirror shows again what was there, a change with ReasonRefused
// tells so, and Set fails (but see [OnDenied]).
func (m *Mirror) Set(ctx context.Context, key string, attributes any, options ...WriteOption) (Item, error) {
	item, _, err := m.write(ctx, http.MethodPut, key, attributes, options)
	return item, err
}

// Merge applies a merge patch (RFC 7396), as [Mirror.Set] replaces.
func (m *Mirror) Merge(ctx context.Context, key string, attributes any, options ...WriteOption) (Item, error) {
	item, _, err := m.write(ctx, http.MethodPatch, key, attributes, options)
	return item, err
}

// Delete deletes an item, as [Mirror.Set] replaces, and answers whether there was one.
func (m *Mirror) Delete(ctx context.Context, key string, options ...WriteOption) (existed bool, err error) {
	_, existed, err = m.write(ctx, http.MethodDelete, key, nil, options)
	return existed, err
}

func (m *Mirror) write(ctx context.Context, method, key string, attributes any, options []WriteOption) (Item, bool, error) {
	chosen := writeOptionsOf(options)
	write := &pendingWrite{method: method, key: key, settled: make(chan struct{})}
	if err := checkKey(key); err != nil {
		return Item{}, false, err
	}
	if method != http.MethodDelete {
		text, err := encodeObject(attributes)
		if err != nil {
			return Item{}, false, err
		}
		if err := json.Unmarshal(text, &write.attributes); err != nil {
			return Item{}, false, &Error{Code: "badRequest", Detail: "attributes must be a JSON object", cause: err}
		}
		write.text = text
	}
	select {
	case m.writing.slots <- struct{}{}:
		defer func() { <-m.writing.slots }()
	case <-ctx.Done():
		return Item{}, false, ofContext(ctx)
	case <-m.writing.gone:
		return Item{}, false, m.closedOr(m.Err())
	}
	rules := m.policy(ctx)
	if err := m.show(write, rules, chosen); err != nil {
		return Item{}, false, err
	}
	item, existed, err := m.send(ctx, write, chosen)
	if err != nil && isDenied(err) {
		if CodeOf(err) == "forbidden" {
			m.writing.forgetRules()
		}
		switch m.options.onDenied {
		case DeniedIsEvent:
			m.tellDenied(Denied{Key: key, Err: err})
			return Item{}, false, nil
		case DeniedIsSilent:
			return Item{}, false, nil
		}
	}
	return item, existed, err
}

// isDenied: what was written is refused, by policy, lock, schema or condition.
func isDenied(err error) bool {
	switch CodeOf(err) {
	case "forbidden", "locked", "lockLost", "schemaViolation", "preconditionFailed", "conflict":
		_, ok := asProblem(err)
		return ok
	}
	return false
}

func (m *Mirror) tellDenied(denied Denied) {
	m.writing.mu.Lock()
	listeners := m.writing.denied
	m.writing.mu.Unlock()
	for _, one := range listeners {
		func() {
			defer func() {
				if thrown := recover(); thrown != nil {
					m.client.tell(&Error{Code: "internal", Detail: "a listener of refused writes panicked"})
				}
			}()
			one.call(denied)
		}()
	}
}

// show lays the write over what is shown, if it may be.
func (m *Mirror) show(write *pendingWrite, rules *policyRules, options writeOptions) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		return m.closedOr(m.err)
	}
	pending := m.overlay.keys[write.key]
	if pending == nil {
		pending = &pendingItem{}
		m.overlay.keys[write.key] = pending
	}
	before := m.shownPointer(write.key)
	if n := len(pending.writes); n > 0 {
		write.before = pending.writes[n-1].settled
	}
	write.isShown = m.mayShow(write, before, rules, options, pending)
	pending.writes = append(pending.writes, write)
	m.layAgain(write.key, pending)
	m.tellShown(before, write.key, "")
	return nil
}

func (m *Mirror) mayShow(write *pendingWrite, before *Item, rules *policyRules, options writeOptions, pending *pendingItem) bool {
	if options.hasIfRevision {
		// Of what is pending nobody knows the revision yet.
		is := int64(0)
		if before != nil {
			is = before.Revision
		}
		if len(pending.writes) > 0 || is != options.ifRevision {
			return false
		}
	}
	if m.view.isSparse && len(m.options.where) > 0 && write.method != http.MethodDelete {
		return false
	}
	return rules == nil || write.allowedBy(rules, m.collection, before)
}

// allowedBy asks the rules for what the write would do to the item that is shown.
func (w *pendingWrite) allowedBy(rules *policyRules, collection string, before *Item) bool {
	if w.method == http.MethodDelete {
		return before == nil || rules.allows("delete", collection, w.key, before.Attributes, "")
	}
	after := w.on(before)
	var attributes map[string]any
	action := "create"
	judged := after.Attributes
	if before != nil {
		attributes, action, judged = before.Attributes, "write", before.Attributes
	}
	changed, _ := namesChanged(attributes, after.Attributes)
	if len(changed) == 0 {
		return rules.allows(action, collection, w.key, judged, "")
	}
	for _, name := range changed {
		if !rules.allows(action, collection, w.key, judged, name) {
			return false
		}
	}
	return true
}

// shows says whether the selection of the mirror shows an item, as far as that can be judged here.
func (m *Mirror) shows(item *Item) bool {
	selected := &m.options.selection
	switch {
	case selected.key != "" && item.Key != selected.key,
		len(item.Key) < len(selected.prefix) || item.Key[:len(selected.prefix)] != selected.prefix,
		selected.start != "" && item.Key < selected.start,
		selected.end != "" && item.Key >= selected.end:
		return false
	}
	if len(selected.where) == 0 || m.view.isSparse {
		return true
	}
	return m.filter != nil && m.filter.Matches(item.Key, item.Revision, item.Attributes)
}

// layAgain works out what is shown of an item that has pending writes. The lock is held.
func (m *Mirror) layAgain(key string, pending *pendingItem) {
	var base *Item
	if item, ok := m.view.items[key]; ok {
		base = &item
	}
	pending.lay(base, m.shows)
	if pending.shown != nil {
		if m.view.isSparse {
			pending.shown = &Item{Key: key, Revision: pending.shown.Revision}
		} else if len(m.options.fields) > 0 && pending.shown != base {
			shown := *pending.shown
			shown.Attributes = project(shown.Attributes, m.options.fields)
			pending.shown = &shown
		}
	}
	if pending.isSettled() {
		delete(m.overlay.keys, key)
	}
}

// tellShown tells how what is shown of an item differs from what was. The lock is held.
func (m *Mirror) tellShown(before *Item, key, reason string) {
	if change, differs := differenceOf(before, m.shownPointer(key), reason, m.view.revision); differs {
		m.listeners.tell([]Change{change})
	}
}

// send waits for the writes of the item before this one, and sends it.
func (m *Mirror) send(ctx context.Context, write *pendingWrite, options writeOptions) (item Item, existed bool, err error) {
	if write.before != nil {
		select {
		case <-write.before:
		case <-ctx.Done():
			err = ofContext(ctx)
			m.settle(write, nil, err)
			// Those after it wait for those before it all the same.
			go func() {
				<-write.before
				close(write.settled)
			}()
			return Item{}, false, err
		}
	}
	if write.method == http.MethodDelete {
		var revision int64
		existed, revision, err = m.client.delete(ctx, m.collection, write.key, options)
		defer close(write.settled)
		m.settle(write, &confirmedWrite{revision: revision}, err)
		return Item{}, existed, err
	}
	item, err = m.client.writeText(ctx, write.method, m.collection, write.key, write.text, options)
	given := item
	defer close(write.settled)
	m.settle(write, &confirmedWrite{item: &given, revision: item.Revision}, err)
	return item, true, err
}

// settle puts what the server said in the place of the write, or what was there before.
func (m *Mirror) settle(write *pendingWrite, confirmed *confirmedWrite, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	pending := m.overlay.keys[write.key]
	before := m.shownPointer(write.key)
	pending.writes = slices.DeleteFunc(pending.writes, func(other *pendingWrite) bool { return other == write })
	reason := ReasonRefused
	if err == nil {
		reason = ""
		if m.kept != nil {
			m.kept.drop(write.key)
		}
		// If the stream has come that far already it has told what the item is.
		if confirmed.revision > m.view.revision && !m.ended {
			pending.confirmed = confirmed
		}
	}
	m.layAgain(write.key, pending)
	m.tellShown(before, write.key, reason)
}

// commitUnderOverlay does what came by the stream, while writes are pending, and answers what readers see of it. The lock is held.
func (m *Mirror) commitUnderOverlay(next *step) []Change {
	before := make(map[string]*Item, len(m.overlay.keys))
	for key := range m.overlay.keys {
		before[key] = m.shownPointer(key)
	}
	isOtherPool := next.items != nil && epochOf(next.cursor) != epochOf(m.view.cursor)
	m.view.commit(next)
	for key, pending := range m.overlay.keys {
		// Revisions of a pool that was made anew can't be compared with those of the old one.
		if pending.confirmed != nil && (isOtherPool || pending.confirmed.revision <= m.view.revision) {
			pending.confirmed = nil
		}
		m.layAgain(key, pending)
	}
	changes := make([]Change, 0, len(next.changes))
	for _, change := range next.changes {
		was, isPending := before[change.Key]
		if !isPending {
			changes = append(changes, change)
			continue
		}
		delete(before, change.Key)
		shown, differs := differenceOf(was, m.shownPointer(change.Key), change.Reason, change.Revision)
		if !differs && m.view.isSparse && shown.Item != nil {
			shown.Op, shown.Key, differs = OpChange, change.Key, true
		}
		if m.view.isSparse {
			shown.Changed, shown.Removed = change.Changed, change.Removed
		}
		if differs {
			changes = append(changes, shown)
		}
	}
	var others []Change
	for key, was := range before {
		if change, differs := differenceOf(was, m.shownPointer(key), "", m.view.revision); differs {
			others = append(others, change)
		}
	}
	sortChanges(others)
	return append(changes, others...)
}

// policy answers the rules by which a write is shown, nil where there are none to ask for: without credentials one is at an
// open server, where no policy binds.
func (m *Mirror) policy(ctx context.Context) *policyRules {
	if m.client.pipeline.login.Load() == nil {
		return nil
	}
	w := &m.writing
	w.mu.Lock()
	rules, isKnown := w.rules, w.isKnown
	w.mu.Unlock()
	if isKnown {
		return rules
	}
	answer, err := m.client.call(ctx, http.MethodGet, m.client.poolURL+"/policy/effective", nil, nil)
	if err != nil {
		// Nothing is known, so nothing is shown before the server has said so; the next write asks again.
		return &policyRules{}
	}
	rules, err = parsePolicyRules(answer.body)
	if err != nil {
		return &policyRules{}
	}
	w.mu.Lock()
	w.rules, w.isKnown = rules, true
	w.mu.Unlock()
	return rules
}

func (w *writing) forgetRules() {
	w.mu.Lock()
	w.rules, w.isKnown = nil, false
	w.mu.Unlock()
}

// watchPolicy has the rules asked for anew when a change shows that they have changed.
func (m *Mirror) watchPolicy(changes []Change) {
	for i := range changes {
		if changes[i].Reason == "denied" {
			m.writing.forgetRules()
			return
		}
	}
}
