package stargus

import (
	"net/http"
	"time"
)

// ConnectOption is an option of [Connect].
type ConnectOption func(*connectOptions)

type connectOptions struct {
	requestTimeout time.Duration
	retryFor       time.Duration
	eventBytesMax  int
	onProblem      func(error)
	transport      http.RoundTripper
	userAgent      string
}

// WithRequestTimeout is for one attempt at a request; 30 s where it isn't given.
func WithRequestTimeout(d time.Duration) ConnectOption {
	return func(o *connectOptions) { o.requestTimeout = d }
}

// WithRetryFor says for how long in all a request is repeated that got no answer or may be repeated; 10 s where it isn't
// given, and 0 for never.
func WithRetryFor(d time.Duration) ConnectOption {
	return func(o *connectOptions) { o.retryFor = max(0, d) }
}

// WithEventBytesMax bounds one event of a stream; 16 MiB where it isn't given. A stream with a larger one fails with
// ErrEventTooLarge.
func WithEventBytesMax(bytes int) ConnectOption {
	return func(o *connectOptions) { o.eventBytesMax = bytes }
}

// WithOnProblem has a function told what happens in the background and reaches nobody's call: a mirror's cache that fell out,
// a listener that panicked. It may be called by several goroutines at once, and must not wait for the client to close.
func WithOnProblem(tell func(error)) ConnectOption {
	return func(o *connectOptions) { o.onProblem = tell }
}

// WithTransport sends requests by another transport than the library's own: for certificates or proxies of your own. Closing
// the client closes its idle connections.
func WithTransport(transport http.RoundTripper) ConnectOption {
	return func(o *connectOptions) { o.transport = transport }
}

// WithUserAgent says in each request who asks.
func WithUserAgent(name string) ConnectOption {
	return func(o *connectOptions) { o.userAgent = name }
}
