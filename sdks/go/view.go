package stargus

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/stargus/stargus/sdks/go/internal/sse"
)

// view is the state machine of an attachment: events go in, a new state and the changes come out. It does no I/O and takes no
// lock; what it is told to do it prepares first (prepare, which only reads what others read), and then does at once (commit).
//
// Its invariants: items is always the whole state at revision, never part of a commit; the cursor is of that state; a commit
// at or below revision is never applied; after a reset the old state stays until the new snapshot is complete.
type view struct {
	collection string
	isSparse   bool

	items    map[string]Item
	revision int64
	cursor   string
	// isKnown: the state was shown to somebody, by a cache or by a snapshot, so that differences from it are worth telling.
	isKnown bool
	isLive  bool

	// resume is the cursor to come back with; none after a reset.
	resume string

	// building is a snapshot that isn't complete.
	building   map[string]Item
	buildingAt int64

	// parts are those of a commit that more of is to come.
	parts      []CommitChange
	partsBytes int
	partsAt    int64
}

// step is what one event does to a view.
type step struct {
	// items replaces all, if it isn't nil; else puts and deletes are done to the items that there are.
	items    map[string]Item
	puts     []Item
	deletes  []string
	revision int64
	cursor   string
	// becomes live, or isn't any more: the state is to be replaced.
	becomes, isReset bool
	changes          []Change
}

var errTooManyParts = &Error{Code: CodeEventTooLarge, Detail: "a commit that comes in parts is larger than 64 MiB"}

type told struct {
	View     *string        `json:"view"`
	Revision int64          `json:"revision"`
	Items    []Item         `json:"items"`
	Part     int            `json:"part"`
	Changes  []CommitChange `json:"changes"`
	More     bool           `json:"more"`
}

// begin is called when a stream was opened.
func (v *view) begin() {
	v.isLive = false
	v.parts, v.partsBytes = nil, 0
	v.building = nil
	if v.resume == "" {
		v.building, v.buildingAt = map[string]Item{}, 0
	}
}

// prepare reads an event and answers what it does, nil where it does nothing to what is shown.
func (v *view) prepare(event sse.Event) (*step, error) {
	switch event.Name {
	case "snapshot", "live", "changes", "bookmark", "reset":
	default:
		return nil, nil
	}
	var data told
	if event.Name == "snapshot" && v.building != nil {
		data.Items = make([]Item, 0, 256)
	}
	if err := json.Unmarshal(event.Data, &data); err != nil {
		return nil, &Error{Code: CodeProtocolError, Detail: "an event of the stream isn't the JSON that it should be", cause: err}
	}
	if data.View != nil && *data.View != v.collection {
		return nil, nil
	}
	switch event.Name {
	case "snapshot":
		v.takeSnapshot(&data)
	case "reset":
		v.building, v.buildingAt, v.resume = map[string]Item{}, 0, ""
		v.parts, v.partsBytes = nil, 0
		return &step{isReset: true}, nil
	case "live":
		return v.takeLive(&data, event), nil
	case "changes":
		return v.takeChanges(&data, event)
	case "bookmark":
		if v.building == nil {
			return v.moveTo(data.Revision, event), nil
		}
	}
	return nil, nil
}

func (v *view) takeSnapshot(data *told) {
	if v.building == nil {
		// Nobody asked for it. It is a reset all the same.
		v.building, v.resume = map[string]Item{}, ""
	}
	if v.buildingAt != data.Revision {
		clear(v.building)
		v.buildingAt = data.Revision
	}
	if len(v.building) == 0 && data.Part <= 1 && len(v.items) > len(data.Items) {
		v.building = make(map[string]Item, len(v.items))
	}
	for _, item := range data.Items {
		if v.isSparse {
			item.Attributes = nil
		} else if item.Attributes == nil {
			item.Attributes = map[string]any{}
		}
		v.building[item.Key] = item
	}
}

func (v *view) takeLive(data *told, event sse.Event) *step {
	next := &step{becomes: true, revision: max(data.Revision, v.revision), cursor: v.cursor}
	if v.building != nil {
		next.items, next.revision = v.building, max(data.Revision, v.buildingAt)
		if v.isKnown {
			next.changes = differences(v.items, v.building, next.revision, v.isSparse)
		}
	}
	if event.HasID {
		next.cursor = event.ID
	}
	return next
}

func (v *view) moveTo(revision int64, event sse.Event) *step {
	next := &step{revision: max(revision, v.revision), cursor: v.cursor}
	if event.HasID && event.ID != "" {
		next.cursor = event.ID
	}
	if next.revision == v.revision && next.cursor == v.cursor {
		return nil
	}
	return next
}

func (v *view) takeChanges(data *told, event sse.Event) (*step, error) {
	if len(v.parts) > 0 && v.partsAt != data.Revision {
		return nil, &Error{Code: CodeProtocolError, Detail: "a commit ended before all of its parts had come"}
	}
	if err := checkRevisions(data.Changes, data.Revision); err != nil {
		return nil, err
	}
	if data.More || len(v.parts) > 0 {
		if v.partsBytes += len(event.Data); v.partsBytes > commitBytesMax {
			return nil, errTooManyParts
		}
		v.parts, v.partsAt = append(v.parts, data.Changes...), data.Revision
		if data.More {
			return nil, nil
		}
		data.Changes, v.parts, v.partsBytes = v.parts, nil, 0
	}
	if v.building != nil {
		// Between a snapshot and its live; no server of today does so.
		if data.Revision > v.buildingAt {
			apply := v.applied(v.building, data)
			for _, key := range apply.deletes {
				delete(v.building, key)
			}
			for _, item := range apply.puts {
				v.building[item.Key] = item
			}
			v.buildingAt = data.Revision
		}
		return nil, nil
	}
	if data.Revision <= v.revision {
		return v.moveTo(v.revision, event), nil
	}
	next := v.applied(v.items, data)
	next.revision, next.cursor = data.Revision, v.cursor
	if event.HasID && event.ID != "" {
		next.cursor = event.ID
	}
	return next, nil
}

// applied works out what a commit makes of the items.
func (v *view) applied(items map[string]Item, data *told) *step {
	next := &step{}
	// A commit has an item once; a server that says it in several changes is understood all the same.
	var within map[string]*Item
	for i := range data.Changes {
		change := &data.Changes[i]
		if change.Collection != "" && change.Collection != v.collection {
			continue
		}
		before := itemAt(items, within, change.Key)
		after, ok := v.after(before, change, data.Revision)
		if !ok {
			continue
		}
		if len(data.Changes) > 1 {
			if within == nil {
				within = make(map[string]*Item, len(data.Changes))
			}
			within[change.Key] = after
		}
		if after == nil {
			next.deletes = append(next.deletes, change.Key)
		} else {
			next.puts = append(next.puts, *after)
		}
		if change.Op == OpChange && before != nil && len(change.Changed) == 0 {
			// Only its revision is another: commits that came joined led back to what it was.
			continue
		}
		next.changes = append(next.changes, Change{
			Op: opOf(before, after), Key: change.Key, Changed: change.Changed, Removed: change.Removed,
			Item: after, Previous: before, Reason: change.Reason, Revision: data.Revision,
		})
	}
	return next
}

func itemAt(items map[string]Item, within map[string]*Item, key string) *Item {
	if item, ok := within[key]; ok {
		return item
	}
	if item, ok := items[key]; ok {
		return &item
	}
	return nil
}

func opOf(before, after *Item) string {
	switch {
	case after == nil:
		return OpDelete
	case before == nil:
		return OpAdd
	}
	return OpChange
}

// after is the item after a change in the commit of the revision, nil where there is none; false where the change does nothing.
func (v *view) after(before *Item, change *CommitChange, revision int64) (*Item, bool) {
	switch change.Op {
	case OpDelete:
		return nil, before != nil
	case OpAdd, OpChange:
	default:
		if change.Attributes == nil {
			return nil, false
		}
	}
	next := &Item{Key: change.Key, Revision: change.itemRevision(revision)}
	if v.isSparse {
		return next, true
	}
	if change.Op == OpAdd || before == nil {
		next.Attributes = change.Attributes
		if next.Attributes == nil {
			next.Attributes = map[string]any{}
		}
		return next, true
	}
	attributes := make(map[string]any, len(before.Attributes)+len(change.Attributes))
	for name, value := range before.Attributes {
		attributes[name] = value
	}
	for _, name := range change.Removed {
		delete(attributes, name)
	}
	for name, value := range change.Attributes {
		attributes[name] = value
	}
	next.Attributes = attributes
	return next, true
}

// commit does what prepare worked out. Readers must be kept out meanwhile.
func (v *view) commit(next *step) {
	if next.isReset {
		v.isLive = false
		return
	}
	if next.items != nil {
		v.items, v.building = next.items, nil
	} else {
		for _, key := range next.deletes {
			delete(v.items, key)
		}
		for _, item := range next.puts {
			v.items[item.Key] = item
		}
		if len(next.deletes) > 0 && len(next.puts) > 0 {
			// Of an item that a commit both deletes and puts the last word counts, and changes have them in order.
			for _, change := range next.changes {
				if change.Item == nil {
					delete(v.items, change.Key)
				} else {
					v.items[change.Key] = *change.Item
				}
			}
		}
	}
	v.revision, v.cursor, v.resume = next.revision, next.cursor, next.cursor
	if next.becomes {
		v.isLive, v.isKnown = true, true
	}
}

// differences of two states, in the order of keys.
func differences(before, after map[string]Item, revision int64, isSparse bool) []Change {
	var changes []Change
	tell := func(a, b *Item) {
		change, isOne := differenceOf(a, b, "", revision)
		if !isOne && isSparse && a != nil && b != nil && a.Revision != b.Revision {
			change.Op, change.Key, isOne = OpChange, b.Key, true
		}
		if isOne {
			changes = append(changes, change)
		}
	}
	for key, was := range before {
		if is, ok := after[key]; !ok {
			tell(&was, nil)
		} else if was.Revision != is.Revision || !isSparse && !sameAttributes(was.Attributes, is.Attributes) {
			tell(&was, &is)
		}
	}
	for key, is := range after {
		if _, ok := before[key]; !ok {
			tell(nil, &is)
		}
	}
	sortChanges(changes)
	return changes
}

// epochOf is the part of a cursor that changes when the pool is made anew.
func epochOf(cursor string) string {
	return cursor[:max(0, strings.LastIndexByte(cursor, '-'))]
}

// revisionOf reads the revision of a cursor, <epoch>-<revision>; 0 where it isn't one.
func revisionOf(cursor string) int64 {
	at := strings.LastIndexByte(cursor, '-')
	revision, err := strconv.ParseInt(cursor[at+1:], 10, 64)
	if at < 0 || err != nil || revision < 0 {
		return 0
	}
	return revision
}

// isFinal says whether a stream ended for good; else it may come back.
func isFinal(err error) bool {
	if err == nil {
		return false
	}
	var own *Error
	if errors.As(err, &own) {
		switch own.Code {
		case CodeUnreachable, CodeTimeout:
			return false
		}
		return !own.isTemporary
	}
	if problem, ok := asProblem(err); ok {
		return !problem.Retryable && problem.Status < 500
	}
	return true
}
