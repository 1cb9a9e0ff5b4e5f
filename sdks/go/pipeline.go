package stargus

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// pipeline is the one way that all requests go, those of the generated layer included: credentials, Idempotency-Key,
// repetition, timeouts, and refusals as typed errors. It is an http.RoundTripper, and the http.Client on it is shared.
type pipeline struct {
	transport http.RoundTripper
	// basePath is the path of the client's URL, without a slash at its end.
	basePath       string
	requestTimeout time.Duration
	retryFor       time.Duration
	userAgent      string
	// login is nil while the client has no credentials.
	login atomic.Pointer[login]
	// gone ends everything that is under way when the client is closed.
	gone context.Context
}

// callModeKey leads to what a call of ours asks of the pipeline beside the request.
type callModeKey struct{}

type callMode struct {
	// isStream: not repeated here, and the body, which has no end, is handed over unread.
	isStream bool
	// noRetryOf are codes that are told at once although the server says that they may be repeated.
	noRetryOf []string
	// retryFor in place of the client's, if not negative.
	retryFor time.Duration
	// as says whose credentials to go by, in place of the client's.
	as *identity
}

// identity is somebody with a login, or nobody without one.
type identity struct{ login *login }

func withMode(ctx context.Context, mode callMode) context.Context {
	return context.WithValue(ctx, callModeKey{}, mode)
}

func modeOf(ctx context.Context) callMode {
	if mode, ok := ctx.Value(callModeKey{}).(callMode); ok {
		return mode
	}
	return callMode{retryFor: -1}
}

// RoundTrip sends the request until it is answered for good. An answer of 400 and above is an error, a *Problem where the
// server said why.
func (p *pipeline) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx := request.Context()
	mode := modeOf(ctx)
	kind := kindOf(request.Method, strings.TrimPrefix(request.URL.Path, p.basePath))
	outgoing := request.Clone(ctx)
	if kind.takesKey && outgoing.Header.Get("Idempotency-Key") == "" {
		outgoing.Header.Set("Idempotency-Key", newUUID())
	}
	if p.userAgent != "" {
		outgoing.Header.Set("User-Agent", p.userAgent)
	}
	if request.Body != nil {
		defer request.Body.Close()
	}
	retryFor := p.retryFor
	if mode.retryFor >= 0 {
		retryFor = mode.retryFor
	}
	if mode.isStream {
		retryFor = 0
	}
	started := time.Now()
	hasRenewed := false
	// Who names credentials in a request of their own means them.
	isForeign := request.Header.Get("Authorization") != ""
	for n := 1; ; n++ {
		if err := p.stopped(ctx); err != nil {
			return nil, err
		}
		if n > 1 && !renewBody(outgoing, request) {
			return nil, &Error{Code: CodeUnreachable, Detail: "the connection broke, and the body that was sent can't be sent again"}
		}
		token, response, failure := p.attemptAs(ctx, outgoing, kind, mode, isForeign)
		if failure == nil {
			return response, nil
		}
		if err := p.stopped(ctx); err != nil {
			return nil, err
		}
		if failure.status == http.StatusUnauthorized && token != nil && !hasRenewed && canSendAgain(request) {
			hasRenewed = true
			if again, err := token.login.renewAfter(ctx, token); err != nil {
				return nil, err
			} else if again {
				continue
			}
		}
		if !failure.isRetryable(kind) || mode.refusesToRepeat(failure.err) || !canSendAgain(request) {
			return nil, failure.err
		}
		wait, ok := waitBefore(n, failure.retryAfter, retryFor-time.Since(started), chance())
		if !ok {
			return nil, failure.err
		}
		if err := p.sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// attemptAs sends the request with a token. What keeps the client from having one counts as what keeps it from an answer.
func (p *pipeline) attemptAs(
	ctx context.Context, request *http.Request, kind requestKind, mode callMode, isForeign bool,
) (*token, *http.Response, *failure) {
	if isForeign {
		response, failure := p.attempt(request, mode)
		return nil, response, failure
	}
	l := p.login.Load()
	if mode.as != nil {
		l = mode.as.login
	}
	token, err := p.authorize(ctx, request, kind, l)
	if err != nil {
		problem, isProblem := asProblem(err)
		return nil, nil, &failure{
			err: err, retryAfter: -1, wasNotSent: true,
			temporary: isProblem && problem.Retryable || errors.Is(err, ErrUnreachable) || errors.Is(err, ErrTimeout),
		}
	}
	response, failure := p.attempt(request, mode)
	if token != nil {
		token.login.hear(response, failure)
	}
	return token, response, failure
}

func (m callMode) refusesToRepeat(err error) bool {
	code := CodeOf(err)
	for _, one := range m.noRetryOf {
		if one == code {
			return true
		}
	}
	return false
}

func canSendAgain(request *http.Request) bool {
	return request.Body == nil || request.Body == http.NoBody || request.GetBody != nil
}

func renewBody(outgoing, request *http.Request) bool {
	if request.GetBody == nil {
		return request.Body == nil || request.Body == http.NoBody
	}
	body, err := request.GetBody()
	outgoing.Body = body
	return err == nil
}

// stopped tells why a request goes no further, if the caller or the client ended it.
func (p *pipeline) stopped(ctx context.Context) error {
	if p.gone.Err() != nil {
		return closedError("client")
	}
	if ctx.Err() != nil {
		return ofContext(ctx)
	}
	return nil
}

func (p *pipeline) sleep(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
	case <-p.gone.Done():
	}
	return p.stopped(ctx)
}

// failure is what came of one attempt that wasn't answered as it should be.
type failure struct {
	err        error
	status     int
	header     http.Header
	retryAfter time.Duration
	temporary  bool
	// wasNotSent: it can't have arrived, so it may be repeated whatever it is.
	wasNotSent bool
}

func (f *failure) isRetryable(kind requestKind) bool {
	return f.temporary && (f.status != 0 || f.wasNotSent || !kind.once)
}

// attempt sends the request once. The context of an attempt lives until its body was read or closed.
func (p *pipeline) attempt(request *http.Request, mode callMode) (*http.Response, *failure) {
	ctx, cancel := context.WithCancelCause(request.Context())
	detach := context.AfterFunc(p.gone, func() { cancel(closedError("client")) })
	timer := time.AfterFunc(p.requestTimeout, func() {
		cancel(&Error{Code: CodeTimeout, Detail: "no answer came within " + p.requestTimeout.String()})
	})
	end := func() { timer.Stop(); detach(); cancel(nil) }
	response, err := p.transport.RoundTrip(request.WithContext(ctx))
	if err != nil {
		cause := context.Cause(ctx)
		end()
		return nil, unanswered(request.URL, err, cause)
	}
	kind := mediaType(response.Header)
	if isEndless := kind == "text/event-stream" || kind == "application/x-ndjson"; response.StatusCode < 300 && isEndless {
		if !strings.Contains(request.Header.Get("Accept"), kind) {
			// Nobody asked for it, and whoever reads it would wait for its end.
			response.Body.Close()
			end()
			return nil, &failure{status: response.StatusCode, err: notStargus(request.URL, response.Status, kind)}
		}
		// It has no bound in time or size. Whoever reads it sees to both.
		timer.Stop()
		response.Body = &endingBody{ReadCloser: response.Body, end: end}
		return response, nil
	}
	defer end()
	bound := int64(answerBytesMax)
	if response.StatusCode >= 300 && !isJSON(kind) || mode.isStream {
		bound = problemBytesMax
	}
	body, err := readAll(response, bound)
	response.Body.Close()
	if err != nil {
		if errors.Is(err, errTooLong) {
			return nil, &failure{err: &Error{Code: CodeProtocolError, Detail: fmt.Sprintf("the answer has more than %d bytes", bound)}}
		}
		return nil, unanswered(request.URL, err, context.Cause(ctx))
	}
	if response.StatusCode >= 300 && response.StatusCode != http.StatusNotModified {
		return nil, refused(request.URL, response, kind, body)
	}
	if mode.isStream || kind == "text/html" && !strings.HasPrefix(request.URL.Path, p.basePath+"/docs") {
		return nil, &failure{status: response.StatusCode, err: notStargus(request.URL, response.Status, kind)}
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	response.ContentLength = int64(len(body))
	return response, nil
}

var errTooLong = errors.New("too long")

func readAll(response *http.Response, bound int64) ([]byte, error) {
	if response.ContentLength > bound {
		return nil, errTooLong
	}
	var buffer bytes.Buffer
	if response.ContentLength > 0 {
		// One more than the text, or the reader grows it once more to find the end.
		buffer.Grow(int(response.ContentLength) + bytes.MinRead)
	}
	n, err := buffer.ReadFrom(io.LimitReader(response.Body, bound+1))
	if err == nil && n > bound {
		err = errTooLong
	}
	return buffer.Bytes(), err
}

// endingBody ends the attempt's context with the body.
type endingBody struct {
	io.ReadCloser
	end func()
}

func (b *endingBody) Close() error {
	err := b.ReadCloser.Close()
	b.end()
	return err
}

func unanswered(at *url.URL, err, cause error) *failure {
	var own *Error
	if errors.As(cause, &own) {
		return &failure{err: own, temporary: own.Code == CodeTimeout, retryAfter: -1}
	}
	detail := "nobody answers at " + at.Scheme + "://" + at.Host + "; is the server running, and is that its address?"
	return &failure{err: &Error{Code: CodeUnreachable, Detail: detail, cause: err}, temporary: true, retryAfter: -1, wasNotSent: wasNotSent(err)}
}

func refused(at *url.URL, response *http.Response, kind string, body []byte) *failure {
	told := &failure{status: response.StatusCode, header: response.Header, retryAfter: retryAfterOf(response.Header)}
	if isJSON(kind) {
		if problem := parseProblem(response.StatusCode, body); problem != nil {
			told.err, told.temporary = problem, problem.Retryable
			problem.pause = max(0, told.retryAfter)
			if problem.RequestID == "" {
				problem.RequestID = response.Header.Get("Request-Id")
			}
			return told
		}
	}
	told.temporary = isTemporaryStatus(response.StatusCode)
	err := notStargus(at, response.Status, kind)
	err.isTemporary, err.pause = told.temporary, max(0, told.retryAfter)
	told.err = err
	return told
}

func notStargus(at *url.URL, status, kind string) *Error {
	if kind == "" {
		kind = "nothing that says its type"
	}
	return &Error{Code: CodeNotStargus, Detail: fmt.Sprintf(
		"what answers at %s://%s is no Stargus server, or something stands before it: it said %s with %s", at.Scheme, at.Host, status, kind)}
}

func mediaType(header http.Header) string {
	text := header.Get("Content-Type")
	// Nearly all are one of these.
	switch text {
	case "application/json", "application/json; charset=utf-8":
		return "application/json"
	case "text/event-stream":
		return text
	}
	kind, _, err := mime.ParseMediaType(text)
	if err != nil {
		kind, _, _ = strings.Cut(text, ";")
		kind = strings.ToLower(strings.TrimSpace(kind))
	}
	return kind
}

func isJSON(kind string) bool {
	return kind == "application/json" || strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json")
}

// newUUID is a random UUID (RFC 9562, version 4).
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}
