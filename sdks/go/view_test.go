package stargus

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/stargus/stargus/sdks/go/internal/sse"
)

func feedView(t *testing.T, v *view, name, id string, hasID bool, data any) (*step, error) {
	t.Helper()
	text, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	next, err := v.prepare(sse.Event{Name: name, ID: id, HasID: hasID, Data: text})
	if next != nil {
		v.commit(next)
	}
	return next, err
}

type m = map[string]any

func item(key string, revision int, attributes m) m {
	return m{"collection": "c", "key": key, "revision": revision, "createdRevision": 1, "attributes": attributes}
}

func liveView(t *testing.T) *view {
	v := &view{collection: "c", items: map[string]Item{}}
	v.begin()
	feedView(t, v, "snapshot", "", false, m{"view": "c", "revision": 5, "part": 1, "items": []m{item("a", 1, m{"x": 1})}})
	feedView(t, v, "snapshot", "", false, m{"view": "c", "revision": 5, "part": 2, "items": []m{item("b", 2, m{"x": 2})}})
	if len(v.items) != 0 {
		t.Fatal("a snapshot shows before it is complete")
	}
	next, err := feedView(t, v, "live", "e-5", true, m{"view": "c", "revision": 5})
	if err != nil || !next.becomes || len(next.changes) != 0 || len(v.items) != 2 || v.revision != 5 || v.cursor != "e-5" {
		t.Fatal("the first snapshot: ", err, next, v)
	}
	return v
}

func change(op, key string, attributes m, removed ...string) m {
	changed := []string{}
	for name := range attributes {
		changed = append(changed, name)
	}
	return m{"op": op, "collection": "c", "key": key, "attributes": attributes, "changed": append(changed, removed...), "removed": removed}
}

func TestCommitsInParts(t *testing.T) {
	v := liveView(t)
	if next, _ := feedView(t, v, "changes", "e-5", false, m{"revision": 6, "more": true, "changes": []m{change("delete", "a", nil)}}); next != nil {
		t.Fatal("part of a commit was shown")
	}
	next, err := feedView(t, v, "changes", "e-6", true, m{"revision": 6, "changes": []m{change("add", "d", m{"y": 1})}})
	if err != nil || len(next.changes) != 2 || v.revision != 6 || v.cursor != "e-6" {
		t.Fatal(err, next)
	}
	if _, ok := v.items["a"]; ok || v.items["d"].Revision != 6 {
		t.Fatal(v.items)
	}
}

func TestWhatWasSeenIsDiscarded(t *testing.T) {
	v := liveView(t)
	if next, err := feedView(t, v, "changes", "e-5", true, m{"revision": 5, "changes": []m{change("delete", "a", nil)}}); next != nil || err != nil {
		t.Fatal(next, err)
	}
	if len(v.items) != 2 {
		t.Fatal("a revision was applied twice")
	}
}

func TestResetKeepsTheOldState(t *testing.T) {
	v := liveView(t)
	feedView(t, v, "reset", "", true, m{"view": "c", "reason": "compacted"})
	feedView(t, v, "snapshot", "", false, m{"view": "c", "revision": 9, "part": 1, "items": []m{item("a", 8, m{"x": 7}), item("z", 9, m{})}})
	if len(v.items) != 2 || v.items["a"].Attributes["x"] != 1.0 || v.resume != "" || v.isLive {
		t.Fatal("the old state is gone before the new one is there")
	}
	next, _ := feedView(t, v, "live", "f-9", true, m{"view": "c", "revision": 9})
	var told []string
	for _, one := range next.changes {
		told = append(told, fmt.Sprint(one.Op, " ", one.Key, one.Changed, one.Removed, one.Revision))
	}
	if want := []string{"change a[x] [] 9", "delete b[x] [x] 9", "add z[] [] 9"}; !reflect.DeepEqual(told, want) {
		t.Fatalf("%q", told)
	}
}

func TestResetToAnEarlierRevision(t *testing.T) {
	v := liveView(t)
	feedView(t, v, "reset", "", true, m{"view": "c", "reason": "epoch"})
	feedView(t, v, "snapshot", "", false, m{"view": "c", "revision": 1, "part": 1, "items": []m{}})
	feedView(t, v, "live", "g-1", true, m{"view": "c", "revision": 1})
	if v.revision < 1 || len(v.items) != 0 {
		t.Fatal(v.revision, v.items)
	}
	if next, _ := feedView(t, v, "changes", "g-2", true, m{"revision": 2, "changes": []m{change("add", "n", m{"x": 1})}}); next == nil || len(v.items) != 1 {
		t.Fatal("the commits of a new pool are taken for old ones")
	}
}

func TestSnapshotThatEndsInTheMiddleIsDropped(t *testing.T) {
	v := &view{collection: "c", items: map[string]Item{}}
	v.begin()
	feedView(t, v, "snapshot", "", false, m{"view": "c", "revision": 5, "part": 1, "items": []m{item("gone", 1, m{})}})
	v.begin()
	feedView(t, v, "snapshot", "", false, m{"view": "c", "revision": 5, "part": 1, "items": []m{item("a", 1, m{})}})
	feedView(t, v, "live", "e-5", true, m{"view": "c", "revision": 5})
	if _, ok := v.items["gone"]; ok || len(v.items) != 1 {
		t.Fatal(v.items)
	}
}

func TestWhatANewerServerSays(t *testing.T) {
	v := liveView(t)
	for name, data := range map[string]m{
		"weather": {"revision": 9}, "snapshot": {"view": "other", "revision": 9, "items": []m{item("q", 9, m{})}}, "live": {"view": "other", "revision": 9},
	} {
		if next, err := feedView(t, v, name, "e-9", false, data); next != nil || err != nil {
			t.Fatal(name, next, err)
		}
	}
	next, err := feedView(t, v, "changes", "e-6", true, m{"revision": 6, "wind": 1, "changes": []m{
		change("replace", "a", m{"x": 9}), {"op": "archive", "collection": "c", "key": "b"}, change("delete", "a2", nil),
		{"op": "add", "collection": "elsewhere", "key": "k", "attributes": m{}},
	}})
	if err != nil || len(next.changes) != 1 || next.changes[0].Op != OpChange || v.items["a"].Attributes["x"] != 9.0 || len(v.items) != 2 {
		t.Fatal(err, next, v.items)
	}
}

func TestSparseViewHasNoValues(t *testing.T) {
	v := &view{collection: "c", isSparse: true, items: map[string]Item{}}
	v.begin()
	feedView(t, v, "snapshot", "", false, m{"view": "c", "revision": 5, "part": 1, "items": []m{{"key": "a", "revision": 3}}})
	feedView(t, v, "live", "e-5", true, m{"view": "c", "revision": 5})
	next, _ := feedView(t, v, "changes", "e-6", true, m{"revision": 6, "changes": []m{{"op": "change", "key": "a", "changed": []string{"x"}}}})
	if v.items["a"].Revision != 6 || v.items["a"].Attributes != nil || len(next.changes) != 1 {
		t.Fatal(v.items, next)
	}
}

func TestCommitLargerThanItsBound(t *testing.T) {
	v := liveView(t)
	v.partsBytes = commitBytesMax
	if _, err := feedView(t, v, "changes", "", false, m{"revision": 6, "more": true, "changes": []m{}}); CodeOf(err) != CodeEventTooLarge {
		t.Fatal(err)
	}
}

// A pool and its mirror, side by side: random commits told whole, in parts and again, with streams that are cut anywhere, resets
// and snapshots. Whenever the mirror is live it is as the pool was at its revision, and its changes lead from each state to the next.
func TestViewAgainstAModel(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 7))
		states := map[int]map[string]m{0: {}}
		log := map[int][]m{}
		now := 0
		write := func() {
			before := states[now]
			now++
			after := map[string]m{}
			for key, value := range before {
				after[key] = value
			}
			var changes []m
			for range 1 + random.IntN(4) {
				key := string(rune('a' + random.IntN(6)))
				already := false
				for _, one := range changes {
					already = already || one["key"] == key
				}
				if already {
					continue
				}
				value, is := before[key]
				switch {
				case is && random.IntN(3) == 0:
					delete(after, key)
					changes = append(changes, change("delete", key, nil, "x"))
				case is:
					next := m{"x": random.IntN(9), "n": now}
					set := m{"x": next["x"], "n": now}
					if random.IntN(2) == 0 {
						next = m{"n": now}
						changes = append(changes, change("change", key, m{"n": now}, "x"))
					} else {
						changes = append(changes, change("change", key, set))
					}
					_ = value
					after[key] = next
				default:
					after[key] = m{"x": random.IntN(9), "n": now}
					changes = append(changes, change("add", key, after[key]))
				}
			}
			states[now], log[now] = after, changes
		}
		v := &view{collection: "c", items: map[string]Item{}}
		shown := map[string]m{}
		check := func(next *step, err error) {
			if err != nil {
				t.Fatal(seed, err)
			}
			if next == nil {
				return
			}
			if v.isKnown && !(next.becomes && next.items != nil && len(next.changes) == 0) {
				for _, one := range next.changes {
					if one.Item == nil {
						delete(shown, one.Key)
					} else {
						shown[one.Key] = one.Item.Attributes
					}
				}
			} else {
				clear(shown)
				for key, one := range v.items {
					shown[key] = one.Attributes
				}
			}
			want := states[int(v.revision)]
			is := map[string]m{}
			for key, one := range v.items {
				is[key] = one.Attributes
			}
			a, _ := json.Marshal(want)
			b, _ := json.Marshal(is)
			c, _ := json.Marshal(shown)
			if string(a) != string(b) || string(a) != string(c) {
				t.Fatalf("seed %d at %d: pool %s, mirror %s, by changes %s", seed, v.revision, a, b, c)
			}
		}
		for range 12 {
			for range random.IntN(5) {
				write()
			}
			v.begin()
			at := revisionOf(v.resume)
			if v.resume == "" || random.IntN(4) == 0 {
				if v.resume != "" {
					check(feedView(t, v, "reset", "", true, m{"view": "c", "reason": "slow"}))
				}
				at = int64(now)
				part := 0
				tell := func(items []m) {
					part++
					check(feedView(t, v, "snapshot", "", false, m{"view": "c", "revision": at, "part": part, "items": items}))
				}
				for key, value := range states[int(at)] {
					tell([]m{item(key, now, value)})
				}
				tell([]m{})
				if random.IntN(3) == 0 {
					continue // cut in the middle of the snapshot
				}
			} else {
				// What was seen already comes again.
				at = max(0, at-int64(random.IntN(3)))
			}
			caughtUp := false
			for {
				if at == int64(now) && !caughtUp {
					caughtUp = true
					check(feedView(t, v, "live", fmt.Sprintf("e-%d", at), true, m{"view": "c", "revision": at}))
				}
				if random.IntN(6) == 0 {
					break
				}
				if at == int64(now) {
					write()
					continue
				}
				at++
				changes := log[int(at)]
				for len(changes) > 1 && random.IntN(2) == 0 {
					check(feedView(t, v, "changes", "", false, m{"revision": at, "more": true, "changes": changes[:1]}))
					changes = changes[1:]
				}
				if random.IntN(12) == 0 && len(changes) < len(log[int(at)]) {
					break // cut in the middle of a commit
				}
				check(feedView(t, v, "changes", fmt.Sprintf("e-%d", at), true, m{"revision": at, "changes": changes}))
				if random.IntN(5) == 0 {
					check(feedView(t, v, "bookmark", fmt.Sprintf("e-%d", at), true, m{"revision": at}))
				}
			}
		}
	}
}

func TestItemsOfJoinedCommitsHaveTheirOwnRevision(t *testing.T) {
	v := liveView(t)
	joined := change("change", "a", m{"x": 3})
	joined["revision"] = 7
	same := m{"op": "change", "collection": "c", "key": "b", "attributes": m{}, "changed": []string{}, "removed": []string{}, "revision": 6}
	next, err := feedView(t, v, "changes", "e-9", true, m{"revision": 9, "changes": []m{joined, same}})
	if err != nil || v.items["a"].Revision != 7 || v.items["b"].Revision != 6 || v.items["b"].Attributes["x"] != 2.0 {
		t.Fatal(err, v.items)
	}
	// Of the one that is as it was nobody is told.
	if len(next.changes) != 1 || next.changes[0].Key != "a" || next.changes[0].Revision != 9 || next.changes[0].Item.Revision != 7 {
		t.Fatalf("%+v", next.changes)
	}
}

func TestItemsOlderThanTheCommitThatTellsThem(t *testing.T) {
	for _, isSparse := range []bool{false, true} {
		v := liveView(t)
		v.isSparse = isSparse
		told := []m{change("change", "a", m{"x": 9}), change("add", "z", m{"y": 1}), change("change", "b", m{"x": 3})}
		told[0]["revision"], told[1]["revision"] = 7, 4
		next, err := feedView(t, v, "changes", "e-9", true, m{"revision": 9, "changes": told})
		if err != nil || v.revision != 9 || len(next.changes) != 3 {
			t.Fatal(err, next)
		}
		for i, want := range []struct {
			key      string
			revision int64
		}{{"a", 7}, {"z", 4}, {"b", 9}} {
			one := next.changes[i]
			if v.items[want.key].Revision != want.revision || one.Item.Revision != want.revision || one.Revision != 9 {
				t.Fatal(want, v.items[want.key], one)
			}
		}
	}
	for _, wrong := range []any{0, -1, 7, 5.5, "5", true} {
		v := liveView(t)
		told := change("change", "a", m{"x": 9})
		told["revision"] = wrong
		for _, more := range []bool{false, true} {
			if next, err := feedView(t, v, "changes", "e-6", true, m{"revision": 6, "more": more, "changes": []m{told}}); next != nil || CodeOf(err) != CodeProtocolError {
				t.Fatal(wrong, next, err)
			}
		}
	}
}
