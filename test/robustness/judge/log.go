package main

import (
	"maps"
	"slices"
	"strings"
)

// stored is an item in some state of the pool.
type stored struct {
	value
	Revision int64
	Created  int64
	// How often it was written since it was created: etcd wants to know.
	Version int64
}

// log is the pool's log and what follows from it.
type log struct {
	h *history
	// The state after each revision, from h.Base on.
	states []map[string]stored
	// The write that made each commit, by revision.
	by map[int64]*operation
}

// state is the pool's after a revision; nil where the log doesn't reach.
func (l *log) state(revision int64) map[string]stored {
	i := revision - l.h.Base
	if i < 0 || i >= int64(len(l.states)) {
		return nil
	}
	return l.states[i]
}

// judgeLog replays the log, finds who made each commit, and holds every answer against it.
func judgeLog(h *history, v *verdict) *log {
	l := &log{h: h, states: []map[string]stored{{}}, by: map[int64]*operation{}}
	finder := newFinder(h)
	for i := range h.Commits {
		c := &h.Commits[i]
		if c.Revision != h.Base+int64(i)+1 {
			v.fault("log", "the log has revision %d where %d is next", c.Revision, h.Base+int64(i)+1)
			// What comes after a hole can't be judged by its place.
			h.Commits = h.Commits[:i]
			break
		}
		l.judgeCursor(v, "the commit", c.Cursor, c.Revision)
		before := l.states[i]
		l.states = append(l.states, l.replay(v, c, before))
		op := finder.find(c, before)
		if op == nil {
			v.fault("log", "revision %d has %v, which nobody asked for, or it had been done already", c.Revision, describe(c))
			continue
		}
		op.Commit = c.Revision
		l.by[c.Revision] = op
		l.judgeEffect(v, c, op, before)
	}
	for _, op := range h.Ops {
		l.judgeAnswer(v, op)
	}
	l.judgeTimes(v)
	return l
}

func (l *log) judgeCursor(v *verdict, what, cursor string, revision int64) {
	epoch, at, err := parseCursor(cursor)
	if err != nil || epoch != l.h.Epoch || at != revision {
		v.fault("log", "%s at %d of the epoch %s has the cursor %q", what, revision, l.h.Epoch, cursor)
	}
}

// replay makes the next state, and looks whether each change fits the state before it.
func (l *log) replay(v *verdict, c *commit, before map[string]stored) map[string]stored {
	after := maps.Clone(before)
	for _, change := range c.Changes {
		was, existed := before[change.Key]
		if (change.Op == "add") == existed || (change.Op != "add" && change.Op != "change" && change.Op != "delete") {
			v.fault("log", "revision %d: %s of %s, which was there before: %t", c.Revision, change.Op, change.Key, existed)
		}
		judgeFormer(v, "log", c.Revision, change, was.value)
		now := value{}
		if change.Attributes != nil {
			now = *change.Attributes
		}
		judgeNames(v, "log", c.Revision, change, was.value, now)
		if change.Op == "delete" {
			delete(after, change.Key)
			continue
		}
		next := stored{value: now, Revision: c.Revision, Created: was.Created, Version: was.Version + 1}
		if !existed {
			next.Created = c.Revision
		}
		after[change.Key] = next
	}
	return after
}

// judgeFormer looks at the former values of what changed; others are not told.
func judgeFormer(v *verdict, by string, revision int64, change change, was value) {
	former := value{}
	for _, name := range change.Changed {
		switch name {
		case "t":
			former.T = was.T
		case "m":
			former.M = was.M
		case "n":
			former.N = was.N
		}
	}
	if change.Previous == nil || *change.Previous != former {
		v.fault(by, "revision %d: of %s was %v before, told is %v", revision, change.Key, former, change.Previous)
	}
}

func judgeNames(v *verdict, by string, revision int64, change change, was, now value) {
	if change.Op == "delete" {
		now = value{}
	}
	changed, removed := []string{}, []string{}
	add := func(name string, differs, isGone bool) {
		if differs {
			changed = append(changed, name)
		}
		if differs && isGone {
			removed = append(removed, name)
		}
	}
	add("m", was.M != now.M, now.M == "")
	add("n", was.N != now.N, now.N == 0)
	add("t", was.T != now.T, now.T == "")
	if !slices.Equal(changed, sorted(change.Changed)) || !slices.Equal(removed, sorted(change.Removed)) {
		v.fault(by, "revision %d: of %s changed %v and left %v, told are %v and %v", revision, change.Key, changed, removed, change.Changed, change.Removed)
	}
}

// judgeEffect holds a commit against what its write asked for.
func (l *log) judgeEffect(v *verdict, c *commit, op *operation, before map[string]stored) {
	r := op.Request
	if !holds(r.Condition, before) {
		v.fault("log", "revision %d: %s was done though %s was at revision %d, not %d", c.Revision, r.Token, r.Condition.Key, before[r.Condition.Key].Revision, r.Condition.Revision)
	}
	want := effect(l.h, r, before)
	got := map[string]value{}
	for _, change := range c.Changes {
		if change.Op == "delete" {
			got[change.Key] = value{}
		} else if change.Attributes != nil {
			got[change.Key] = *change.Attributes
		}
	}
	if !maps.Equal(want, got) {
		v.fault("log", "revision %d: %s makes %v of %v, the log has %v", c.Revision, r.Token, want, before, got)
	}
}

// effect tells what a write makes of the items that it changes; nothing, where it deletes them.
func effect(h *history, r request, before map[string]stored) map[string]value {
	after := map[string]value{}
	for _, put := range r.Puts {
		after[put.Key] = put.after(r.Token, before[put.Key].value)
	}
	for _, key := range h.deleted(r) {
		if _, existed := before[key]; existed {
			after[key] = value{}
		}
	}
	return after
}

func holds(c *condition, state map[string]stored) bool {
	return c == nil || state[c.Key].Revision == c.Revision
}

// judgeAnswer holds what a client was told against the state that it was told of.
func (l *log) judgeAnswer(v *verdict, op *operation) {
	r, o := op.Request, op.Outcome
	if o.Outcome == "unknown" || (o.Outcome == "failed" && op.Commit == 0) {
		return
	}
	if r.Kind == "write" && o.Outcome != "done" && op.Commit != 0 {
		v.fault("log", "%s was %s (%s), and the log has it at %d", r.Token, o.Outcome, o.Why, op.Commit)
		return
	}
	state := l.state(o.At)
	if state == nil {
		v.fault("log", "%s %s%s was answered at revision %d, which is not in the log", r.Kind, r.Key, r.Token, o.At)
		return
	}
	switch {
	case r.Kind != "write":
		l.judgeRead(v, op, state)
	case o.Outcome == "refused":
		if holds(r.Condition, state) {
			v.fault("log", "%s was refused at %d, where its condition held", r.Token, o.At)
		}
	case o.Committed:
		if op.Commit != o.At {
			v.fault("log", "%s was acknowledged at %d, and the log has it at %d", r.Token, o.At, op.Commit)
		} else {
			l.judgeDone(v, op)
		}
	case op.Commit != 0 || len(effect(l.h, r, state)) > 0 || !holds(r.Condition, state):
		v.fault("log", "a write of %v%v was answered as without effect at %d, which it isn't", r.Deletes, r.DeletePrefix, o.At)
	}
}

func (l *log) judgeDone(v *verdict, op *operation) {
	before, after := l.state(op.Commit-1), l.state(op.Commit)
	for key, n := range op.Outcome.Values {
		if after[key].N != n {
			v.fault("log", "%s was answered that %s counts %d, it counts %d", op.Request.Token, key, n, after[key].N)
		}
	}
	var existed []string
	for _, key := range l.h.deleted(op.Request) {
		if _, there := before[key]; there {
			existed = append(existed, key)
		}
	}
	if !slices.Equal(sorted(existed), sorted(op.Outcome.Existed)) {
		v.fault("log", "%s was answered that it deleted %v, it deleted %v", op.Request.Token, op.Outcome.Existed, existed)
	}
}

func (l *log) judgeRead(v *verdict, op *operation, state map[string]stored) {
	r, o := op.Request, op.Outcome
	if o.At < r.MinRevision {
		v.fault("log", "a read of %s was answered at %d, at least %d was asked for", r.Key, o.At, r.MinRevision)
	}
	keys := []string{r.Key}
	if r.Kind == "range" {
		keys = l.h.keysOf(r.Key)
	}
	judgeItems(v, "log", r.Kind+" "+r.Key, o.At, o.Items, keys, state)
}

// judgeItems looks whether the items are those with the keys in the state, in order.
func judgeItems(v *verdict, by, what string, at int64, items []item, keys []string, state map[string]stored) {
	i := 0
	for _, key := range keys {
		want, there := state[key]
		if !there {
			continue
		}
		if i >= len(items) || items[i].Key != key {
			v.fault(by, "%s at %d lacks %s", what, at, key)
			return
		}
		got := items[i]
		if got.Revision != want.Revision || got.CreatedRevision != want.Created || got.Attributes == nil || *got.Attributes != want.value {
			v.fault(by, "%s at %d has %s of %d since %d as %v, it is of %d since %d %v", what, at, key, got.Revision, got.CreatedRevision, got.Attributes, want.Revision, want.Created, want.value)
		}
		i++
	}
	if i < len(items) {
		v.fault(by, "%s at %d has %s, which isn't there", what, at, items[i].Key)
	}
}

// judgeTimes looks whether the order of revisions contradicts the clock: who asks after another was answered is later than it,
// and nobody is answered from a state that nobody had asked for yet.
func (l *log) judgeTimes(v *verdict) {
	type answer struct{ time, at int64 }
	var answers []answer
	for _, op := range l.h.Ops {
		if op.Outcome.Outcome == "done" || op.Outcome.Outcome == "refused" {
			answers = append(answers, answer{op.Return, op.Outcome.At})
		}
	}
	slices.SortFunc(answers, func(a, b answer) int { return int(a.time - b.time) })
	next, floor := 0, l.h.Base
	for _, op := range l.h.Ops {
		for ; next < len(answers) && answers[next].time < op.Call; next++ {
			floor = max(floor, answers[next].at)
		}
		if op.Commit != 0 && op.Commit <= floor {
			v.fault("log", "%s was asked for when revision %d had been told, and is at %d", op.Request.Token, floor, op.Commit)
		}
		if op.Outcome.Outcome != "done" && op.Outcome.Outcome != "refused" {
			continue
		}
		if op.Outcome.At < floor {
			v.fault("log", "%s %s%s was asked for when revision %d had been told, and is answered at %d", op.Request.Kind, op.Request.Key, op.Request.Token, floor, op.Outcome.At)
		}
		if by := l.by[op.Outcome.At]; by != nil && by.Call > op.Return {
			v.fault("log", "%s %s%s was answered at %d before that was asked for", op.Request.Kind, op.Request.Key, op.Request.Token, op.Outcome.At)
		}
	}
}

// finder finds the write that made a commit: by the token that it left, or, where it only deletes, by what it was answered, or
// by what it may have deleted where it wasn't.
type finder struct {
	h       *history
	byToken map[string]*operation
	deleted map[int64]*operation
	unknown []*operation
}

func newFinder(h *history) *finder {
	f := &finder{h: h, byToken: map[string]*operation{}, deleted: map[int64]*operation{}}
	for _, op := range h.Ops {
		if op.Request.Kind != "write" {
			continue
		}
		if len(op.Request.Puts) > 0 {
			f.byToken[op.Request.Token] = op
		} else if op.Outcome.Outcome == "done" && op.Outcome.Committed {
			f.deleted[op.Outcome.At] = op
		} else if op.Outcome.Outcome != "done" {
			f.unknown = append(f.unknown, op)
		}
	}
	return f
}

func (f *finder) find(c *commit, before map[string]stored) *operation {
	for _, change := range c.Changes {
		if change.Op != "delete" && change.Attributes != nil {
			op := f.byToken[change.Attributes.T]
			if op == nil || op.Commit != 0 {
				return nil
			}
			return op
		}
	}
	if op := f.deleted[c.Revision]; op != nil {
		return op
	}
	deleted := map[string]value{}
	for _, change := range c.Changes {
		deleted[change.Key] = value{}
	}
	// One whose outcome nobody knows, rather than one of which it was said that it wasn't done.
	for _, outcome := range []string{"unknown", "failed", "refused"} {
		for _, op := range f.unknown {
			fits := op.Commit == 0 && holds(op.Request.Condition, before) && maps.Equal(effect(f.h, op.Request, before), deleted)
			if op.Outcome.Outcome == outcome && fits {
				return op
			}
		}
	}
	return nil
}

func sorted(names []string) []string {
	return slices.Sorted(slices.Values(names))
}

func describe(c *commit) string {
	var parts []string
	for _, change := range c.Changes {
		text := change.Op + " " + change.Key
		if change.Attributes != nil {
			text += " " + change.Attributes.String()
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}
