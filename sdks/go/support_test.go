package stargus_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	stargus "github.com/stargus/stargus/sdks/go"
	"github.com/stargus/stargus/sdks/go/internal/testserver"
)

func TestMain(m *testing.M) {
	code := m.Run()
	testserver.Stop()
	os.Exit(code)
}

type m = map[string]any

var pools atomic.Int64

// newPool is a name that no other test has, on whatever server.
func newPool() string { return fmt.Sprintf("go-%d-%d", time.Now().UnixNano(), pools.Add(1)) }

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func connect(t testing.TB, url, pool string, options ...stargus.ConnectOption) *stargus.Client {
	t.Helper()
	client, err := stargus.Connect(soon(t), url, pool, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func attach(t testing.TB, client *stargus.Client, collection string, options ...stargus.AttachOption) *stargus.Mirror {
	t.Helper()
	mirror, err := client.Attach(context.Background(), collection, options...)
	if err != nil {
		t.Fatal(err)
	}
	if err := mirror.Ready(soon(t)); err != nil {
		t.Fatal(err)
	}
	return mirror
}

func must[T any](t testing.TB) func(T, error) T {
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	if stargus.CodeOf(err) != code {
		t.Fatalf("wanted %s, got %v", code, err)
	}
}

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for until := time.Now().Add(15 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("never came: ", what)
		}
	}
}

// noLeaks fails unless everything that was started since is gone after the test.
func noLeaks(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for until := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(until) {
				stacks := make([]byte, 1<<20)
				t.Fatalf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), stacks[:runtime.Stack(stacks, true)])
			}
		}
	})
}

const about = `{"name":"stargus","version":"9.9.9","apiVersion":"v1","features":[],"limits":{},"mood":"new"}`

// fake is a server that says what a test wants it to say; /v1 is answered as a server of this API does.
func fake(t testing.TB, handle http.HandlerFunc) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1" && handle != nil {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, about)
			return
		}
		handle(w, r)
	}))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return server.URL
}

func streams(text ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, one := range text {
			fmt.Fprint(w, one)
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
	}
}

func ended(t testing.TB, url string, options ...stargus.ConnectOption) error {
	t.Helper()
	client := connect(t, url, "p", options...)
	mirror, err := client.Attach(context.Background(), "c")
	if err != nil {
		t.Fatal(err)
	}
	err = mirror.Ready(soon(t))
	if err == nil {
		<-mirror.Done()
		err = mirror.Err()
	}
	if !errors.Is(err, mirror.Err()) {
		t.Fatal("Err tells something else: ", mirror.Err())
	}
	return err
}

const hello = "event: hello\ndata: {\"pool\":\"p\",\"epoch\":\"e\",\"heartbeatMs\":15000,\"expiresInMs\":600000}\n\n"

func event(name, id, data string) string {
	var text strings.Builder
	text.WriteString("event: " + name + "\n")
	if id != "" {
		text.WriteString("id: " + id + "\n")
	}
	return text.String() + "data: " + data + "\n\n"
}
