package stargus

import "net/http"

// overlay holds the writes of a mirror that are shown before the server has said that they are applied, and those that it has
// said so of and the stream not yet. What is shown of an item is what the server said, with these laid over it in their order.
type overlay struct {
	keys map[string]*pendingItem
}

type pendingItem struct {
	// confirmed is what the server answered to a write, until the stream has come to its revision.
	confirmed *confirmedWrite
	writes    []*pendingWrite
	// isShown: shown is what readers see, nil for none, in place of the view's item.
	isShown bool
	shown   *Item
}

type confirmedWrite struct {
	item     *Item
	revision int64
}

type pendingWrite struct {
	method     string
	key        string
	attributes map[string]any
	text       []byte
	// isShown: rules and filter let it be seen before the server has applied it.
	isShown bool
	// settled is closed when the server has answered, or nobody waits for that any more. before is that of the write of the same
	// item before it, nil if there is none.
	settled, before chan struct{}
}

func (o *overlay) init() { o.keys = map[string]*pendingItem{} }

// lay works out anew what readers see: base is what the view has, and shows says whether the selection shows an item.
func (p *pendingItem) lay(base *Item, shows func(*Item) bool) {
	item := base
	if p.isShown = p.confirmed != nil; p.isShown {
		item = p.confirmed.item
	}
	for _, write := range p.writes {
		if write.isShown {
			item, p.isShown = write.on(item), true
		}
	}
	if p.shown = nil; p.isShown && item != nil && shows(item) {
		p.shown = item
	}
}

func (w *pendingWrite) on(item *Item) *Item {
	switch w.method {
	case http.MethodDelete:
		return nil
	case http.MethodPatch:
		var attributes map[string]any
		next := Item{Key: w.key}
		if item != nil {
			attributes, next.Revision = item.Attributes, item.Revision
		}
		next.Attributes = mergePatch(attributes, w.attributes)
		return &next
	}
	next := Item{Key: w.key, Attributes: withoutNull(w.attributes)}
	if item != nil {
		next.Revision = item.Revision
	}
	return &next
}

// isSettled: nothing of it is needed any more.
func (p *pendingItem) isSettled() bool { return p.confirmed == nil && len(p.writes) == 0 }
