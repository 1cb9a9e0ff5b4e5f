// The driver of the Go client for the list of scenarios of all clients (sdks/conformance/README.md): it does what it is told on
// standard input and answers on standard output, a line of JSON each.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	stargus "github.com/stargus/stargus/sdks/go"
)

// lineBytesMax is of a command; a scenario may write an item of 1 MiB.
const lineBytesMax = 64 << 20

// closeWithin is how long everything may take to end with the input.
const closeWithin = 4 * time.Second

func main() {
	d := newDriver()
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<16), lineBytesMax)
	for lines.Scan() {
		line := append([]byte(nil), lines.Bytes()...)
		var c command
		if err := json.Unmarshal(line, &c); err != nil {
			d.answer(0, nil, err)
			continue
		}
		// What registers something is done at once, so that a command right behind it finds it; the rest concurrently.
		begun := d.begin(&c)
		go func() {
			value, err := begun()
			d.answer(c.ID, value, err)
		}()
	}
	ended := make(chan struct{})
	go func() { d.closeAll(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(closeWithin):
	}
	os.Exit(0)
}

// errDriver is of the driver and not of the library.
func errDriver(format string, args ...any) error { return fmt.Errorf(format, args...) }

func (d *driver) answer(id int, value any, err error) {
	out := map[string]any{"id": id, "ok": err == nil}
	if err == nil {
		if value == nil {
			value = map[string]any{}
		}
		out["value"] = value
	} else {
		out["error"] = errorOf(err)
	}
	text, failed := json.Marshal(out)
	if failed != nil {
		text, _ = json.Marshal(map[string]any{"id": id, "ok": false, "error": map[string]any{"code": "driver", "message": failed.Error()}})
	}
	d.out.Lock()
	defer d.out.Unlock()
	os.Stdout.Write(append(text, '\n'))
}

func errorOf(err error) map[string]any {
	told := map[string]any{"code": "driver", "message": err.Error()}
	if code := stargus.CodeOf(err); code != "" {
		told["code"] = code
	} else if errors.Is(err, context.DeadlineExceeded) {
		told["code"] = stargus.CodeTimeout
	}
	var problem *stargus.Problem
	if errors.As(err, &problem) {
		told["status"] = problem.Status
		for name, value := range problem.Members {
			if name == "oldest" || name == "current" || name == "errors" {
				told[name] = value
			}
		}
	}
	return told
}

type driver struct {
	out sync.Mutex

	mu      sync.Mutex
	clients map[string]*client
	mirrors map[string]*mirror
	locks   map[string]*stargus.Held
	feeds   map[string]*feed
	sockets int
}

func newDriver() *driver {
	return &driver{
		clients: map[string]*client{}, mirrors: map[string]*mirror{}, locks: map[string]*stargus.Held{}, feeds: map[string]*feed{},
		sockets: countSockets(),
	}
}

func (d *driver) closeAll() {
	d.mu.Lock()
	clients, feeds := d.clients, d.feeds
	d.clients, d.feeds = nil, nil
	d.mu.Unlock()
	for _, f := range feeds {
		f.cancel()
	}
	for _, c := range clients {
		c.Close()
	}
}

// command has the members of all commands.
type command struct {
	ID     int    `json:"id"`
	Do     string `json:"do"`
	Client string `json:"client"`
	Mirror string `json:"mirror"`
	Lock   string `json:"lock"`
	Feed   string `json:"feed"`
	On     string `json:"on"`

	URL              string `json:"url"`
	Pool             string `json:"pool"`
	RetryForMs       *int64 `json:"retryForMs"`
	RequestTimeoutMs *int64 `json:"requestTimeoutMs"`
	EventBytesMax    *int   `json:"eventBytesMax"`

	APIKey       string `json:"apiKey"`
	Token        string `json:"token"`
	KeyFile      string `json:"keyFile"`
	Account      string `json:"account"`
	Passphrase   string `json:"passphrase"`
	RecoveryCode string `json:"recoveryCode"`
	OneTimeKey   bool   `json:"oneTimeKey"`

	Collection string          `json:"collection"`
	Where      json.RawMessage `json:"where"`
	Prefix     string          `json:"prefix"`
	Start      string          `json:"start"`
	End        string          `json:"end"`
	Key        string          `json:"key"`
	Fields     []string        `json:"fields"`
	Values     string          `json:"values"`
	Cache      string          `json:"cache"`
	MemoryMax  *int            `json:"memoryMax"`
	OnDenied   string          `json:"onDenied"`

	TimeoutMs int64 `json:"timeoutMs"`
	Revision  int64 `json:"revision"`

	Op             string              `json:"op"`
	Attributes     json.RawMessage     `json:"attributes"`
	Attribute      string              `json:"attribute"`
	By             float64             `json:"by"`
	IfRevision     *int64              `json:"ifRevision"`
	IdempotencyKey string              `json:"idempotencyKey"`
	Ops            []stargus.Op        `json:"ops"`
	Conditions     []stargus.Condition `json:"conditions"`
	Order          json.RawMessage     `json:"order"`
	Limit          int                 `json:"limit"`
	Since          string              `json:"since"`
	Follow         *bool               `json:"follow"`
	Count          int                 `json:"count"`
	Mode           string              `json:"mode"`
	WaitMs         *int64              `json:"waitMs"`
	LeaseMs        *int64              `json:"leaseMs"`

	Secret  string            `json:"secret"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
	Call    string            `json:"call"`

	Notifier string `json:"notifier"`
}

func millis(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

func (c *command) within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), millis(c.TimeoutMs))
}
