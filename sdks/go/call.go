package stargus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// Calls that are made often build their request and read their answer here, without the generated models, which take several
// times as long. They go through the same pipeline.

// answer is one that was read whole.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// call sends one request with a body of JSON, or none, and reads its answer.
func (c *Client) call(ctx context.Context, method, at string, header http.Header, body []byte) (*answer, error) {
	var reader *bytes.Reader
	var request *http.Request
	var err error
	if body != nil {
		reader = bytes.NewReader(body)
		request, err = http.NewRequestWithContext(ctx, method, at, reader)
	} else {
		request, err = http.NewRequestWithContext(ctx, method, at, nil)
	}
	if err != nil {
		return nil, &Error{Code: "badRequest", Detail: "this can't be asked of a server", cause: err}
	}
	if header != nil {
		request.Header = header
	}
	if body != nil && request.Header.Get("Content-Type") == "" {
		request.Header["Content-Type"] = jsonTypes
	}
	request.Header["Accept"] = jsonTypes
	response, err := c.http.Do(request)
	if err != nil {
		return nil, bare(err)
	}
	defer response.Body.Close()
	text, err := readAll(response, answerBytesMax)
	if err != nil {
		return nil, &Error{Code: CodeUnreachable, Detail: "the connection broke in the middle of the answer", cause: err}
	}
	if kind := mediaType(response.Header); len(text) > 0 && !isJSON(kind) {
		return nil, notStargus(request.URL, response.Status, kind)
	}
	return &answer{status: response.StatusCode, header: response.Header, body: text}, nil
}

var jsonTypes = []string{"application/json"}

// bare takes off what http.Client lays around the errors of the pipeline, URLs among it.
func bare(err error) error {
	var outer *url.Error
	if errors.As(err, &outer) {
		return outer.Err
	}
	return err
}

func asProblem(err error) (*Problem, bool) {
	var problem *Problem
	ok := errors.As(err, &problem)
	return problem, ok
}

// into reads the answer, or says that it isn't understood.
func (a *answer) into(v any) error {
	if err := json.Unmarshal(a.body, v); err != nil {
		return &Error{Code: CodeProtocolError, Detail: "the server's answer isn't the JSON that it should be", cause: err}
	}
	return nil
}

// escape is percent-encoding of a path's segment as the API wants it: all but unreserved characters.
func escape(text string) string {
	const hex = "0123456789ABCDEF"
	plain := true
	for i := 0; i < len(text) && plain; i++ {
		plain = isUnreserved(text[i])
	}
	if plain {
		return text
	}
	var out strings.Builder
	out.Grow(len(text) + 16)
	for i := 0; i < len(text); i++ {
		if b := text[i]; isUnreserved(b) {
			out.WriteByte(b)
		} else {
			out.WriteByte('%')
			out.WriteByte(hex[b>>4])
			out.WriteByte(hex[b&15])
		}
	}
	return out.String()
}

func isUnreserved(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || b == '-' || b == '.' || b == '_' || b == '~'
}

// encode makes JSON of what a caller gave, as it is: without the escapes that are meant for HTML.
func encode(v any) ([]byte, error) {
	switch given := v.(type) {
	case json.RawMessage:
		if !json.Valid(given) {
			return nil, &Error{Code: "badRequest", Detail: "what was given isn't JSON"}
		}
		return given, nil
	case nil:
		return []byte("null"), nil
	}
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, &Error{Code: "badRequest", Detail: "what was given can't be written as JSON", cause: err}
	}
	return bytes.TrimSuffix(buffer.Bytes(), []byte{'\n'}), nil
}

// encodeObject is encode for what must be a JSON object, such as attributes; nil is the empty one.
func encodeObject(v any) ([]byte, error) {
	if v == nil {
		return []byte("{}"), nil
	}
	text, err := encode(v)
	if err != nil {
		return nil, err
	}
	if len(text) == 0 || bytes.TrimLeft(text, " \t\r\n")[0] != '{' {
		if string(text) == "null" {
			return []byte("{}"), nil
		}
		return nil, &Error{Code: "badRequest", Detail: "attributes must be a JSON object: a map or a struct"}
	}
	return text, nil
}
