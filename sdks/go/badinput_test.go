package stargus_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	stargus "github.com/stargus/stargus/sdks/go"
)

func TestConnectRefusesWhatIsNoStargus(t *testing.T) {
	noLeaks(t)
	for name, c := range map[string]struct {
		kind, body string
		status     int
		code       string
	}{
		"a page":                  {"text/html", "<html>", 200, stargus.CodeNotStargus},
		"a page that says sorry":  {"text/html", "<html>", 502, stargus.CodeNotStargus},
		"another program":         {"application/json", `{"hello":1}`, 200, stargus.CodeNotStargus},
		"another program's 404":   {"text/plain", "no", 404, stargus.CodeNotStargus},
		"a redirect":              {"", "", 302, stargus.CodeNotStargus},
		"another version":         {"application/json", strings.Replace(about, `"v1"`, `"v2"`, 1), 200, stargus.CodeIncompatibleServer},
		"a server without our v1": {"application/problem+json", `{"code":"notFound","status":404}`, 404, stargus.CodeIncompatibleServer},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", c.kind)
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(c.status)
			fmt.Fprint(w, c.body)
		}))
		_, err := stargus.Connect(soon(t), server.URL, "p", stargus.WithRetryFor(300*time.Millisecond))
		if stargus.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
		server.Close()
	}
}

func TestStreamInPlaceOfAnAnswerIsNotWaitedFor(t *testing.T) {
	noLeaks(t)
	for _, kind := range []string{"text/event-stream", "application/x-ndjson"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}))
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		_, err := stargus.Connect(ctx, server.URL, "p", stargus.WithRequestTimeout(100*time.Millisecond), stargus.WithRetryFor(0))
		wantCode(t, err, stargus.CodeNotStargus)
		cancel()
		server.CloseClientConnections()
		server.Close()
	}
}

func TestNobodyAnswers(t *testing.T) {
	noLeaks(t)
	listener, _ := net.Listen("tcp", "127.0.0.1:0")
	at := "http://" + listener.Addr().String()
	listener.Close()
	_, err := stargus.Connect(soon(t), at, "p", stargus.WithRetryFor(0))
	wantCode(t, err, stargus.CodeUnreachable)
	for _, bad := range []string{"", "127.0.0.1:1", "ftp://x", "http://u:secret@h", "http://h/?q"} {
		_, err := stargus.Connect(soon(t), bad, "p")
		if stargus.CodeOf(err) != "badRequest" || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestNoAnswerInTime(t *testing.T) {
	noLeaks(t)
	at := fake(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	client := connect(t, at, "p", stargus.WithRequestTimeout(100*time.Millisecond), stargus.WithRetryFor(250*time.Millisecond))
	_, _, err := client.Get(context.Background(), "c", "k")
	wantCode(t, err, stargus.CodeTimeout)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	_, _, err = client.Get(ctx, "c", "k")
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, stargus.ErrTimeout) {
		t.Fatal(err)
	}
	cancelled, stop := context.WithCancel(context.Background())
	stop()
	if _, _, err = client.Get(cancelled, "c", "k"); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	hanging := make(chan error)
	go func() { _, _, err := client.Get(context.Background(), "c", "k"); hanging <- err }()
	time.Sleep(20 * time.Millisecond)
	client.Close()
	wantCode(t, <-hanging, stargus.CodeClosed)
	_, _, err = client.Get(context.Background(), "c", "k")
	wantCode(t, err, stargus.CodeClosed)
}

func TestRequestsAreRepeatedUnderOneKey(t *testing.T) {
	noLeaks(t)
	var keys []string
	at := fake(t, func(w http.ResponseWriter, r *http.Request) {
		keys = append(keys, r.Header.Get("Idempotency-Key"))
		switch len(keys) {
		case 1:
			hijacked, _, _ := w.(http.Hijacker).Hijack()
			hijacked.Close()
		case 2:
			w.Header().Set("Content-Type", "application/problem+json")
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(503)
			fmt.Fprint(w, `{"code":"unavailable","status":503,"retryable":true}`)
		case 3:
			w.WriteHeader(502)
		default:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"key":"k","revision":4,"attributes":{},"changed":[],"new":{}}`)
		}
	})
	client := connect(t, at, "p")
	item, err := client.Set(soon(t), "c", "k", m{"x": 1})
	if err != nil || item.Revision != 4 || len(keys) != 4 || keys[0] == "" || keys[0] != keys[1] || keys[0] != keys[3] {
		t.Fatal(item, err, keys)
	}
	_, err = client.Set(soon(t), "c", "k", nil, stargus.IdempotencyKey("mine"))
	if err != nil || keys[4] != "mine" {
		t.Fatal(err, keys)
	}
}

func TestGivesUpWithTheLastRefusal(t *testing.T) {
	at := fake(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(429)
		fmt.Fprint(w, `{"code":"tooManyRequests","status":429,"retryable":true,"detail":"slow down","requestId":"r-1"}`)
	})
	began := time.Now()
	_, err := connect(t, at, "p").Set(soon(t), "c", "k", m{})
	var problem *stargus.Problem
	if !errors.As(err, &problem) || problem.Status != 429 || problem.RequestID != "r-1" || time.Since(began) > 5*time.Second {
		t.Fatal(err)
	}
}

func TestStreamsThatAreNone(t *testing.T) {
	noLeaks(t)
	page := func(kind, body string, status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}
	}
	for name, c := range map[string]struct {
		handle http.HandlerFunc
		code   string
	}{
		"a page":            {page("text/html", "<html>", 200), stargus.CodeNotStargus},
		"an answer of JSON": {page("application/json", "{}", 200), stargus.CodeNotStargus},
		"a refusal":         {page("application/problem+json", `{"code":"forbidden","status":403}`, 403), "forbidden"},
		"no JSON inside":    {streams(hello, event("snapshot", "", "{")), stargus.CodeProtocolError},
		"a problem inside":  {streams(hello, event("problem", "", `{"code":"forbidden","status":403,"view":"c"}`)), "forbidden"},
	} {
		if err := ended(t, fake(t, c.handle)); stargus.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEventOf100MiBIsNotRead(t *testing.T) {
	noLeaks(t)
	var sent atomic.Int64
	at := fake(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, hello+"event: snapshot\ndata: {\"items\":[\"")
		block := strings.Repeat("x", 1<<20)
		for range 100 {
			if _, err := fmt.Fprint(w, block); err != nil {
				return
			}
			sent.Add(1)
		}
	})
	wantCode(t, ended(t, at, stargus.WithEventBytesMax(2<<20)), stargus.CodeEventTooLarge)
	if sent.Load() > 50 {
		t.Fatal("it was read to its end: ", sent.Load())
	}
}

func TestStreamThatEndsInASnapshot(t *testing.T) {
	noLeaks(t)
	var lives atomic.Int64
	at := fake(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		if lives.Add(1) == 1 {
			fmt.Fprint(w, hello+event("snapshot", "", `{"view":"c","revision":3,"part":1,"items":[{"key":"old","revision":1,"attributes":{}}]}`))
			return
		}
		streams(hello, event("snapshot", "", `{"view":"c","revision":4,"part":1,"items":[{"key":"a","revision":4,"attributes":{"x":1}}]}`),
			event("weather", "", `{"new":true}`), event("live", "e-4", `{"view":"c","revision":4}`))(w, r)
	})
	mirror := attach(t, connect(t, at, "p"), "c")
	if mirror.Len() != 1 || !mirror.Has("a") || mirror.Revision() != 4 {
		t.Fatal(mirror.Snapshot())
	}
}

func TestSilentStreamIsDead(t *testing.T) {
	noLeaks(t)
	var lives atomic.Int64
	var last atomic.Value
	at := fake(t, func(w http.ResponseWriter, r *http.Request) {
		lives.Add(1)
		last.Store(r.Header.Get("Last-Event-ID"))
		streams(strings.Replace(hello, "15000", "40", 1), event("live", "e-4", `{"view":"c","revision":4}`))(w, r)
	})
	mirror := attach(t, connect(t, at, "p"), "c")
	eventually(t, "another stream", func() bool { return lives.Load() >= 2 && last.Load() == "e-4" })
	mirror.Close()
	wantCode(t, mirror.Ready(soon(t)), stargus.CodeClosed)
}

func TestByeIsKept(t *testing.T) {
	noLeaks(t)
	var times []time.Time
	at := fake(t, func(w http.ResponseWriter, r *http.Request) {
		times = append(times, time.Now())
		if len(times) == 1 {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, hello+event("live", "e-4", `{"view":"c","revision":4}`)+event("bye", "", `{"reason":"shutdown","retryMs":700}`))
			return
		}
		streams(hello, event("live", "e-5", `{"view":"c","revision":5}`))(w, r)
	})
	mirror := attach(t, connect(t, at, "p"), "c")
	if err := mirror.Reached(soon(t), 5); err != nil {
		t.Fatal(err)
	}
	if waited := times[1].Sub(times[0]); waited < 600*time.Millisecond {
		t.Fatal(waited)
	}
}

func TestContextEndsAMirror(t *testing.T) {
	noLeaks(t)
	at := fake(t, streams(hello, event("live", "e-4", `{"view":"c","revision":4}`)))
	ctx, cancel := context.WithCancel(context.Background())
	mirror, err := connect(t, at, "p").Attach(ctx, "c")
	if err != nil || mirror.Ready(soon(t)) != nil {
		t.Fatal(err)
	}
	changes := mirror.Changes(soon(t))
	cancel()
	<-mirror.Done()
	for _, err := range changes {
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if mirror.IsLive() {
		t.Fatal("it is live after its end")
	}
}

func TestIteratorThatIsTooSlow(t *testing.T) {
	noLeaks(t)
	var text strings.Builder
	for i := 5; i < 12_000; i++ {
		text.WriteString(event("changes", fmt.Sprint("e-", i), fmt.Sprintf(`{"revision":%d,"changes":[{"op":"add","collection":"c","key":"k%d","changed":["x"],"removed":[],"attributes":{"x":1}}]}`, i, i)))
	}
	begin := make(chan struct{})
	at := fake(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, hello+event("live", "e-4", `{"view":"c","revision":4}`))
		w.(http.Flusher).Flush()
		<-begin
		streams(text.String())(w, r)
	})
	mirror := attach(t, connect(t, at, "p"), "c")
	var called atomic.Int64
	mirror.OnChange(func(stargus.Change) { called.Add(1) })
	mirror.OnChange(func(stargus.Change) { panic("of a listener") })
	changes := mirror.Changes(soon(t))
	close(begin)
	if err := mirror.Reached(soon(t), 11_999); err != nil {
		t.Fatal(err)
	}
	first := true
	for change, err := range changes {
		if err != nil || first && change.Op != stargus.OpReset {
			t.Fatal(change, err)
		}
		first = false
		if change.Revision == 11_999 {
			break
		}
	}
	eventually(t, "all callbacks", func() bool { return called.Load() == 11_995 })
}

func TestWriteThatIsGivenUpIsNotOvertaken(t *testing.T) {
	noLeaks(t)
	first := make(chan struct{})
	var order []string
	var mu sync.Mutex
	url := fake(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/attach") {
			streams(hello+event("live", "e-0", `{"view":"c","revision":0}`))(w, r)
			return
		}
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), "first") {
			<-first
		}
		mu.Lock()
		order = append(order, string(body))
		mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"key":"k","revision":1,"attributes":{}}`)
	})
	client := connect(t, url, "p")
	mirror := attach(t, client, "c")
	var writing sync.WaitGroup
	write := func(ctx context.Context, name string) {
		writing.Add(1)
		go func() {
			defer writing.Done()
			mirror.Set(ctx, "k", m{"n": name})
		}()
		eventually(t, name, func() bool { item, _ := mirror.Get("k"); return item.Attributes["n"] == name })
	}
	write(soon(t), "first")
	givenUp, giveUp := context.WithCancel(context.Background())
	write(givenUp, "second")
	write(soon(t), "third")
	giveUp()
	time.Sleep(200 * time.Millisecond)
	mu.Lock()
	early := len(order)
	mu.Unlock()
	close(first)
	writing.Wait()
	if early != 0 || len(order) != 2 || !strings.Contains(order[0], "first") || !strings.Contains(order[1], "third") {
		t.Fatal(early, order)
	}
	client.Close()
}

func TestMirrorOfSomebodyElseBeginsAnew(t *testing.T) {
	noLeaks(t)
	type opened struct{ who, cursor string }
	opens := make(chan opened, 10)
	url := fake(t, func(w http.ResponseWriter, r *http.Request) {
		who := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if strings.HasSuffix(r.URL.Path, "/auth/me") {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"subject":%q}`, who)
			return
		}
		opens <- opened{who, r.Header.Get("Last-Event-ID")}
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, hello)
		if r.Header.Get("Last-Event-ID") == "" {
			fmt.Fprint(w, event("snapshot", "", fmt.Sprintf(`{"view":"c","revision":3,"part":1,"items":[{"key":%q,"revision":1,"attributes":{}}]}`, who)))
		}
		fmt.Fprint(w, event("live", "e-3", `{"view":"c","revision":3}`))
		w.(http.Flusher).Flush()
		time.Sleep(1100 * time.Millisecond)
	})
	client := connect(t, url, "p")
	must[string](t)(client.Authenticate(soon(t), stargus.APIKey("ann")))
	mirror := attach(t, client, "c")
	must[string](t)(client.Authenticate(soon(t), stargus.APIKey("bob")))
	for _, want := range []opened{{"ann", ""}, {"bob", ""}, {"bob", "e-3"}} {
		if is := <-opens; is != want {
			t.Fatal(is, want)
		}
	}
	if !mirror.Has("bob") || mirror.Has("ann") {
		t.Fatal(mirror.Snapshot())
	}
	client.Close()
}

func TestWhoHasLeftHearsNothingMore(t *testing.T) {
	noLeaks(t)
	next := make(chan struct{})
	at := fake(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, hello, event("snapshot", "", `{"view":"c","revision":3,"part":1,"items":[]}`), event("live", "e-3", `{"view":"c","revision":3}`))
		w.(http.Flusher).Flush()
		<-next
		streams(event("changes", "e-4", `{"revision":4,"changes":[{"op":"add","key":"a","attributes":{}},{"op":"add","key":"b","attributes":{}}]}`))(w, r)
	})
	mirror := attach(t, connect(t, at, "p"), "c")
	changes := mirror.Changes(context.Background())
	heard, first, removed := make(chan string, 9), make(chan struct{}), make(chan struct{})
	remove := mirror.OnChange(func(change stargus.Change) {
		heard <- change.Key
		close(first)
		<-removed
	})
	done := make(chan struct{})
	mirror.OnChange(func(change stargus.Change) {
		if change.Key == "b" {
			close(done)
		}
	})
	close(next)
	<-first
	remove()
	close(removed)
	<-done
	if len(heard) != 1 {
		t.Fatal("a callback was called after it had been removed")
	}
	for change, err := range changes {
		if err != nil || change.Key != "a" {
			t.Fatal(change, err)
		}
		break
	}
	ended := make(chan int)
	go func() {
		n := 0
		for range changes {
			n++
		}
		ended <- n
	}()
	select {
	case n := <-ended:
		if n != 0 {
			t.Fatal("it was iterated twice: ", n)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("a second iteration waits for ever")
	}
}
