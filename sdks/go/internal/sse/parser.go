// Package sse reads Server-Sent Events (WHATWG HTML, 9.2.6) from bytes that come split at any place. It does no I/O.
package sse

import (
	"bytes"
	"errors"
	"strconv"
	"time"
)

// ErrTooLarge is answered when an event has more bytes than the bound, while it is read and not only at its end.
var ErrTooLarge = errors.New("event too large")

// Event is one event. ID is the last one that was sent, by this event or one before.
type Event struct {
	Name string
	ID   string
	// HasID says that this event itself sent an id, perhaps the empty one.
	HasID bool
	Data  []byte
}

// Parser holds what has been read of an event.
type Parser struct {
	// Max is the bound for one event, in bytes of all its lines.
	Max int
	// Retry is what the stream last asked for; 0 where it didn't.
	Retry time.Duration

	line    []byte
	size    int
	data    []byte
	hasData bool
	name    string
	id      string
	lastID  string
	setID   bool
	begun   bool
	bom     int
	afterCR bool
}

var byteOrderMark = [3]byte{0xEF, 0xBB, 0xBF}

// Feed takes the next bytes and hands each event that they complete to emit, whose error ends the reading. Data that is handed
// over isn't touched again.
func (p *Parser) Feed(chunk []byte, emit func(Event) error) error {
	chunk = p.skipMark(chunk)
	for len(chunk) > 0 {
		if p.afterCR {
			p.afterCR = false
			if chunk[0] == '\n' {
				chunk = chunk[1:]
				continue
			}
		}
		end := endOfLine(chunk)
		part := chunk
		if end >= 0 {
			part = chunk[:end]
		}
		p.size += len(part)
		if p.Max > 0 && p.size > p.Max {
			return ErrTooLarge
		}
		if end < 0 {
			p.line = append(p.line, part...)
			return nil
		}
		p.afterCR = chunk[end] == '\r'
		chunk = chunk[end+1:]
		line := part
		if len(p.line) > 0 {
			p.line = append(p.line, part...)
			line = p.line
		}
		err := p.take(line, emit)
		p.line = p.line[:0]
		if cap(p.line) > keptBytes {
			p.line = nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// endOfLine is the place of the first LF or CR, or negative. Two searches by machine instructions beat one that looks for both.
func endOfLine(chunk []byte) int {
	end := bytes.IndexByte(chunk, '\n')
	if end >= 0 {
		chunk = chunk[:end]
	}
	if cr := bytes.IndexByte(chunk, '\r'); cr >= 0 {
		return cr
	}
	return end
}

// keptBytes of the buffer for lines are kept for the next one.
const keptBytes = 1 << 20

// skipMark leaves out a byte order mark at the very beginning, which may itself come in pieces.
func (p *Parser) skipMark(chunk []byte) []byte {
	for !p.begun && len(chunk) > 0 {
		if chunk[0] == byteOrderMark[p.bom] {
			p.bom++
			chunk = chunk[1:]
			if p.bom == len(byteOrderMark) {
				p.begun = true
			}
			continue
		}
		p.begun = true
		if p.bom > 0 {
			whole := append(append([]byte(nil), byteOrderMark[:p.bom]...), chunk...)
			return whole
		}
	}
	return chunk
}

func (p *Parser) take(line []byte, emit func(Event) error) error {
	if len(line) == 0 {
		return p.dispatch(emit)
	}
	name, value, hasColon := bytes.Cut(line, []byte{':'})
	if hasColon && len(name) == 0 {
		// A comment. It counts for no event, or heartbeats alone would fill the bound.
		p.size -= len(line)
		return nil
	}
	value = bytes.TrimPrefix(value, []byte{' '})
	switch string(name) {
	case "data":
		if p.hasData {
			p.data = append(p.data, '\n')
		}
		p.hasData = true
		p.data = append(p.data, value...)
	case "event":
		p.name = string(value)
	case "id":
		if bytes.IndexByte(value, 0) < 0 {
			p.id = string(value)
			p.setID = true
		}
	case "retry":
		if ms, err := strconv.ParseUint(string(value), 10, 31); err == nil && allDigits(value) {
			p.Retry = time.Duration(ms) * time.Millisecond
		}
	}
	return nil
}

func allDigits(text []byte) bool {
	for _, c := range text {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(text) > 0
}

func (p *Parser) dispatch(emit func(Event) error) error {
	if p.setID {
		p.lastID = p.id
	}
	event := Event{Name: p.name, ID: p.lastID, HasID: p.setID, Data: p.data}
	hasData := p.hasData
	p.size, p.data, p.hasData, p.name, p.setID = 0, nil, false, "", false
	if !hasData {
		return nil
	}
	if event.Name == "" {
		event.Name = "message"
	}
	return emit(event)
}
