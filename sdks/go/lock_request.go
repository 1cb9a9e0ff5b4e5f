package stargus

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// How a lock is asked for, waited for and given back. Whatever becomes of who asked, the server isn't left with a lock that nobody
// knows of: the session that lives on would keep everybody else out by it.

// lockState is what the server says of a lock.
type lockState struct {
	Lock  string `json:"lock"`
	State string `json:"state"`
	Fence int64  `json:"fence"`
}

// lock asks for a lock and waits until it is granted.
func (s *lockSession) lock(ctx context.Context, scopes []Scope, options lockOptions) (*Held, error) {
	body, err := encode(map[string]any{
		"session": s.id, "epoch": s.epoch, "mode": options.mode, "scopes": scopes, "waitMs": options.wait.Milliseconds(), "requestId": newUUID(),
	})
	if err == nil && options.note != "" {
		note, noteErr := encode(options.note)
		body, err = append(append(append(body[:len(body)-1], `,"note":`...), note...), '}'), noteErr
	}
	if err != nil {
		return nil, err
	}
	s.asks(1)
	defer s.asks(-1)
	s.use(1)
	granted := false
	defer func() {
		if !granted {
			s.use(-1)
		}
	}()
	type asked struct {
		state lockState
		err   error
	}
	answered := make(chan asked, 1)
	ask := func(ctx context.Context) (state lockState, err error) {
		mode := callMode{retryFor: -1, noRetryOf: waitRefusals}
		answer, err := s.client.call(withMode(ctx, mode), http.MethodPost, s.client.poolURL+"/locks", nil, body)
		if err == nil {
			err = answer.into(&state)
		}
		return state, err
	}
	// The request outlives a caller who gives up: what it is granted then has to be given back.
	started := s.client.start(func() {
		state, err := ask(s.client.gone)
		answered <- asked{state, err}
		if !isUnheard(err) {
			return
		}
		// It may have been granted, and only the answer was lost. The same request is answered by the same lock.
		s.untilHeard(func(ctx context.Context) error {
			state, err := ask(ctx)
			if err == nil {
				s.giveBack(state.Lock)
			}
			return err
		})
	})
	if !started {
		return nil, closedError("client")
	}
	var state lockState
	select {
	case one := <-answered:
		if one.err != nil {
			return nil, one.err
		}
		state = one.state
	case <-ctx.Done():
		s.client.start(func() {
			if one := <-answered; one.err == nil {
				s.giveBack(one.state.Lock)
			}
		})
		return nil, ofContext(ctx)
	}
	if state.State != "granted" {
		if state.Fence, err = s.await(ctx, state.Lock, options.wait); err != nil {
			if !errors.Is(err, ErrLockConflict) {
				s.giveBack(state.Lock)
			}
			return nil, err
		}
	}
	h := &Held{client: s.client, session: s, id: state.Lock, fence: state.Fence, unlocked: make(chan struct{})}
	h.ctx, h.cancel = context.WithCancelCause(ctx)
	if ctx.Err() != nil {
		s.giveBack(state.Lock)
		return nil, ofContext(ctx)
	}
	granted = true
	s.keep(h)
	return h, nil
}

// waitRefusals are told at once, although the server says that the request may be repeated.
var waitRefusals = []string{"lockConflict", "deadlock"}

// isUnheard: nobody knows whether the server did what it was asked for, or it may do it later.
func isUnheard(err error) bool {
	return err != nil && !isFinal(err) && !slices.Contains(waitRefusals, CodeOf(err))
}

// untilHeard does something until the server has answered it for good, or the session is over, and all its locks with it.
func (s *lockSession) untilHeard(do func(context.Context) error) {
	var back comeBack
	for {
		err := do(s.life)
		if !isUnheard(err) || s.client.pipeline.sleep(s.life, back.wait(false, 0, pauseOf(err), chance())) != nil {
			return
		}
	}
}

// giveBack gives back what nobody waits for any more.
func (s *lockSession) giveBack(id string) {
	s.client.start(func() {
		s.untilHeard(func(ctx context.Context) error { return s.release(ctx, id) })
	})
}

func (s *lockSession) release(ctx context.Context, id string) error {
	_, err := s.client.call(ctx, http.MethodDelete, s.client.poolURL+"/locks/"+escape(id), s.header(), nil)
	return err
}

// await waits until a lock that waits is granted: by the session's stream, or by asking while there is none.
func (s *lockSession) await(ctx context.Context, id string, wait time.Duration) (int64, error) {
	news := s.listen(id)
	defer s.deaf(id)
	// The server tells when the time is over; this is for the case that nothing of it arrives.
	limit := time.NewTimer(wait + s.client.options.requestTimeout)
	defer limit.Stop()
	// What happened before anybody listened is asked for once.
	ask := true
	for {
		if ask || !s.hears() {
			ask = false
			held := lockPollMax
			if s.hears() {
				held = 0
			}
			state, err := s.look(ctx, id, held)
			if s.life.Err() != nil {
				return 0, s.overWhy()
			}
			switch {
			case err != nil && CodeOf(err) == "notFound":
				return 0, waitIsOver(nil)
			case err != nil && isFinal(err):
				return 0, err
			case err == nil && state.State == "granted":
				return state.Fence, nil
			}
		}
		poll, stop := after(time.Second)
		select {
		case told := <-news:
			stop()
			switch told.Type {
			case "granted":
				return told.Fence, nil
			case "deadlock":
				return 0, &Problem{Code: "deadlock", Status: http.StatusConflict, Detail: "to wait for this lock would be for ever", Retryable: true}
			case "lost", "broken":
				if s.life.Err() != nil {
					return 0, s.overWhy()
				}
				return 0, waitIsOver(nil)
			}
			ask = true
		case <-poll:
		case <-limit.C:
			stop()
			s.giveBack(id)
			return 0, waitIsOver(nil)
		case <-s.over:
			stop()
			return 0, s.overWhy()
		case <-ctx.Done():
			stop()
			return 0, ofContext(ctx)
		}
	}
}

// look asks how a lock is; with held, the server answers when it no longer waits, or after that time.
func (s *lockSession) look(ctx context.Context, id string, held time.Duration) (lockState, error) {
	at := s.client.poolURL + "/locks/" + escape(id)
	if held > 0 {
		at += "?waitMs=" + strconv.FormatInt(held.Milliseconds(), 10)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.client.gone, cancel)()
	var state lockState
	answer, err := s.client.call(ctx, http.MethodGet, at, nil, nil)
	if err == nil {
		err = answer.into(&state)
	}
	return state, err
}

func waitIsOver(cause error) error {
	return &Error{Code: "lockConflict", Detail: "the lock wasn't granted in the time that was to be waited", cause: cause}
}

// lockNews is an event of the session's stream.
type lockNews struct {
	Lock   string `json:"lock"`
	Type   string `json:"type"`
	Fence  int64  `json:"fence"`
	Reason string `json:"reason"`
}

// isLoss: a wait for more that took too long leaves what was held, and has its fence.
func (n lockNews) isLoss() bool { return n.Type == "broken" || n.Type == "lost" && n.Fence == 0 }

func parseLockNews(data []byte) (news lockNews, ok bool) {
	return news, json.Unmarshal(data, &news) == nil && news.Lock != "" && !strings.ContainsAny(news.Lock, "/?#")
}
