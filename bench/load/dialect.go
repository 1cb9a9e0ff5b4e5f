// How each kind of server is asked to store, read and watch. Stargus, the prototype and the bare route share one dialect.
package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// dialect writes whole HTTP requests, appended to a buffer that the caller reuses.
type dialect interface {
	create(buf, key, value []byte) []byte // a first write, where it differs from put
	put(buf, key, value []byte) []byte
	get(buf, key []byte) []byte
	// watch opens a stream of all changes of the collection, of one key, or (only Stargus does) of one value.
	watch(buf []byte, key, value string) []byte
	// listening is the text in a stream after which every later write is told.
	listening() string
	// subscribe gives the second request that some servers want, from the stream's first bytes; nil when none.
	subscribe(seen []byte) []byte
	base64Values() bool
}

func dialectFor(kind, address, pool, collection string) (dialect, error) {
	switch kind {
	case "stargus":
		return stargus{
			host:       address,
			collection: fmt.Sprintf("/v1/pools/%s/collections/%s", pool, collection),
			changes:    fmt.Sprintf("/v1/pools/%s/changes/stream?collection=%s", pool, collection),
		}, nil
	case "etcd":
		return etcd{address, pool + "/" + collection + "/"}, nil
	case "pocketbase":
		return pocketbase{address, pool + "_" + collection}, nil
	}
	return nil, fmt.Errorf("unknown -dialect %q", kind)
}

// keyName is 15 characters of [a-z0-9], which every server here takes as a key (PocketBase takes nothing else).
func keyName(buf []byte, n int) []byte {
	return fmt.Appendf(buf[:0], "k%014d", n)
}

// appendRequest writes a request with the headers given, each a whole line without its end.
func appendRequest(buf []byte, method, path, host string, body []byte, headers ...string) []byte {
	buf = append(buf, method...)
	buf = append(buf, ' ')
	buf = append(buf, path...)
	buf = append(buf, " HTTP/1.1\r\nHost: "...)
	buf = append(buf, host...)
	for _, header := range headers {
		buf = append(buf, "\r\n"...)
		buf = append(buf, header...)
	}
	if body != nil {
		buf = append(buf, "\r\nContent-Type: application/json\r\nContent-Length: "...)
		buf = strconv.AppendInt(buf, int64(len(body)), 10)
	}
	buf = append(buf, "\r\n\r\n"...)
	return append(buf, body...)
}

// withHeader puts a whole header line into a request; an empty one is none.
func withHeader(request []byte, header string) []byte {
	if header == "" {
		return request
	}
	at := bytes.Index(request, []byte("\r\n")) + 2
	return slices.Insert(request, at, []byte(header+"\r\n")...)
}

func bearerHeader(token string) string {
	if token == "" {
		return ""
	}
	return "Authorization: Bearer " + token
}

type stargus struct{ host, collection, changes string }

func (d stargus) create(buf, key, value []byte) []byte { return d.put(buf, key, value) }

func (d stargus) put(buf, key, value []byte) []byte {
	body := make([]byte, 0, len(value)+32)
	body = append(append(append(body, `{"attributes":{"value":"`...), value...), `"}}`...)
	return appendRequest(buf, "PUT", d.collection+"/items/"+string(key), d.host, body)
}

func (d stargus) get(buf, key []byte) []byte {
	return appendRequest(buf, "GET", d.collection+"/items/"+string(key), d.host, nil)
}

func (d stargus) watch(buf []byte, key, value string) []byte {
	path := d.collection + "/attach"
	if key != "" {
		path += "?key=" + key
	}
	if value != "" {
		// Without a snapshot, for which all items would be looked at ten thousand times.
		path = fmt.Sprintf("%s&where=%%7B%%22value%%22:%%22%s%%22%%7D", d.changes, value)
	}
	return appendRequest(buf, "GET", path, d.host, nil)
}

func (d stargus) listening() string       { return "\nevent: live" }
func (d stargus) subscribe([]byte) []byte { return nil }
func (d stargus) base64Values() bool      { return false }

type etcd struct{ host, prefix string }

func (d etcd) create(buf, key, value []byte) []byte { return d.put(buf, key, value) }

func (d etcd) put(buf, key, value []byte) []byte {
	body := fmt.Appendf(nil, `{"key":"%s","value":"%s"}`, encode(d.prefix+string(key)), base64.StdEncoding.EncodeToString(value))
	return appendRequest(buf, "POST", "/v3/kv/put", d.host, body)
}

func (d etcd) get(buf, key []byte) []byte {
	return appendRequest(buf, "POST", "/v3/kv/range", d.host, fmt.Appendf(nil, `{"key":"%s"}`, encode(d.prefix+string(key))))
}

func (d etcd) watch(buf []byte, key, _ string) []byte {
	body := fmt.Appendf(nil, `{"create_request":{"key":"%s","range_end":"%s"}}`, encode(d.prefix), encode(d.prefix[:len(d.prefix)-1]+"0"))
	if key != "" {
		body = fmt.Appendf(nil, `{"create_request":{"key":"%s"}}`, encode(d.prefix+key))
	}
	return appendRequest(buf, "POST", "/v3/watch", d.host, body)
}

func (d etcd) listening() string       { return `"created":true` }
func (d etcd) subscribe([]byte) []byte { return nil }
func (d etcd) base64Values() bool      { return true }

func encode(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

type pocketbase struct{ host, collection string }

func (d pocketbase) records() string { return "/api/collections/" + d.collection + "/records" }

func (d pocketbase) create(buf, key, value []byte) []byte {
	return appendRequest(buf, "POST", d.records(), d.host, fmt.Appendf(nil, `{"id":"%s","value":"%s"}`, key, value))
}

func (d pocketbase) put(buf, key, value []byte) []byte {
	return appendRequest(buf, "PATCH", d.records()+"/"+string(key), d.host, fmt.Appendf(nil, `{"value":"%s"}`, value))
}

func (d pocketbase) get(buf, key []byte) []byte {
	return appendRequest(buf, "GET", d.records()+"/"+string(key), d.host, nil)
}

func (d pocketbase) watch(buf []byte, _, _ string) []byte {
	return appendRequest(buf, "GET", "/api/realtime", d.host, nil)
}

func (d pocketbase) listening() string { return `"clientId":"` }

func (d pocketbase) subscribe(seen []byte) []byte {
	id := textBetween(string(seen), `"clientId":"`, `"`)
	body := fmt.Appendf(nil, `{"clientId":"%s","subscriptions":["%s/*"]}`, id, d.collection)
	return appendRequest(nil, "POST", "/api/realtime", d.host, body)
}

func (d pocketbase) base64Values() bool { return false }

func textBetween(text, before, after string) string {
	_, rest, _ := strings.Cut(text, before)
	found, _, _ := strings.Cut(rest, after)
	return found
}
