package stargus

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/stargus/stargus/sdks/go/internal/sse"
)

// The goroutine of a mirror: it keeps a stream open for as long as the mirror lives, and takes what comes.

func (m *Mirror) run() {
	err := m.follow()
	if ended := m.life.Err(); ended != nil {
		// Whoever closes a mirror, or ends the context that it was given, knows why it ended.
		if err = context.Cause(m.life); errors.Is(err, errClosedByUser) || errors.Is(err, ErrClosed) {
			err = nil
		}
	}
	m.stop(nil)
	m.cache.close()
	m.client.mu.Lock()
	delete(m.client.mirrors, m)
	m.client.mu.Unlock()
	m.mu.Lock()
	m.err, m.ended, m.view.isLive = err, true, false
	m.mu.Unlock()
	m.listeners.end(err)
	m.writing.end()
	close(m.done)
}

// follow comes back again and again, until it makes no sense any more.
func (m *Mirror) follow() error {
	var back comeBack
	for {
		started := time.Now()
		login, subject := m.client.credentials()
		m.mu.Lock()
		if subject != m.subject {
			// What somebody else may see isn't gone on with.
			m.subject, m.view.resume = subject, ""
			m.cache.belongsTo(subject)
		}
		m.view.begin()
		m.mu.Unlock()
		wasLive := false
		end := m.client.readStream(withMode(m.life, callMode{as: &identity{login}}), m.open, func(event sse.Event) error {
			if event.Name == "live" {
				wasLive = true
			}
			return m.take(event)
		})
		m.mu.Lock()
		m.view.isLive = false
		m.mu.Unlock()
		if m.life.Err() != nil {
			return nil
		}
		if isFinal(end.err) {
			return end.err
		}
		if end.reason == "expired" {
			// The token is over, or was revoked: a new one first.
			m.client.pipeline.renewSoon()
		}
		wait := back.wait(wasLive, time.Since(started), end.pause, chance())
		if m.client.pipeline.sleep(m.life, wait) != nil {
			return nil
		}
	}
}

func (m *Mirror) open(ctx context.Context) (*http.Response, error) {
	request := m.client.api.ChangesAPI.AttachCollection(ctx, m.client.pool, m.collection)
	selected := &m.options.selection
	if len(selected.where) > 0 {
		request = request.Where(string(selected.where))
	}
	if selected.prefix != "" {
		request = request.Prefix(selected.prefix)
	}
	if selected.start != "" {
		request = request.Start(selected.start)
	}
	if selected.end != "" {
		request = request.End(selected.end)
	}
	if selected.key != "" {
		request = request.Key(selected.key)
	}
	if len(selected.fields) > 0 {
		request = request.Fields(joinNames(selected.fields))
	}
	if m.view.isSparse {
		request = request.Values(string(ValuesNone))
	}
	if m.view.resume != "" {
		request = request.LastEventID(m.view.resume)
	}
	return request.Stream()
}

// take does what an event says. Its error ends the stream.
func (m *Mirror) take(event sse.Event) error {
	if event.Name == "problem" {
		return m.problemOf(event)
	}
	next, err := m.view.prepare(event)
	if err != nil || next == nil {
		return err
	}
	if next.isReset {
		m.mu.Lock()
		m.view.commit(next)
		m.mu.Unlock()
		return nil
	}
	// A callback that is slow holds up the stream, not the memory; the server knows what to do with who reads slowly.
	if err := m.listeners.wait(m.life); err != nil {
		return err
	}
	m.mu.Lock()
	changes := next.changes
	if len(m.overlay.keys) > 0 {
		changes = m.commitUnderOverlay(next)
	} else {
		m.view.commit(next)
	}
	m.forget(next)
	m.cache.note(next)
	close(m.moved)
	m.moved = make(chan struct{})
	if next.becomes {
		select {
		case <-m.ready:
		default:
			close(m.ready)
		}
	}
	m.listeners.tell(changes)
	m.mu.Unlock()
	m.watchPolicy(changes)
	return nil
}

// forget drops the values of a sparse mirror that are old now.
func (m *Mirror) forget(next *step) {
	if m.kept == nil {
		return
	}
	if next.items != nil {
		m.kept.dropAll()
		return
	}
	for _, item := range next.puts {
		m.kept.drop(item.Key)
		if item.Revision < next.revision {
			m.kept.toldAt[item.Key] = next.revision
		} else {
			delete(m.kept.toldAt, item.Key)
		}
	}
	for _, key := range next.deletes {
		m.kept.drop(key)
		delete(m.kept.toldAt, key)
	}
}

func (m *Mirror) problemOf(event sse.Event) error {
	var about struct {
		View *string `json:"view"`
	}
	if json.Unmarshal(event.Data, &about) == nil && about.View != nil && *about.View != m.collection {
		return nil
	}
	problem := parseProblem(0, event.Data)
	if problem == nil {
		return &Error{Code: CodeProtocolError, Detail: "the stream told a problem that isn't one"}
	}
	return problem
}
