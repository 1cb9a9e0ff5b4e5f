// Every value begins with a stamp: "@ts" and the time of its sending in 21 digits of nanoseconds, so that no two writes are equal,
// and a watcher finds and times each write by scanning bytes, in whatever frame a server sends it. Stamps are multiples
// of three bytes so that base64 (etcd) keeps them findable.
package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
	"time"
)

const (
	stampMark   = "@ts"
	stampDigits = 21
	stampBytes  = len(stampMark) + stampDigits
)

// newValue gives a value of the given size; restamp makes it new for each write.
func newValue(size int) []byte {
	value := bytes.Repeat([]byte{'x'}, size)
	restamp(value, time.Now())
	return value
}

func restamp(value []byte, now time.Time) {
	copy(value, fmt.Appendf(nil, "%s%0*d", stampMark, stampDigits, now.UnixNano()))
}

// stampScanner finds stamps in one watcher's bytes as they come, also where a read ends inside one.
type stampScanner struct {
	mark    []byte
	width   int // bytes that follow the mark
	decode  func([]byte) (time.Time, bool)
	pending []byte
}

func newStampScanner(base64Values bool) *stampScanner {
	if base64Values {
		mark := base64.StdEncoding.EncodeToString([]byte(stampMark))
		return &stampScanner{mark: []byte(mark), width: base64.StdEncoding.EncodedLen(stampDigits), decode: decodeBase64Stamp}
	}
	return &stampScanner{mark: []byte(stampMark), width: stampDigits, decode: decodeStamp}
}

// scan counts the stamps in pending+new bytes (the caller has put s.pending before them) and tells each to see when that isn't nil.
func (s *stampScanner) scan(data []byte, see func(sent time.Time)) (found int64) {
	for {
		at := bytes.Index(data, s.mark)
		if at < 0 {
			s.pending = append(s.pending[:0], data[max(0, len(data)-len(s.mark)+1):]...)
			return found
		}
		end := at + len(s.mark) + s.width
		if end > len(data) {
			s.pending = append(s.pending[:0], data[at:]...)
			return found
		}
		found++
		if see != nil {
			if sent, ok := s.decode(data[at+len(s.mark) : end]); ok {
				see(sent)
			}
		}
		data = data[end:]
	}
}

func decodeStamp(digits []byte) (time.Time, bool) {
	nanos, err := strconv.ParseInt(string(digits), 10, 64)
	return time.Unix(0, nanos), err == nil
}

func decodeBase64Stamp(text []byte) (time.Time, bool) {
	var digits [stampDigits]byte
	if _, err := base64.StdEncoding.Decode(digits[:], text); err != nil {
		return time.Time{}, false
	}
	return decodeStamp(digits[:])
}
