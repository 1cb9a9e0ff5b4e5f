package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// history is what test/robustness/history.ts wrote: what was asked, what came of it, and the pool's own log.
type history struct {
	Name    string
	Seed    int64
	Base    int64
	Epoch   string
	Commits []commit
	Ops     []*operation
	Watches []*watch
	// Every key that was ever asked for by name or told of.
	Keys []string
}

type commit struct {
	Revision int64
	Cursor   string
	Changes  []change
}

type change struct {
	Op         string
	Collection string
	Key        string
	Changed    []string
	Removed    []string
	Attributes *value
	Previous   *value
}

// value is an item's attributes: a token, which names the write that left it, and two others.
type value struct {
	T string `json:"t"`
	M string `json:"m"`
	N int64  `json:"n"`
}

func (v value) String() string { return fmt.Sprintf("%s|%s|%d", v.T, v.M, v.N) }

type operation struct {
	Client  int
	Node    int
	Call    int64
	Return  int64
	Request request
	Outcome outcome
	// The revision of the commit that the log has of it; 0 where it has none.
	Commit int64
}

type request struct {
	Kind         string
	Token        string
	Puts         []put
	Deletes      []string
	DeletePrefix *string
	Condition    *condition
	Key          string
	MinRevision  int64
}

type put struct {
	Key string
	How string
	M   string
}

type condition struct {
	Key      string
	Revision int64
}

type outcome struct {
	Outcome   string
	At        int64
	Committed bool
	Values    map[string]int64
	Existed   []string
	Items     []item
	Why       string
}

type item struct {
	Key             string
	Revision        int64
	CreatedRevision int64
	Attributes      *value
}

type watch struct {
	Watcher string
	Node    int
	Way     string
	Key     string
	Prefix  string
	Values  string
	Since   string
	Open    int64
	Close   int64
	Events  []event
}

type event struct {
	Time   int64
	Event  string
	Cursor string
	Data   struct {
		Revision int64
		Changes  []change
		More     bool
		Items    []item
		Part     int
		Reason   string
		Epoch    string
	}
}

func readHistory(path string) (*history, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	h := &history{}
	lines := bufio.NewReaderSize(file, 1<<20)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if len(line) == 0 && err != nil {
			break
		}
		if err := h.take(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	slices.SortFunc(h.Ops, func(a, b *operation) int { return int(a.Call - b.Call) })
	h.findKeys()
	return h, nil
}

func (h *history) take(line []byte) error {
	var kind struct{ Type string }
	if err := json.Unmarshal(line, &kind); err != nil {
		return err
	}
	switch kind.Type {
	case "about":
		var about struct {
			Name string
			Seed int64
			Base string
		}
		if err := json.Unmarshal(line, &about); err != nil {
			return err
		}
		h.Name, h.Seed = about.Name, about.Seed
		var err error
		h.Epoch, h.Base, err = parseCursor(about.Base)
		return err
	case "commit":
		var c commit
		if err := json.Unmarshal(line, &c); err != nil {
			return err
		}
		h.Commits = append(h.Commits, c)
	case "op":
		op := &operation{}
		if err := json.Unmarshal(line, op); err != nil {
			return err
		}
		h.Ops = append(h.Ops, op)
	case "watch":
		w := &watch{}
		if err := json.Unmarshal(line, w); err != nil {
			return err
		}
		h.Watches = append(h.Watches, w)
	}
	return nil
}

func (h *history) findKeys() {
	keys := map[string]bool{}
	for _, c := range h.Commits {
		for _, change := range c.Changes {
			keys[change.Key] = true
		}
	}
	for _, op := range h.Ops {
		r := op.Request
		if r.Kind == "get" {
			keys[r.Key] = true
		}
		if r.Condition != nil {
			keys[r.Condition.Key] = true
		}
		for _, put := range r.Puts {
			keys[put.Key] = true
		}
		for _, key := range r.Deletes {
			keys[key] = true
		}
		for _, item := range op.Outcome.Items {
			keys[item.Key] = true
		}
	}
	for key := range keys {
		h.Keys = append(h.Keys, key)
	}
	slices.Sort(h.Keys)
}

func (h *history) keysOf(prefix string) []string {
	var keys []string
	for _, key := range h.Keys {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	return keys
}

// deleted lists the keys that the write deletes where they are there.
func (h *history) deleted(r request) []string {
	if r.DeletePrefix != nil {
		return h.keysOf(*r.DeletePrefix)
	}
	return r.Deletes
}

// last is the revision of the last commit.
func (h *history) last() int64 {
	if len(h.Commits) == 0 {
		return h.Base
	}
	return h.Commits[len(h.Commits)-1].Revision
}

// after tells what the write makes of an item's attributes.
func (p put) after(token string, before value) value {
	m := before.M
	if p.M != "" || p.How == "put" {
		m = p.M
	}
	switch p.How {
	case "put":
		return value{T: token, M: m}
	case "increment":
		return value{T: token, M: m, N: before.N + 1}
	default:
		return value{T: token, M: m, N: before.N}
	}
}

func parseCursor(cursor string) (epoch string, revision int64, err error) {
	dash := strings.LastIndex(cursor, "-")
	if dash < 0 {
		return "", 0, fmt.Errorf("%q is no cursor", cursor)
	}
	revision, err = strconv.ParseInt(cursor[dash+1:], 10, 64)
	return cursor[:dash], revision, err
}
