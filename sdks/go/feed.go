package stargus

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"strconv"
	"time"

	"github.com/stargus/stargus/sdks/go/internal/sse"
)

// Commit is all changes of one revision.
type Commit struct {
	Revision int64 `json:"revision"`
	// Cursor is the place after it: begin there the next time.
	Cursor string `json:"cursor"`
	// Time is the database's clock; order is told by the revision alone.
	Time    time.Time      `json:"time"`
	Subject string         `json:"subject"`
	Changes []CommitChange `json:"changes"`
}

type feedOptions struct {
	selection
	values     Values
	since      string
	collection string
	noFollow   bool
}

type feeding func(*feedOptions)

func (f feeding) toFeed(o *feedOptions) { f(o) }

// SinceStart begins with the oldest commit that the server keeps, and SinceNow with the first one after the call.
const (
	SinceStart = "start"
	SinceNow   = "now"
)

// Since begins after a cursor, or at SinceStart or SinceNow (which holds where it isn't given).
func Since(cursor string) FeedOption { return feeding(func(o *feedOptions) { o.since = cursor }) }

// Follow false has the feed end when it has caught up; without it the feed goes on for ever.
func Follow(follow bool) FeedOption { return feeding(func(o *feedOptions) { o.noFollow = !follow }) }

// Collection has only changes of this collection told.
func Collection(name string) FeedOption {
	return feeding(func(o *feedOptions) { o.collection = name })
}

// Changes gives the commits of the pool, one after the other, each once and in order, and goes on until ctx is over or the loop
// is left. It comes back by itself when a connection is lost. Keep the Cursor of the last commit that you are done with.
//
// With SinceNow the place is asked for by this call, and not when the iteration begins; so it may wait for the server.
//
// Errors: ErrCursorExpired where the log no longer reaches back, so that commits are missing (Members has oldest and current).
func (c *Client) Changes(ctx context.Context, options ...FeedOption) iter.Seq2[Commit, error] {
	f := &feed{client: c, ctx: ctx}
	for _, option := range options {
		option.toFeed(&f.options)
	}
	if f.options.since == "" {
		f.options.since = SinceNow
	}
	f.err = f.options.err
	f.cursor = f.options.since
	if f.err == nil && f.cursor == SinceNow {
		f.err = f.findNow()
	}
	return func(yield func(Commit, error) bool) {
		err := f.err
		if err == nil {
			if f.options.noFollow {
				err = f.catchUp(yield)
			} else {
				err = f.follow(yield)
			}
		}
		if err != nil && !errors.Is(err, errLeft) {
			yield(Commit{}, err)
		}
	}
}

type feed struct {
	client  *Client
	ctx     context.Context
	options feedOptions
	err     error
	// cursor is the place after what was given, or what the feed began with.
	cursor   string
	revision int64
	parts    []CommitChange
	bytes    int
}

// errLeft: who iterates has left the loop.
var errLeft = errors.New("left")

func (f *feed) parameters() map[string]string {
	sent := f.options.parameters()
	if f.options.values != "" {
		sent["values"] = string(f.options.values)
	}
	if f.options.collection != "" {
		sent["collection"] = f.options.collection
	}
	return sent
}

// findNow asks for the place where the pool is now. A stream makes a pool that isn't there, as a write would.
func (f *feed) findNow() error {
	if f.options.noFollow {
		page, err := f.page(SinceNow)
		if err == nil {
			f.cursor = page.Cursor
		}
		return err
	}
	var back comeBack
	began := time.Now()
	for {
		end := f.client.readStream(f.ctx, f.open, func(event sse.Event) error {
			if event.ID != "" && (event.Name == "live" || event.Name == "bookmark") {
				f.cursor = event.ID
				return errLeft
			}
			return problemEvent(event)
		})
		if errors.Is(end.err, errLeft) {
			return nil
		}
		if isFinal(end.err) {
			return end.err
		}
		wait := back.wait(false, 0, end.pause, chance())
		if time.Since(began)+wait > f.client.options.retryFor {
			if end.err == nil {
				end.err = &Error{Code: CodeUnreachable, Detail: "the stream of changes ended before it had begun"}
			}
			return end.err
		}
		if err := f.client.pipeline.sleep(f.ctx, wait); err != nil {
			return err
		}
	}
}

type changesPage struct {
	Commits  []Commit `json:"commits"`
	Cursor   string   `json:"cursor"`
	UpToDate bool     `json:"upToDate"`
}

func (f *feed) page(since string) (*changesPage, error) {
	sent := f.parameters()
	sent["since"], sent["limit"] = since, strconv.Itoa(pageLimitMax)
	answer, err := f.client.call(f.ctx, http.MethodGet, f.client.poolURL+"/changes?"+canonicalQuery(sent), nil, nil)
	if err != nil {
		return nil, err
	}
	page := &changesPage{}
	return page, answer.into(page)
}

func (f *feed) catchUp(yield func(Commit, error) bool) error {
	for {
		page, err := f.page(f.cursor)
		if err != nil {
			return err
		}
		for _, commit := range page.Commits {
			if err := checkRevisions(commit.Changes, commit.Revision); err != nil {
				return err
			}
			if !yield(commit, nil) {
				return errLeft
			}
		}
		if f.cursor = page.Cursor; page.UpToDate {
			return nil
		}
	}
}

func (f *feed) open(ctx context.Context) (*http.Response, error) {
	request := f.client.api.ChangesAPI.StreamChanges(ctx, f.client.pool)
	for name, value := range f.parameters() {
		switch name {
		case "where":
			request = request.Where(value)
		case "prefix":
			request = request.Prefix(value)
		case "start":
			request = request.Start(value)
		case "end":
			request = request.End(value)
		case "key":
			request = request.Key(value)
		case "fields":
			request = request.Fields(value)
		case "values":
			request = request.Values(value)
		case "collection":
			request = request.Collection(value)
		}
	}
	// As since and not as Last-Event-ID, for then a place that is too old is refused, and isn't passed over in silence.
	if f.cursor != SinceNow {
		request = request.Since(f.cursor)
	}
	return request.Stream()
}

func (f *feed) follow(yield func(Commit, error) bool) error {
	var back comeBack
	for {
		started, wasLive := time.Now(), false
		f.parts, f.bytes = nil, 0
		end := f.client.readStream(f.ctx, f.open, func(event sse.Event) error {
			if event.Name == "live" {
				wasLive = true
			}
			return f.take(event, yield)
		})
		if errors.Is(end.err, errLeft) {
			return end.err
		}
		if err := f.client.pipeline.stopped(f.ctx); err != nil {
			return err
		}
		if isFinal(end.err) {
			return end.err
		}
		if end.reason == "expired" {
			f.client.pipeline.renewSoon()
		}
		if err := f.client.pipeline.sleep(f.ctx, back.wait(wasLive, time.Since(started), end.pause, chance())); err != nil {
			return err
		}
	}
}

func (f *feed) take(event sse.Event, yield func(Commit, error) bool) error {
	switch event.Name {
	case "live", "bookmark":
		if event.ID != "" && event.HasID {
			f.cursor = event.ID
		}
		return nil
	case "reset":
		return f.expired()
	case "changes":
	default:
		return problemEvent(event)
	}
	var told struct {
		Commit
		More bool `json:"more"`
	}
	if err := json.Unmarshal(event.Data, &told); err != nil {
		return &Error{Code: CodeProtocolError, Detail: "a commit of the stream isn't the JSON that it should be", cause: err}
	}
	if err := checkRevisions(told.Changes, told.Revision); err != nil {
		return err
	}
	if told.More || len(f.parts) > 0 {
		if f.bytes += len(event.Data); f.bytes > commitBytesMax {
			return errTooManyParts
		}
		if f.parts = append(f.parts, told.Changes...); told.More {
			return nil
		}
		told.Changes, f.parts, f.bytes = f.parts, nil, 0
	}
	if told.Revision <= f.revision {
		return nil
	}
	told.Cursor = event.ID
	// It counts as given when it was handed over, whatever becomes of who took it.
	f.revision, f.cursor = told.Revision, event.ID
	if !yield(told.Commit, nil) {
		return errLeft
	}
	return nil
}

// expired asks how far the log reaches, for a reset doesn't say so.
func (f *feed) expired() error {
	if f.cursor != SinceStart {
		if _, err := f.page(f.cursor); CodeOf(err) == "cursorExpired" {
			return err
		}
	}
	return &Problem{
		Code: "cursorExpired", Status: http.StatusGone,
		Detail: "commits are missing: more has changed of what may be seen than is told", Members: map[string]any{},
	}
}

// problemEvent is the error of an event that tells a problem, nil of all others.
func problemEvent(event sse.Event) error {
	if event.Name != "problem" {
		return nil
	}
	if problem := parseProblem(0, event.Data); problem != nil {
		return problem
	}
	return &Error{Code: CodeProtocolError, Detail: "the stream told a problem that isn't one"}
}
