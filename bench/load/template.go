// Requests made from a text of the command line: queries, and writes of more than one value.
package main

import (
	"bytes"
	"math/rand"
	"strconv"
)

// template is a text with holes: {n} is the number of the key that a request is about, {r} another random number at each place.
type template struct {
	texts []string // one more than holes
	holes []byte
}

const randomMax = 1_000_000

func parseTemplate(text string) template {
	t := template{}
	start := 0
	for i := 0; i+3 <= len(text); i++ {
		if hole := text[i : i+3]; hole == "{n}" || hole == "{r}" {
			t.texts = append(t.texts, text[start:i])
			t.holes = append(t.holes, hole[1])
			start = i + 3
		}
	}
	t.texts = append(t.texts, text[start:])
	return t
}

func (t template) fill(buf []byte, n int, random *rand.Rand) []byte {
	for i, hole := range t.holes {
		buf = append(buf, t.texts[i]...)
		if hole == 'n' {
			buf = strconv.AppendInt(buf, int64(n), 10)
		} else {
			buf = strconv.AppendInt(buf, int64(random.Intn(randomMax)), 10)
		}
	}
	return append(buf, t.texts[len(t.holes)]...)
}

// custom is a request of the command line: -operation custom.
type custom struct {
	host, method string
	path, body   template
}

func (c custom) request(buf []byte, n int, random *rand.Rand) []byte {
	path := c.path.fill(nil, n, random)
	body := c.body.fill(nil, n, random)
	if len(bytes.TrimSpace(body)) == 0 {
		body = nil
	}
	return appendRequest(buf, c.method, string(path), c.host, body)
}
