package sse

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func read(t testing.TB, parts ...string) []string {
	t.Helper()
	parser := &Parser{Max: 1 << 20}
	var told []string
	for _, part := range parts {
		err := parser.Feed([]byte(part), func(e Event) error {
			told = append(told, fmt.Sprintf("%s|%s|%v|%s", e.Name, e.ID, e.HasID, e.Data))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return told
}

var streams = []struct {
	name, text string
	told       []string
}{
	{"one event", "event: a\nid: 1\ndata: x\n\n", []string{"a|1|true|x"}},
	{"carriage returns", "event: a\rdata: x\r\rdata: y\r\r", []string{"a||false|x", "message||false|y"}},
	{"both", "event: a\r\ndata: x\r\n\r\ndata: y\r\n\r\n", []string{"a||false|x", "message||false|y"}},
	{"a mark at the beginning", "\ufeffdata: x\n\n", []string{"message||false|x"}},
	{"a mark later is part of a name", "data: x\n\n\ufeffdata: y\n\n", []string{"message||false|x"}},
	{"the beginning of a mark", "\xef\xbbdata: x\n\ndata: y\n\n", []string{"message||false|y"}},
	{"comments", ": hello\n\n:\n\ndata: x\n: inside\n\n", []string{"message||false|x"}},
	{"several lines", "data: x\ndata:\ndata: y\n\n", []string{"message||false|x\n\ny"}},
	{"one blank is left out", "data:  x\n\ndata:y\n\n", []string{"message||false| x", "message||false|y"}},
	{"an id stays", "id: 7\ndata: x\n\ndata: y\n\n", []string{"message|7|true|x", "message|7|false|y"}},
	{"an empty id resets", "id: 7\ndata: x\n\nid\ndata: y\n\n", []string{"message|7|true|x", "message||true|y"}},
	{"an id with NUL is passed over", "id: 7\ndata: x\n\nid: a\x00b\ndata: y\n\n", []string{"message|7|true|x", "message|7|false|y"}},
	{"an id without data counts", "id: 7\n\ndata: y\n\n", []string{"message|7|false|y"}},
	{"an event without its end is none", "data: x\n\nid: 9\ndata: y\n", []string{"message||false|x"}},
	{"unknown fields", "foo: 1\nbar\ndata: x\n\n", []string{"message||false|x"}},
	{"empty data", "data\n\n", []string{"message||false|"}},
	{"a name without data is none", "event: a\n\ndata: x\n\n", []string{"message||false|x"}},
}

func TestEventsAtEverySplit(t *testing.T) {
	for _, stream := range streams {
		t.Run(stream.name, func(t *testing.T) {
			if told := read(t, stream.text); !reflect.DeepEqual(told, stream.told) {
				t.Fatalf("whole: %q", told)
			}
			for i := range stream.text {
				if told := read(t, stream.text[:i], stream.text[i:]); !reflect.DeepEqual(told, stream.told) {
					t.Fatalf("split at %d: %q", i, told)
				}
			}
			if told := read(t, strings.Split(stream.text, "")...); !reflect.DeepEqual(told, stream.told) {
				t.Fatalf("in single characters: %q", told)
			}
			var bytes []string
			for i := 0; i < len(stream.text); i++ {
				bytes = append(bytes, stream.text[i:i+1])
			}
			if told := read(t, bytes...); !reflect.DeepEqual(told, stream.told) {
				t.Fatalf("in single bytes: %q", told)
			}
		})
	}
}

func TestBoundHoldsWhileReading(t *testing.T) {
	for name, text := range map[string]string{
		"one line":         "data: " + strings.Repeat("x", 100),
		"many lines":       strings.Repeat("data: xxxxxxxxxx\n", 10),
		"of other fields":  strings.Repeat("foo: xxxxxxxxxx\n", 10),
		"an endless line":  strings.Repeat("x", 100),
		"an endless blank": ":" + strings.Repeat(" ", 100),
	} {
		parser := &Parser{Max: 64}
		err := parser.Feed([]byte(text), func(Event) error { t.Fatal("told an event"); return nil })
		if !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	parser := &Parser{Max: 64}
	for range 100 {
		if err := parser.Feed([]byte(": heartbeat\n"), nil); err != nil {
			t.Fatal("comments fill no event: ", err)
		}
	}
}

func TestRetry(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"retry: 1500\n": 1500 * time.Millisecond, "retry: x\n": 0, "retry: +5\n": 0, "retry\n": 0, "retry: -1\n": 0,
	} {
		parser := &Parser{}
		if err := parser.Feed([]byte(text), nil); err != nil || parser.Retry != want {
			t.Errorf("%q: %v, %v", text, parser.Retry, err)
		}
	}
}

func TestEmitEndsReading(t *testing.T) {
	stop := errors.New("stop")
	parser := &Parser{}
	count := 0
	err := parser.Feed([]byte("data: a\n\ndata: b\n\n"), func(Event) error { count++; return stop })
	if !errors.Is(err, stop) || count != 1 {
		t.Fatal(count, err)
	}
}

func FuzzSplits(f *testing.F) {
	for _, stream := range streams {
		f.Add(stream.text, uint8(3))
	}
	f.Fuzz(func(t *testing.T, text string, step uint8) {
		whole := read(t, text)
		var parts []string
		for size := int(step) + 1; len(text) > 0; {
			n := min(size, len(text))
			parts = append(parts, text[:n])
			text = text[n:]
		}
		if told := read(t, parts...); !reflect.DeepEqual(told, whole) {
			t.Fatalf("whole %q, in parts %q", whole, told)
		}
	})
}
