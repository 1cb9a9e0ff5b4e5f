package stargus_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"

	stargus "github.com/stargus/stargus/sdks/go"
	"github.com/stargus/stargus/sdks/go/internal/testserver"
)

// Two programs write the same few items through their mirrors, at random and at once, some of it refused. In the end both mirrors
// show what the server has, and who follows the changes alone has the same.
func TestMirrorsThatAreWrittenThroughConverge(t *testing.T) {
	url := testserver.Open(t)
	noLeaks(t)
	ctx, pool := soon(t), newPool()
	var mirrors []*stargus.Mirror
	var copies []map[string]map[string]any
	var mu sync.Mutex
	for i := range 2 {
		mirror := attach(t, connect(t, url, pool), "c", stargus.OnDenied(stargus.DeniedIsSilent))
		mirrors, copies = append(mirrors, mirror), append(copies, map[string]map[string]any{})
		mirror.OnChange(func(change stargus.Change) {
			mu.Lock()
			defer mu.Unlock()
			if change.Item == nil {
				delete(copies[i], change.Key)
			} else {
				copies[i][change.Key] = change.Item.Attributes
			}
		})
	}
	var all sync.WaitGroup
	for i, mirror := range mirrors {
		for w := range 4 {
			all.Add(1)
			random := rand.New(rand.NewPCG(uint64(i), uint64(w)))
			go func() {
				defer all.Done()
				for n := range 40 {
					key := fmt.Sprint("k", random.IntN(4))
					var err error
					switch random.IntN(4) {
					case 0:
						_, err = mirror.Set(ctx, key, m{"by": i, "n": n})
					case 1:
						_, err = mirror.Delete(ctx, key)
					case 2:
						_, err = mirror.Set(ctx, key, m{"refused": true}, stargus.IfRevision(1_000_000))
					default:
						_, err = mirror.Merge(ctx, key, m{fmt.Sprint("w", w): n})
					}
					if err != nil {
						t.Error(err)
					}
				}
			}()
		}
	}
	all.Wait()
	last, err := mirrors[0].Set(ctx, "last", m{"x": 1})
	if err != nil {
		t.Fatal(err)
	}
	truth := map[string]map[string]any{}
	for item, err := range connect(t, url, pool).Query(ctx, "c") {
		if err != nil {
			t.Fatal(err)
		}
		truth[item.Key] = item.Attributes
	}
	for i, mirror := range mirrors {
		if err := mirror.Reached(ctx, last.Revision); err != nil {
			t.Fatal(err)
		}
		shown := map[string]map[string]any{}
		for key, item := range mirror.All() {
			shown[key] = item.Attributes
		}
		if !reflect.DeepEqual(shown, truth) {
			t.Fatalf("mirror %d shows %v, and there is %v", i, shown, truth)
		}
		eventually(t, fmt.Sprint("the copy made of the changes of mirror ", i), func() bool {
			mu.Lock()
			defer mu.Unlock()
			return maps.EqualFunc(copies[i], truth, func(a, b map[string]any) bool { return reflect.DeepEqual(a, b) })
		})
	}
}
