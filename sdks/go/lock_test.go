package stargus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	stargus "github.com/stargus/stargus/sdks/go"
)

// lockServer says what a server says of sessions and locks. What it does with a request for the lock is each test's.
type lockServer struct {
	mu sync.Mutex
	// loses has the methods whose answers never arrive, and lost counts them.
	loses map[string]bool
	lost  map[string]int
	// held are the locks that there are, by the request that they were asked for by.
	held map[string]string
	// live is closed when the session's stream has begun, and news are told on it.
	live chan struct{}
	news chan string
	// granted is told of a grant before it is answered.
	granted func(lock string)
	// renewed counts renewals, of which the first toHang are never answered.
	renewed, toHang int
}

func (s *lockServer) answer(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v1/pools/p")
	switch {
	case isStream(r):
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, hello, event("live", "e-1", `{"revision":1}`))
		w.(http.Flusher).Flush()
		select {
		case <-s.live:
		default:
			close(s.live)
		}
		for {
			select {
			case one := <-s.news:
				fmt.Fprint(w, event("lock", "", one))
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				return
			}
		}
	case path == "/sessions":
		s.tell(w, `{"session":"s","epoch":1}`)
	case path == "/locks":
		var asked struct {
			RequestID string `json:"requestId"`
		}
		json.NewDecoder(r.Body).Decode(&asked)
		s.mu.Lock()
		lock := s.held[asked.RequestID]
		if lock == "" {
			lock = fmt.Sprint("l", len(s.held)+1)
			s.held[asked.RequestID] = lock
		}
		s.mu.Unlock()
		if s.granted != nil {
			s.granted(lock)
		}
		if !s.breaks(w, r) {
			s.tell(w, `{"lock":"`+lock+`","state":"granted","fence":7}`)
		}
	case r.Method == http.MethodDelete && strings.HasPrefix(path, "/locks/"):
		if s.breaks(w, r) {
			return
		}
		s.mu.Lock()
		for request, lock := range s.held {
			if lock == strings.TrimPrefix(path, "/locks/") {
				delete(s.held, request)
			}
		}
		s.mu.Unlock()
		s.tell(w, `{}`)
	case strings.HasSuffix(path, "/renew"):
		s.mu.Lock()
		s.renewed++
		hangs := s.renewed <= s.toHang
		s.mu.Unlock()
		if hangs {
			<-r.Context().Done()
			return
		}
		s.tell(w, `{}`)
	default:
		s.tell(w, `{}`)
	}
}

func (s *lockServer) tell(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, body)
}

// breaks ends the connection instead of an answer.
func (s *lockServer) breaks(w http.ResponseWriter, r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.loses[r.Method] {
		return false
	}
	s.lost[r.Method]++
	connection, _, _ := w.(http.Hijacker).Hijack()
	connection.Close()
	return true
}

func (s *lockServer) losing(method string, is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loses[method] = is
}

func (s *lockServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held)
}

func newLockServer(t *testing.T) (*lockServer, string) {
	s := &lockServer{
		loses: map[string]bool{}, lost: map[string]int{}, held: map[string]string{}, live: make(chan struct{}), news: make(chan string, 9),
	}
	return s, fake(t, s.answer)
}

func TestLocksThatNobodyHeardOfAreGivenBack(t *testing.T) {
	for name, use := range map[string]func(*testing.T, *lockServer, *stargus.Client){
		"the grant was lost": func(t *testing.T, s *lockServer, c *stargus.Client) {
			must[*stargus.Held](t)(c.Lock(soon(t), stargus.Scope{})).Unlock()
			s.losing(http.MethodPost, true)
			_, err := c.Lock(soon(t), stargus.Scope{})
			wantCode(t, err, stargus.CodeUnreachable)
			s.losing(http.MethodDelete, true)
			s.losing(http.MethodPost, false)
		},
		"who asked has given up": func(t *testing.T, s *lockServer, c *stargus.Client) {
			ctx, cancel := context.WithCancel(soon(t))
			s.granted = func(string) { cancel(); time.Sleep(20 * time.Millisecond) }
			s.losing(http.MethodDelete, true)
			if _, err := c.Lock(ctx, stargus.Scope{}); err == nil {
				t.Fatal("a lock for nobody")
			}
		},
		"giving it back was lost": func(t *testing.T, s *lockServer, c *stargus.Client) {
			held := must[*stargus.Held](t)(c.Lock(soon(t), stargus.Scope{}))
			s.losing(http.MethodDelete, true)
			wantCode(t, held.Unlock(), stargus.CodeUnreachable)
		},
	} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			s, at := newLockServer(t)
			client := connect(t, at, "p", stargus.WithRetryFor(0))
			use(t, s, client)
			eventually(t, "an answer was lost", func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return s.lost[http.MethodDelete] > 0 && len(s.held) == 1
			})
			s.losing(http.MethodDelete, false)
			eventually(t, "the lock was given back", func() bool { return s.count() == 0 })
			client.Close()
		})
	}
}

// The stream is faster than the answer by which the lock is granted.
func TestLockThatIsBrokenBeforeItsGrantIsKnown(t *testing.T) {
	noLeaks(t)
	s, at := newLockServer(t)
	client := connect(t, at, "p")
	first := must[*stargus.Held](t)(client.Lock(soon(t), stargus.Scope{Key: "a"}))
	<-s.live
	s.granted = func(lock string) {
		s.news <- `{"lock":"` + lock + `","type":"broken"}`
		// The first lock hears what was told after it, so by then it has been taken in.
		s.news <- `{"lock":"` + first.ID() + `","type":"broken"}`
		<-first.Context().Done()
	}
	second := must[*stargus.Held](t)(client.Lock(soon(t), stargus.Scope{Key: "b"}))
	select {
	case <-second.Context().Done():
		if !errors.Is(context.Cause(second.Context()), stargus.ErrLockLost) {
			t.Fatal(context.Cause(second.Context()))
		}
	case <-soon(t).Done():
		t.Fatal("nobody said that it was lost")
	}
	client.Close()
}

func TestRenewalThatIsNeverAnsweredIsSentAgain(t *testing.T) {
	noLeaks(t)
	s, at := newLockServer(t)
	s.toHang = 1
	client := connect(t, at, "p")
	held := must[*stargus.Held](t)(client.Lock(soon(t), stargus.Scope{}, stargus.Lease(3*time.Second)))
	eventually(t, "two renewals that were answered", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.renewed >= 3 || held.Err() != nil
	})
	if held.Err() != nil {
		t.Fatal("one dead connection lost the lock: ", held.Err())
	}
	client.Close()
}
