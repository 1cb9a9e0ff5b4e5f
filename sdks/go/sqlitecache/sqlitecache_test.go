package sqlitecache

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	stargus "github.com/stargus/stargus/sdks/go"
)

// server tells a collection of three items, and to who comes back with a cursor what it missed.
func server(t *testing.T) (url string, cursors func() []string) {
	var mu sync.Mutex
	var seen []string
	one := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1" {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"name":"stargus","version":"1","apiVersion":"v1"}`)
			return
		}
		mu.Lock()
		cursor := r.Header.Get("Last-Event-ID")
		seen = append(seen, cursor)
		mu.Unlock()
		w.Header().Set("Content-Type", "text/event-stream")
		if cursor == "" {
			fmt.Fprint(w, "event: snapshot\ndata: {\"view\":\"c\",\"revision\":3,\"part\":1,\"items\":[")
			for i := range 3 {
				fmt.Fprintf(w, `{"key":"k%d","revision":%d,"attributes":{"text":%q}}`, i, i+1, strings.Repeat("<é>", 300))
				if i < 2 {
					fmt.Fprint(w, ",")
				}
			}
			fmt.Fprint(w, "]}\n\n")
		}
		fmt.Fprint(w, "event: live\nid: e-3\ndata: {\"view\":\"c\",\"revision\":3}\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(func() { one.CloseClientConnections(); one.Close() })
	return one.URL, func() []string { mu.Lock(); defer mu.Unlock(); return append([]string(nil), seen...) }
}

func attach(t *testing.T, url string, c stargus.Cache, tell func(error)) (*stargus.Client, *stargus.Mirror, error) {
	t.Helper()
	client, err := stargus.Connect(context.Background(), url, "p", stargus.WithOnProblem(tell))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	mirror, err := client.Attach(context.Background(), "c", stargus.WithCache(c))
	return client, mirror, err
}

// filled makes a cache of three items and closes it.
func filled(t *testing.T, url, path string) {
	t.Helper()
	client, mirror, err := attach(t, url, File(path), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := mirror.Ready(context.Background()); err != nil || mirror.Len() != 3 {
		t.Fatal(err)
	}
	client.Close()
}

func TestOpenedAgainItShowsWhatItHad(t *testing.T) {
	url, cursors := server(t)
	path := filepath.Join(t.TempDir(), "cache")
	filled(t, url, path)
	_, mirror, err := attach(t, url, File(path), nil)
	if err != nil || mirror.Len() != 3 || mirror.Revision() != 3 {
		t.Fatal(err)
	}
	if err := mirror.Ready(context.Background()); err != nil {
		t.Fatal(err)
	}
	if is := cursors(); len(is) != 2 || is[1] != "e-3" {
		t.Fatal(is)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatal(info.Mode(), err)
	}
	if _, _, err := attach(t, url, File(path), nil); !errors.Is(err, stargus.ErrCacheInUse) {
		t.Fatal("two mirrors have it: ", err)
	}
}

func TestDamageIsFound(t *testing.T) {
	url, cursors := server(t)
	alter := func(statement string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			db, err := sql.Open("sqlite", path)
			if err == nil {
				_, err = db.Exec(statement)
			}
			if err != nil {
				t.Fatal(err)
			}
			db.Close()
		}
	}
	for name, damage := range map[string]func(*testing.T, string){
		"an item that isn't as it was": alter("UPDATE item SET attributes = '{}' WHERE key = 'k1'"),
		"one that is missing":          alter("DELETE FROM item WHERE key = 'k1'"),
		"one too many":                 alter("INSERT INTO item VALUES ('x', 1, '{}')"),
		"no JSON":                      alter("UPDATE item SET attributes = '{' WHERE key = 'k1'"),
		"another cursor":               alter("UPDATE about SET value = 'e-2' WHERE name = 'cursor'"),
		"another view":                 alter("UPDATE about SET value = '[]' WHERE name = 'view'"),
		"no table":                     alter("DROP TABLE item"),
		"another version":              alter("PRAGMA user_version = 2"),
		"half a file": func(t *testing.T, path string) {
			if err := os.Truncate(path, 5000); err != nil {
				t.Fatal(err)
			}
		},
		"rubbish behind the head": func(t *testing.T, path string) {
			text, _ := os.ReadFile(path)
			for i := 100; i < len(text); i++ {
				text[i] = byte(i * 7)
			}
			os.WriteFile(path, text, 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "cache")
			filled(t, url, path)
			damage(t, path)
			before := len(cursors())
			client, mirror, err := attach(t, url, File(path), nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := mirror.Ready(context.Background()); err != nil || mirror.Len() != 3 {
				t.Fatal(err, mirror.Len())
			}
			if is := cursors()[before]; is != "" {
				t.Fatal("what is damaged was believed: ", is)
			}
			client.Close()
			filled(t, url, path)
			if is := cursors()[before+1]; is != "e-3" {
				t.Fatal("it wasn't made anew: ", is)
			}
		})
	}
}

func TestFilesOfOthersAreNotTouched(t *testing.T) {
	url, _ := server(t)
	for name, make := range map[string]func(path string){
		"a text": func(path string) { os.WriteFile(path, []byte("my diary"), 0o644) },
		"a database": func(path string) {
			db, _ := sql.Open("sqlite", path)
			db.Exec("CREATE TABLE mine (x); INSERT INTO mine VALUES (1)")
			db.Close()
		},
	} {
		path := filepath.Join(t.TempDir(), "file")
		make(path)
		before, _ := os.ReadFile(path)
		_, _, err := attach(t, url, File(path), nil)
		after, _ := os.ReadFile(path)
		if !errors.Is(err, stargus.ErrCacheFailed) || string(before) != string(after) {
			t.Fatal(name, err)
		}
	}
	if _, _, err := attach(t, url, File(filepath.Join(t.TempDir(), "no", "such", "folder")), nil); !errors.Is(err, stargus.ErrCacheFailed) {
		t.Fatal(err)
	}
}

func TestFullDisk(t *testing.T) {
	url, _ := server(t)
	told := make(chan error, 9)
	_, mirror, err := attach(t, url, cache{path: filepath.Join(t.TempDir(), "cache"), pagesMax: 4}, func(err error) { told <- err })
	if err != nil {
		t.Fatal(err)
	}
	if err := mirror.Ready(context.Background()); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-told:
		if !errors.Is(err, stargus.ErrCacheFailed) {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nobody was told")
	}
	if mirror.Len() != 3 || !mirror.IsLive() {
		t.Fatal("the mirror doesn't go on without")
	}
}

// TestAnotherProcess is run as a process of its own by the test below: it holds the file until its input ends.
func TestAnotherProcess(t *testing.T) {
	path := os.Getenv("CACHE_HELD_BY_ANOTHER")
	if path == "" {
		t.Skip("it is started by TestTwoProcesses")
	}
	held, err := File(path).OpenCache(context.Background())
	fmt.Println("opened:", err)
	if err == nil {
		os.Stdin.Read(make([]byte, 1))
		held.Close()
	}
}

func TestTwoProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache")
	other := exec.Command(os.Args[0], "-test.run=^TestAnotherProcess$", "-test.v")
	other.Env = append(os.Environ(), "CACHE_HELD_BY_ANOTHER="+path)
	in, _ := other.StdinPipe()
	out, _ := other.StdoutPipe()
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	text := ""
	for buffer := make([]byte, 256); !strings.Contains(text, "opened:"); {
		n, err := out.Read(buffer)
		if text += string(buffer[:n]); err != nil {
			t.Fatal(text, err)
		}
	}
	if _, err := File(path).OpenCache(context.Background()); !errors.Is(err, stargus.ErrCacheInUse) {
		t.Fatal(err)
	}
	in.Close()
	other.Wait()
	held, err := File(path).OpenCache(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	held.Close()
}
