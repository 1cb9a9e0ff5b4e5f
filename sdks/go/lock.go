package stargus

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Scope is a part of the pool that a lock covers: a collection, of it the keys from Start on before End, those that begin with
// Prefix, or the one Key; and of these items all or some attributes. The zero value is the whole pool.
type Scope struct {
	Collection string   `json:"collection,omitempty"`
	Key        string   `json:"key,omitempty"`
	Prefix     string   `json:"prefix,omitempty"`
	Start      string   `json:"start,omitempty"`
	End        string   `json:"end,omitempty"`
	Attributes []string `json:"attributes,omitempty"`
}

// LockMode says what a lock goes together with: shared with shared and one update, exclusive with nothing.
type LockMode string

// The modes of locks.
const (
	Exclusive LockMode = "exclusive"
	Update    LockMode = "update"
	Shared    LockMode = "shared"
)

// LockOption is an option of [Client.Lock].
type LockOption func(*lockOptions)

type lockOptions struct {
	mode   LockMode
	wait   time.Duration
	lease  time.Duration
	others []Scope
	note   string
}

// Mode is Exclusive where it isn't given.
func Mode(mode LockMode) LockOption { return func(o *lockOptions) { o.mode = mode } }

// Wait is how long to wait for one's turn, 30 s where it isn't given; then ErrLockConflict. 0: not at all.
func Wait(d time.Duration) LockOption { return func(o *lockOptions) { o.wait = max(0, d) } }

// Lease is how long the client's session lives without being renewed, 15 s where it isn't given: so long a lock outlives a
// client that has died. It counts when the session is made, by the first lock.
func Lease(d time.Duration) LockOption { return func(o *lockOptions) { o.lease = d } }

// Also locks other parts of the pool as well: all or none.
func Also(scopes ...Scope) LockOption {
	return func(o *lockOptions) { o.others = append(o.others, scopes...) }
}

// Note is for those who see the lock.
func Note(text string) LockOption { return func(o *lockOptions) { o.note = text } }

// Held is a lock that is held. What is written through it carries its proof, so that the server refuses it with ErrLockLost
// once the lock was lost.
type Held struct {
	client  *Client
	session *lockSession
	id      string

	ctx    context.Context
	cancel context.CancelCauseFunc

	mu       sync.Mutex
	fence    int64
	released bool
	err      error
	unlocked chan struct{}
}

// Lock waits for its turn and answers the lock. Give it back by Unlock; defer held.Unlock() does. ctx bounds the waiting, and
// is the parent of [Held.Context].
//
// Errors: ErrLockConflict when the time of waiting is over, ErrDeadlock when it would be for ever.
func (c *Client) Lock(ctx context.Context, scope Scope, options ...LockOption) (*Held, error) {
	chosen := lockOptions{mode: Exclusive, wait: defaultLockWait, lease: defaultLease}
	for _, option := range options {
		option(&chosen)
	}
	// A session that ended between two locks is found out by asking: then a new one, once.
	for again := false; ; again = true {
		session, err := c.lockSession(ctx, chosen.lease)
		if err != nil {
			return nil, err
		}
		held, err := session.lock(ctx, append([]Scope{scope}, chosen.others...), chosen)
		if err != nil && isSessionOver(err) {
			session.isOver(err)
			if !again {
				continue
			}
		}
		return held, err
	}
}

// isSessionOver: the server knows the session no more, or gave it to somebody else.
func isSessionOver(err error) bool {
	switch CodeOf(err) {
	case "sessionFenced", "notFound":
		return true
	}
	return false
}

// ID is the lock's name on the server.
func (h *Held) ID() string { return h.id }

// Fence is the rising number that was given with the grant.
func (h *Held) Fence() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.fence
}

// Context is over when the lock is given back or lost; context.Cause is then ErrLockLost (by errors.Is). Give it to what relies
// on the lock.
func (h *Held) Context() context.Context { return h.ctx }

// Err is ErrLockLost (by errors.Is) once the lock was lost, as far as the client knows.
func (h *Held) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// Unlock gives the lock back. It may be called more than once, and after the lock was lost. An error says that the server couldn't
// be told in time; it is told again until it has heard, or the session of the locks is over.
func (h *Held) Unlock() error {
	h.mu.Lock()
	if h.released {
		h.mu.Unlock()
		<-h.unlocked
		return nil
	}
	h.released = true
	h.mu.Unlock()
	defer close(h.unlocked)
	h.cancel(context.Canceled)
	h.session.forget(h.id)
	if h.Err() != nil {
		return nil
	}
	// The caller's context may be over by now, and the lock is to be given back all the same.
	ctx, cancel := context.WithTimeout(context.Background(), h.client.options.requestTimeout)
	defer cancel()
	err := h.session.release(ctx, h.id)
	if isSessionOver(err) || errors.Is(err, ErrClosed) {
		return nil
	}
	if isUnheard(err) {
		h.session.giveBack(h.id)
	}
	return err
}

// lose is called when it is known that the lock is lost.
func (h *Held) lose(detail string, cause error) {
	h.mu.Lock()
	if h.released || h.err != nil {
		h.mu.Unlock()
		return
	}
	h.err = &Error{Code: CodeLockLost, Detail: detail, cause: cause}
	err := h.err
	h.mu.Unlock()
	h.cancel(err)
}

func (h *Held) proof() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.id + ";fence=" + strconv.FormatInt(h.fence, 10)
}

// judged learns from what the server answered to a write through the lock.
func (h *Held) judged(err error) error {
	if problem, ok := asProblem(err); ok && problem.Code == CodeLockLost {
		h.session.forget(h.id)
		h.lose("the server says that the lock is lost", problem)
	}
	return err
}

func (h *Held) options(options []WriteOption) writeOptions {
	chosen := writeOptionsOf(options)
	chosen.proof = h.proof()
	return chosen
}

// Set is [Client.Set] with the lock's proof.
func (h *Held) Set(ctx context.Context, collection, key string, attributes any, options ...WriteOption) (Item, error) {
	item, err := h.client.write(ctx, http.MethodPut, collection, key, attributes, h.options(options))
	return item, h.judged(err)
}

// Merge is [Client.Merge] with the lock's proof.
func (h *Held) Merge(ctx context.Context, collection, key string, patch any, options ...WriteOption) (Item, error) {
	item, err := h.client.write(ctx, http.MethodPatch, collection, key, patch, h.options(options))
	return item, h.judged(err)
}

// Create is [Client.Create] with the lock's proof.
func (h *Held) Create(ctx context.Context, collection string, attributes any, key string, options ...WriteOption) (Item, error) {
	item, err := h.client.create(ctx, collection, attributes, key, h.options(options))
	return item, h.judged(err)
}

// Delete is [Client.Delete] with the lock's proof.
func (h *Held) Delete(ctx context.Context, collection, key string, options ...WriteOption) (existed bool, err error) {
	existed, _, err = h.client.delete(ctx, collection, key, h.options(options))
	return existed, h.judged(err)
}

// Increment is [Client.Increment] with the lock's proof.
func (h *Held) Increment(ctx context.Context, collection, key, attribute string, by float64, options ...WriteOption) (float64, error) {
	value, err := h.client.increment(ctx, collection, key, attribute, by, h.options(options))
	return value, h.judged(err)
}

// Batch is [Client.Batch] with the lock's proof.
func (h *Held) Batch(ctx context.Context, ops []Op, options ...BatchOption) (BatchResult, error) {
	var chosen batchOptions
	for _, option := range options {
		option(&chosen)
	}
	chosen.proof = h.proof()
	result, err := h.client.batch(ctx, ops, chosen)
	return result, h.judged(err)
}
