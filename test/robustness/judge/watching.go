package main

import "strings"

// judgeWatching looks at what etcd's validators have no word for: snapshots, former values, names of attributes, cursors, and
// that nobody is told to begin anew where the log has it all.
func judgeWatching(h *history, l *log, v *verdict) {
	for _, w := range h.Watches {
		j := watchJudge{h: h, l: l, v: v, w: w}
		for i := range w.Events {
			j.take(&w.Events[i])
		}
	}
}

type watchJudge struct {
	h     *history
	l     *log
	v     *verdict
	w     *watch
	parts []item
	at    int64
}

func (j *watchJudge) fault(format string, args ...any) {
	j.v.fault("watching", "%s at node %d: "+format, append([]any{j.w.Watcher, j.w.Node + 1}, args...)...)
}

func (j *watchJudge) take(e *event) {
	revision := e.Data.Revision
	if e.Cursor != "" {
		epoch, at, err := parseCursor(e.Cursor)
		if err != nil || epoch != j.h.Epoch || (e.Event != "reset" && at != revision) {
			j.fault("%s of revision %d in the epoch %s has the cursor %s", e.Event, revision, j.h.Epoch, e.Cursor)
		}
	}
	switch e.Event {
	case "hello":
		if e.Data.Epoch != j.h.Epoch {
			j.fault("is greeted in the epoch %s, not %s", e.Data.Epoch, j.h.Epoch)
		}
	case "snapshot":
		j.parts = append(j.parts, e.Data.Items...)
		j.at = revision
	case "live":
		if j.parts != nil || (j.w.Way == "attach" && j.w.Since == "") {
			j.snapshot(revision)
		}
	case "changes":
		j.changes(e)
	case "reset", "problem":
		j.fault("is told %s (%s), though the log has it all", e.Event, e.Data.Reason)
	}
}

func (j *watchJudge) snapshot(revision int64) {
	state := j.l.state(revision)
	if state == nil {
		j.fault("has a snapshot of revision %d, which is not in the log", revision)
		return
	}
	if j.parts != nil && j.at != revision {
		j.fault("has a snapshot of revision %d, and is live at %d", j.at, revision)
	}
	keys := j.h.keysOf(j.w.Prefix)
	if j.w.Key != "" {
		keys = []string{j.w.Key}
	}
	judgeItems(j.v, "watching", "the snapshot of "+j.w.Watcher, revision, j.parts, keys, state)
	j.parts = nil
}

func (j *watchJudge) changes(e *event) {
	before := j.l.state(e.Data.Revision - 1)
	if by := j.l.by[e.Data.Revision]; by != nil && by.Call > e.Time {
		j.fault("is told %d before that was asked for", e.Data.Revision)
	}
	for _, change := range e.Data.Changes {
		if !j.w.sees(change.Key) {
			j.fault("is told of %s", change.Key)
		}
		if before == nil {
			continue
		}
		was := before[change.Key].value
		if j.w.Values == "full" {
			judgeFormer(j.v, "watching", e.Data.Revision, change, was)
		}
		judgeNames(j.v, "watching", e.Data.Revision, change, was, j.w.told(change, was))
	}
}

func (w *watch) sees(key string) bool {
	return strings.HasPrefix(key, w.Prefix) && (w.Key == "" || key == w.Key)
}

// told is what a client makes of a change: the item's attributes after it.
func (w *watch) told(change change, was value) value {
	if change.Op == "delete" || change.Attributes == nil {
		return value{}
	}
	now := *change.Attributes
	if w.Values == "full" {
		return now
	}
	merged := was
	for _, name := range change.Changed {
		switch name {
		case "t":
			merged.T = now.T
		case "m":
			merged.M = now.M
		case "n":
			merged.N = now.N
		}
	}
	return merged
}
