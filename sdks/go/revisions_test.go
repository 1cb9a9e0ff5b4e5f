package stargus_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	stargus "github.com/stargus/stargus/sdks/go"
)

// Items whose own revision isn't that of the commit that tells of them.

func isStream(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/event-stream")
}

func TestOptimisticWritesLieOnTheItemsOwnRevision(t *testing.T) {
	noLeaks(t)
	arrived, answer := make(chan string, 1), make(chan struct{})
	at := fake(t, func(w http.ResponseWriter, r *http.Request) {
		if isStream(r) {
			streams(hello, event("snapshot", "", `{"view":"c","revision":3,"part":1,"items":[]}`), event("live", "e-3", `{"view":"c","revision":3}`),
				event("changes", "e-9", `{"revision":9,"changes":[{"op":"add","key":"k","revision":2,"changed":["x"],"removed":[],"attributes":{"x":1},"reason":"entered"}]}`))(w, r)
			return
		}
		arrived <- r.Header.Get("If-Match")
		<-answer
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"key":"k","revision":10,"attributes":{"x":2}}`)
	})
	mirror := attach(t, connect(t, at, "p"), "c")
	if err := mirror.Reached(soon(t), 9); err != nil {
		t.Fatal(err)
	}
	item, _ := mirror.Get("k")
	if item.Revision != 2 {
		t.Fatal(item)
	}
	written := make(chan error)
	go func() {
		_, err := mirror.Set(context.Background(), "k", m{"x": 2}, stargus.IfRevision(item.Revision))
		written <- err
	}()
	if match := <-arrived; match != `"2"` {
		t.Error("the server was asked for the revision ", match)
	}
	if shown, _ := mirror.Get("k"); shown.Attributes["x"] != 2.0 || shown.Revision != 2 {
		t.Error("not shown at once: ", shown)
	}
	close(answer)
	if err := <-written; err != nil {
		t.Fatal(err)
	}
}

// A value is read, and before it has come the mirror is told that the item is gone, or shows more than it did, at a revision of its
// own that is older than what was read.
func TestFetchIsNotOlderThanWhatTheMirrorWasTold(t *testing.T) {
	for name, told := range map[string]string{
		"deleted":      `{"op":"delete","key":"k","changed":["x"],"removed":["x"]}`,
		"shows more":   `{"op":"change","key":"k","revision":2,"changed":["y"],"removed":[]}`,
		"shows it new": `{"op":"change","key":"k","changed":["y"],"removed":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			asked, tell, answer := make(chan struct{}, 9), make(chan struct{}), make(chan struct{})
			at := fake(t, func(w http.ResponseWriter, r *http.Request) {
				if isStream(r) {
					w.Header().Set("Content-Type", "text/event-stream")
					fmt.Fprint(w, hello, event("snapshot", "", `{"view":"c","revision":3,"part":1,"items":[{"key":"k","revision":2}]}`),
						event("live", "e-3", `{"view":"c","revision":3}`))
					w.(http.Flusher).Flush()
					<-tell
					streams(event("changes", "e-9", `{"revision":9,"changes":[`+told+`]}`))(w, r)
					return
				}
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Stargus-Revision", "8")
				body := `{"key":"k","revision":2,"attributes":{"x":1}}`
				if r.Header.Get("Stargus-Min-Revision") == "9" {
					w.Header().Set("Stargus-Revision", "9")
					body = `{"key":"k","revision":2,"attributes":{"x":1,"y":1}}`
				}
				asked <- struct{}{}
				<-answer
				fmt.Fprint(w, body)
			})
			mirror := attach(t, connect(t, at, "p"), "c", stargus.ValuesNone)
			done := make(chan struct{})
			var item stargus.Item
			var found bool
			var err error
			go func() { defer close(done); item, found, err = mirror.Fetch(soon(t), "k") }()
			<-asked
			close(tell)
			if err := mirror.Reached(soon(t), 9); err != nil {
				t.Fatal(err)
			}
			close(answer)
			<-done
			if wants := name != "deleted"; err != nil || found != wants || wants && item.Attributes["y"] != 1.0 {
				t.Fatal("an old state was answered: ", item, found, err)
			}
		})
	}
}

func TestFeedTellsOfItemsThatAreOlder(t *testing.T) {
	for text, code := range map[string]string{`4`: "", `10`: stargus.CodeProtocolError, `0`: stargus.CodeProtocolError, `"4"`: stargus.CodeProtocolError} {
		commit := `{"revision":9,"changes":[{"op":"add","collection":"c","key":"k","revision":` + text + `,"attributes":{}}]`
		at := fake(t, func(w http.ResponseWriter, r *http.Request) {
			if isStream(r) {
				streams(hello, event("live", "e-3", `{"revision":3}`), event("changes", "e-9", commit+`}`))(w, r)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"commits":[`+commit+`,"cursor":"e-9"}],"cursor":"e-9","upToDate":true}`)
		})
		client := connect(t, at, "p")
		for _, follow := range []bool{false, true} {
			for commit, err := range client.Changes(soon(t), stargus.Since("e-3"), stargus.Follow(follow)) {
				if stargus.CodeOf(err) != code || err == nil && (commit.Revision != 9 || *commit.Changes[0].Revision != 4) {
					t.Error(text, follow, commit, err)
				}
				break
			}
		}
	}
}
