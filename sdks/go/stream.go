package stargus

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/stargus/stargus/sdks/go/internal/sse"
)

// One life of a stream of Server-Sent Events: opened by the generated layer, read here, given up when it is silent for too
// long. Coming back is what comeBack decides and who wants the stream does.

// streamBytes are read at once.
const streamBytes = 64 << 10

// streamEnd tells how a life ended.
type streamEnd struct {
	// err is why, nil where the server or the connection just ended it.
	err error
	// pause is how long the server asks to be left alone.
	pause time.Duration
	// reason is that of a bye.
	reason string
}

var errSilent = errors.New("nothing came for two and a half heartbeats")

// readStream opens a stream and hands each event to take, whose error ends it. hello and bye are understood here, and handed
// on too.
func (c *Client) readStream(
	ctx context.Context,
	open func(ctx context.Context) (*http.Response, error),
	take func(sse.Event) error,
) (end streamEnd) {
	ctx, cancel := context.WithCancelCause(withMode(ctx, callMode{isStream: true, retryFor: 0, as: modeOf(ctx).as}))
	defer cancel(nil)
	response, err := open(ctx)
	if err != nil {
		err = bare(err)
		return streamEnd{err: err, pause: pauseOf(err)}
	}
	defer response.Body.Close()
	silence := time.Duration(silenceFactor * float64(defaultHeartbeat))
	watchdog := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer watchdog.Stop()
	parser := &sse.Parser{Max: c.options.eventBytesMax}
	buffer := make([]byte, streamBytes)
	for {
		n, err := response.Body.Read(buffer)
		if n > 0 {
			watchdog.Reset(silence)
			failed := parser.Feed(buffer[:n], func(event sse.Event) error {
				switch event.Name {
				case "hello":
					var hello struct {
						HeartbeatMs float64 `json:"heartbeatMs"`
					}
					if json.Unmarshal(event.Data, &hello) == nil && hello.HeartbeatMs > 0 && hello.HeartbeatMs < heartbeatMsMax {
						silence = time.Duration(silenceFactor * hello.HeartbeatMs * float64(time.Millisecond))
					}
				case "bye":
					var bye struct {
						Reason  string  `json:"reason"`
						RetryMs float64 `json:"retryMs"`
					}
					if json.Unmarshal(event.Data, &bye) == nil {
						end.reason, end.pause = bye.Reason, time.Duration(bye.RetryMs*float64(time.Millisecond))
					}
				}
				// What is done with an event may take its time, in which nobody reads.
				watchdog.Stop()
				defer watchdog.Reset(silence)
				return take(event)
			})
			if errors.Is(failed, sse.ErrTooLarge) {
				failed = &Error{Code: CodeEventTooLarge, Detail: "an event of the stream is larger than eventBytesMax"}
			}
			if failed != nil {
				end.err = failed
				return end
			}
		}
		if err != nil {
			switch {
			case errors.Is(err, io.EOF), end.reason != "":
			case context.Cause(ctx) != nil && errors.Is(context.Cause(ctx), ErrClosed):
				end.err = context.Cause(ctx)
			default:
				// A connection that broke is no error of a stream: it comes back.
			}
			return end
		}
	}
}

func pauseOf(err error) time.Duration {
	if problem, ok := asProblem(err); ok {
		return problem.pause
	}
	var own *Error
	if errors.As(err, &own) {
		return own.pause
	}
	return 0
}

// comeBack decides when a stream comes back: at once after one that had been live, then after random times up to 0.25, 0.5, …
// 15 s, and not before the server lets it.
type comeBack struct {
	failures int
}

// atOnceMin of life make a stream worth coming back to without any wait. One that ends as soon as it is live waits a little, but
// no more each time.
const atOnceMin = time.Second

func (b *comeBack) wait(wasLive bool, lived, pause time.Duration, random float64) time.Duration {
	switch {
	case wasLive && lived >= atOnceMin:
		b.failures = 0
		return pause
	case wasLive:
		b.failures = 0
		return max(pause, randomWait(1, comeBackFirst, comeBackMax, random))
	}
	b.failures++
	return max(pause, randomWait(b.failures, comeBackFirst, comeBackMax, random))
}
