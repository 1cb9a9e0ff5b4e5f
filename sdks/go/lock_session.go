package stargus

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/stargus/stargus/sdks/go/internal/sse"
)

// lockSession is the one session that a client has for its locks. It is renewed at a third of its lease, reckoned from when the
// last renewal that was answered was sent; when that runs out, or the server says that the session is over, all its locks are
// lost, and the next lock makes a new one. Its stream is open while a lock is held or waited for.
type lockSession struct {
	client *Client
	id     string
	epoch  int64
	lease  time.Duration

	// life is over when the session is to end; over is closed when it is known to be.
	life context.Context
	stop context.CancelFunc
	over chan struct{}

	mu       sync.Mutex
	isEnded  bool
	why      error
	deadline time.Time
	held     map[string]*Held
	waiting  map[string]chan lockNews
	// asking are requests for locks. lostEarly are locks that were lost before what the requests were answered was taken in: the
	// stream may be faster than the answer.
	asking    int
	lostEarly map[string]lockNews
	// users are locks that are held or asked for; the stream is open while there are any.
	users     int
	endStream context.CancelFunc
	isHearing bool
}

// lockSession answers the client's session, and makes it where there is none.
func (c *Client) lockSession(ctx context.Context, lease time.Duration) (*lockSession, error) {
	for {
		c.mu.Lock()
		if c.isClosed {
			c.mu.Unlock()
			return nil, closedError("client")
		}
		if s := c.session; s != nil {
			c.mu.Unlock()
			return s, nil
		}
		making := c.making
		if making == nil {
			making = make(chan struct{})
			c.making = making
			c.mu.Unlock()
			s, err := c.beginSession(ctx, lease)
			c.mu.Lock()
			c.making = nil
			close(making)
			if err == nil && c.isClosed {
				err = closedError("client")
				go s.end()
			} else if err == nil {
				c.session = s
			}
			c.mu.Unlock()
			return s, err
		}
		c.mu.Unlock()
		select {
		case <-making:
		case <-ctx.Done():
			return nil, ofContext(ctx)
		}
	}
}

func (c *Client) beginSession(ctx context.Context, lease time.Duration) (*lockSession, error) {
	body := []byte(`{"ttlMs":` + strconv.FormatInt(lease.Milliseconds(), 10) + `}`)
	sent := time.Now()
	answer, err := c.call(ctx, http.MethodPost, c.poolURL+"/sessions", nil, body)
	if err != nil {
		return nil, err
	}
	var told struct {
		Session string `json:"session"`
		Epoch   int64  `json:"epoch"`
	}
	if err := answer.into(&told); err != nil {
		return nil, err
	}
	s := &lockSession{
		client: c, id: told.Session, epoch: told.Epoch, lease: lease, over: make(chan struct{}),
		deadline: sent.Add(lease), held: map[string]*Held{}, waiting: map[string]chan lockNews{},
	}
	s.life, s.stop = context.WithCancel(context.Background())
	if !c.start(s.renewAlways) {
		return nil, closedError("client")
	}
	return s, nil
}

func (s *lockSession) header() http.Header {
	return http.Header{"Stargus-Session": []string{s.id + ";epoch=" + strconv.FormatInt(s.epoch, 10)}}
}

// renewAlways is the goroutine that renews the lease, and knows when it has run out.
func (s *lockSession) renewAlways() {
	next := s.lease / 3
	for {
		due, stop := after(next)
		select {
		case <-due:
		case <-s.life.Done():
			stop()
			return
		}
		sent := time.Now()
		s.mu.Lock()
		left := s.deadline.Sub(sent)
		s.mu.Unlock()
		if left <= 0 {
			s.isOver(errLeaseOver)
			return
		}
		// Not for longer than the lease: whatever would be answered then comes too late. And not for all that is left of it: a
		// connection that is dead without a word must leave time for another one.
		ctx, cancel := context.WithTimeout(s.life, min(left, s.lease/3))
		_, err := s.client.call(withMode(ctx, callMode{retryFor: 0}), http.MethodPost,
			s.client.poolURL+"/sessions/"+escape(s.id)+"/renew", s.header(), nil)
		cancel()
		switch {
		case err == nil:
			s.mu.Lock()
			s.deadline = sent.Add(s.lease)
			s.mu.Unlock()
			next = max(0, s.lease/3-time.Since(sent))
		case s.life.Err() != nil:
			return
		case isSessionOver(err):
			s.isOver(err)
			return
		default:
			// Soon again, as long as there is time.
			next = min(s.lease/20+time.Millisecond, max(0, left-time.Since(sent)))
		}
	}
}

var errLeaseOver = errors.New("the lease ran out without a renewal that was answered")

// isOver loses all locks.
func (s *lockSession) isOver(why error) {
	s.mu.Lock()
	if s.isEnded {
		s.mu.Unlock()
		return
	}
	s.isEnded, s.why = true, why
	held := s.held
	s.held = map[string]*Held{}
	close(s.over)
	s.mu.Unlock()
	for _, h := range held {
		h.lose("the session that held the lock is over", why)
	}
	s.stop()
	s.client.mu.Lock()
	if s.client.session == s {
		s.client.session = nil
	}
	s.client.mu.Unlock()
}

func (s *lockSession) overWhy() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(s.why, ErrClosed) {
		return s.why
	}
	return &Error{Code: CodeLockLost, Detail: "the session that waited for the lock is over", cause: s.why}
}

// end ends the session with the client: its locks are given back.
func (s *lockSession) end() {
	s.mu.Lock()
	wasEnded := s.isEnded
	s.mu.Unlock()
	if !wasEnded {
		s.isOver(closedError("client"))
		ctx, cancel := goodbye()
		defer cancel()
		_, _ = s.client.call(ctx, http.MethodDelete, s.client.poolURL+"/sessions/"+escape(s.id), s.header(), nil)
	}
	s.stop()
}

// use counts who needs the stream, opens it for the first and closes it after the last.
func (s *lockSession) use(by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users += by
	if s.users > 0 && s.endStream == nil && !s.isEnded {
		ctx, cancel := context.WithCancel(s.life)
		s.endStream = cancel
		if !s.client.start(func() { s.hear(ctx) }) {
			cancel()
		}
	}
	if s.users == 0 && s.endStream != nil {
		s.endStream()
		s.endStream, s.isHearing = nil, false
	}
}

func (s *lockSession) keep(h *Held) {
	s.mu.Lock()
	isEnded, why := s.isEnded, s.why
	if !isEnded {
		s.held[h.id] = h
	}
	early, isEarly := s.lostEarly[h.id]
	s.mu.Unlock()
	if isEnded {
		h.lose("the session that held the lock is over", why)
	} else if isEarly {
		s.loses(h, early)
	}
}

// asks counts requests for locks.
func (s *lockSession) asks(by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asking += by; s.asking == 0 {
		s.lostEarly = nil
	} else if s.lostEarly == nil {
		s.lostEarly = map[string]lockNews{}
	}
}

func (s *lockSession) forget(id string) {
	s.mu.Lock()
	_, was := s.held[id]
	delete(s.held, id)
	s.mu.Unlock()
	if was {
		s.use(-1)
	}
}

func (s *lockSession) listen(id string) chan lockNews {
	news := make(chan lockNews, 16)
	s.mu.Lock()
	s.waiting[id] = news
	s.mu.Unlock()
	return news
}

func (s *lockSession) deaf(id string) {
	s.mu.Lock()
	delete(s.waiting, id)
	s.mu.Unlock()
}

// hears says whether the stream is live.
func (s *lockSession) hears() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isHearing
}

// hear keeps the session's stream open.
func (s *lockSession) hear(ctx context.Context) {
	var back comeBack
	cursor := ""
	for {
		started, wasLive := time.Now(), false
		end := s.client.readStream(ctx, func(ctx context.Context) (*http.Response, error) {
			request := s.client.api.SessionsAPI.StreamSession(ctx, s.client.pool, s.id).
				Renew(false).StargusSession(s.header().Get("Stargus-Session"))
			if cursor != "" {
				request = request.LastEventID(cursor)
			}
			return request.Stream()
		}, func(event sse.Event) error {
			if event.HasID {
				cursor = event.ID
			}
			switch event.Name {
			case "live":
				wasLive = true
				s.setHearing(ctx, true)
				// What happened before the stream began is told to nobody.
				s.lookAtAll(ctx)
			case "reset":
				s.lookAtAll(ctx)
			case "lock":
				if news, ok := parseLockNews(event.Data); ok {
					s.tell(news)
				}
			}
			return problemEvent(event)
		})
		s.setHearing(ctx, false)
		if ctx.Err() != nil || s.client.gone.Err() != nil {
			return
		}
		if isSessionOver(end.err) || CodeOf(end.err) == "forbidden" {
			s.isOver(end.err)
			return
		}
		if end.reason == "expired" {
			s.client.pipeline.renewSoon()
		}
		if s.client.pipeline.sleep(ctx, back.wait(wasLive, time.Since(started), end.pause, chance())) != nil {
			return
		}
	}
}

func (s *lockSession) setHearing(ctx context.Context, is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() == nil {
		s.isHearing = is
	}
}

// tell takes news of a lock that is held or waited for.
func (s *lockSession) tell(news lockNews) {
	s.mu.Lock()
	h, waiting := s.held[news.Lock], s.waiting[news.Lock]
	if h == nil && s.asking > 0 && news.isLoss() {
		s.lostEarly[news.Lock] = news
	}
	s.mu.Unlock()
	if waiting != nil {
		select {
		case waiting <- news:
		default:
		}
	}
	if h == nil {
		return
	}
	switch {
	case news.Type == "granted":
		h.mu.Lock()
		h.fence = max(h.fence, news.Fence)
		h.mu.Unlock()
	case news.isLoss():
		s.loses(h, news)
	}
}

func (s *lockSession) loses(h *Held, news lockNews) {
	s.forget(h.id)
	h.lose("the server says that the lock is "+news.Type, nil)
}

// lookAtAll asks for each lock how it is, beside the stream.
func (s *lockSession) lookAtAll(ctx context.Context) {
	s.mu.Lock()
	held := make([]*Held, 0, len(s.held))
	for _, h := range s.held {
		held = append(held, h)
	}
	for _, news := range s.waiting {
		select {
		case news <- lockNews{Type: "look"}:
		default:
		}
	}
	s.mu.Unlock()
	if len(held) == 0 {
		return
	}
	s.client.start(func() {
		for _, h := range held {
			if _, err := s.look(ctx, h.id, 0); CodeOf(err) == "notFound" {
				s.forget(h.id)
				h.lose("the server knows the lock no more", err)
			}
		}
	})
}
