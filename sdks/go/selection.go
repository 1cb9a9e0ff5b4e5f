package stargus

import (
	"bytes"
	"encoding/json"
	"net/url"
	"sort"
	"strings"
)

// What is selected of a collection, by the same options wherever the API selects: of a mirror, a query, a count, a feed.

// Option is an option of [Client.Attach], [Client.Query], [Client.Count] and [Client.Changes].
type Option interface {
	AttachOption
	QueryOption
	FeedOption
}

// AttachOption is an option of [Client.Attach].
type AttachOption interface{ toAttach(*attachOptions) }

// QueryOption is an option of [Client.Query] and [Client.Count].
type QueryOption interface{ toQuery(*queryOptions) }

// FeedOption is an option of [Client.Changes].
type FeedOption interface{ toFeed(*feedOptions) }

type selection struct {
	where              json.RawMessage
	prefix, start, end string
	key                string
	fields             []string
	err                error
}

type selecting func(*selection)

func (s selecting) toAttach(o *attachOptions) { s(&o.selection) }
func (s selecting) toQuery(o *queryOptions)   { s(&o.selection) }
func (s selecting) toFeed(o *feedOptions)     { s(&o.selection) }

// Where selects the items that match a filter: one made by the package where, or anything whose JSON is a filter of the API,
// such as map[string]any{"status": "open"}.
func Where(filter any) Option {
	return selecting(func(s *selection) {
		text, err := canonical(filter)
		if err != nil {
			s.err = err
			return
		}
		s.where = text
	})
}

// Prefix selects the keys that begin so.
func Prefix(prefix string) Option { return selecting(func(s *selection) { s.prefix = prefix }) }

// Start selects the keys from this one on.
func Start(key string) Option { return selecting(func(s *selection) { s.start = key }) }

// End selects the keys before this one.
func End(key string) Option { return selecting(func(s *selection) { s.end = key }) }

// Fields shows only these attributes; one that begins with a slash is a JSON Pointer.
func Fields(names ...string) Option { return selecting(func(s *selection) { s.fields = names }) }

// KeyOption is an option of [Client.Attach] and [Client.Changes].
type KeyOption interface {
	AttachOption
	FeedOption
}

type keying string

func (k keying) toAttach(o *attachOptions) { o.key = string(k) }
func (k keying) toFeed(o *feedOptions)     { o.key = string(k) }

// Key selects the one item.
func Key(key string) KeyOption { return keying(key) }

// Values says how much is told of each change.
type Values string

// ValuesFull mirrors have all values, and ValuesNone ones are sparse. A feed tells of each change with ValuesChanged (what holds
// when nothing is said) the attributes that were set, with ValuesFull all of them and the former ones, with ValuesNone neither.
const (
	ValuesChanged Values = "changed"
	ValuesFull    Values = "full"
	ValuesNone    Values = "none"
)

func (v Values) toAttach(o *attachOptions) { o.values = v }
func (v Values) toFeed(o *feedOptions)     { o.values = v }

// joinNames is a list of the API in a query string.
func joinNames(names []string) string { return strings.Join(names, ",") }

// parameters are what is sent, by name.
func (s *selection) parameters() map[string]string {
	sent := map[string]string{}
	for name, value := range map[string]string{
		"prefix": s.prefix, "start": s.start, "end": s.end, "key": s.key, "where": string(s.where), "fields": joinNames(s.fields),
	} {
		if value != "" {
			sent[name] = value
		}
	}
	return sent
}

// canonicalQuery is how a selection is written where two are compared: names sorted, percent-encoded as RFC 3986 has it.
func canonicalQuery(parameters map[string]string) string {
	names := make([]string, 0, len(parameters))
	for name := range parameters {
		names = append(names, name)
	}
	sort.Strings(names)
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = escape(name) + "=" + escape(parameters[name])
	}
	return strings.Join(parts, "&")
}

// queryOf is a selection as it is sent.
func queryOf(parameters url.Values) string {
	return strings.ReplaceAll(parameters.Encode(), "+", "%20")
}

// canonical is JSON with sorted members and no blanks, its numbers as they were given.
func canonical(v any) (json.RawMessage, error) {
	text, err := encodeObject(v)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value map[string]any
	if err := decoder.Decode(&value); err != nil {
		return nil, &Error{Code: "badRequest", Detail: "a filter must be a JSON object", cause: err}
	}
	return encode(value)
}
