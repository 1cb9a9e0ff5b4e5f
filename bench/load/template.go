// Requests made from a text of the command line: queries, and writes of more than one value.
package main

import (
	"bytes"
	"math/rand"
	"strconv"
	"strings"
)

// template is a text with holes: {n} is the number of the key that a request is about, {k} the key, {v} a value that is new each
// time, {r} another random number at each place.
type template struct {
	texts []string // one more than holes
	holes []byte
}

const randomMax = 1_000_000

func parseTemplate(text string) template {
	t := template{}
	start := 0
	for i := 0; i+3 <= len(text); i++ {
		if hole := text[i : i+3]; hole[0] == '{' && hole[2] == '}' && strings.IndexByte("nkvr", hole[1]) >= 0 {
			t.texts = append(t.texts, text[start:i])
			t.holes = append(t.holes, hole[1])
			start = i + 3
		}
	}
	t.texts = append(t.texts, text[start:])
	return t
}

// filling is what goes into the holes.
type filling struct {
	n          int
	key, value []byte
	random     *rand.Rand
}

func (t template) fill(buf []byte, f filling) []byte {
	for i, hole := range t.holes {
		buf = append(buf, t.texts[i]...)
		switch hole {
		case 'n':
			buf = strconv.AppendInt(buf, int64(f.n), 10)
		case 'k':
			buf = append(buf, f.key...)
		case 'v':
			buf = append(buf, f.value...)
		default:
			buf = strconv.AppendInt(buf, int64(f.random.Intn(randomMax)), 10)
		}
	}
	return append(buf, t.texts[len(t.holes)]...)
}

// custom is a request of the command line: -operation custom.
type custom struct {
	host, method string
	path, body   template
}

func (c custom) request(buf []byte, f filling) []byte {
	path := c.path.fill(nil, f)
	body := c.body.fill(nil, f)
	if len(bytes.TrimSpace(body)) == 0 {
		body = nil
	}
	return appendRequest(buf, c.method, string(path), c.host, body)
}
