package stargus

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/stargus/stargus/sdks/go/generated"
)

// apiMajor is the version of the API that this library speaks.
const apiMajor = "v1"

// Client speaks to one pool of one server. It may be used by many goroutines at once. Close it when you are done.
type Client struct {
	pool string
	// base is the server's URL as it was given, without a slash at its end.
	base     string
	poolURL  string
	version  string
	http     *http.Client
	pipeline *pipeline
	api      *generated.APIClient
	options  connectOptions

	// gone is over when the client is closed. running counts its goroutines.
	gone    context.Context
	goAway  context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	isClosed bool
	subject  string
	mirrors  map[*Mirror]struct{}
	session  *lockSession
	// making is there while the session is being made.
	making chan struct{}
}

// anonymous is who one is at an open server without credentials.
const anonymous = "anonymous"

// Connect asks the server at url once who it is and answers a client of the pool, which it doesn't make.
//
// Errors: ErrUnreachable where nobody answers, ErrNotStargus where something else does, ErrIncompatibleServer where the server
// has another major version of the API.
func Connect(ctx context.Context, url, pool string, options ...ConnectOption) (*Client, error) {
	chosen := connectOptions{
		requestTimeout: defaultRequestTimeout,
		retryFor:       defaultRetryFor,
		eventBytesMax:  defaultEventBytesMax,
		userAgent:      "stargus-go",
	}
	for _, option := range options {
		option(&chosen)
	}
	if chosen.requestTimeout <= 0 {
		chosen.requestTimeout = defaultRequestTimeout
	}
	if chosen.eventBytesMax <= 0 {
		chosen.eventBytesMax = defaultEventBytesMax
	}
	client, err := newClient(url, pool, chosen)
	if err != nil {
		return nil, err
	}
	if err := client.askWhoItIs(ctx); err != nil {
		client.Close()
		return nil, err
	}
	return client, nil
}

func newClient(text, pool string, options connectOptions) (*Client, error) {
	at, err := url.Parse(strings.TrimRight(text, "/"))
	if err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" || at.RawQuery != "" || at.Fragment != "" {
		// The URL isn't repeated: it may have a password in it.
		return nil, &Error{Code: "badRequest", Detail: "a server's URL is like http://127.0.0.1:8080, without query and fragment"}
	}
	if at.User != nil {
		return nil, &Error{Code: "badRequest", Detail: "the server's URL must not name a user; give credentials to Authenticate"}
	}
	if pool == "" {
		return nil, &Error{Code: "badRequest", Detail: "a pool's name is needed"}
	}
	transport := options.transport
	if transport == nil {
		own := http.DefaultTransport.(*http.Transport).Clone()
		own.MaxIdleConns = connectionsKept
		own.MaxIdleConnsPerHost = connectionsKept
		// What a server compresses could be far larger than any bound on what is read from the connection.
		own.DisableCompression = true
		transport = own
	}
	c := &Client{
		pool: pool, base: at.String(), options: options, subject: anonymous, mirrors: map[*Mirror]struct{}{},
	}
	c.poolURL = c.base + "/v1/pools/" + escape(pool)
	c.gone, c.goAway = context.WithCancel(context.Background())
	c.pipeline = &pipeline{
		transport: transport, basePath: at.Path, gone: c.gone,
		requestTimeout: options.requestTimeout, retryFor: options.retryFor, userAgent: options.userAgent,
	}
	c.http = &http.Client{
		Transport: c.pipeline,
		// A server of this API redirects nobody, and credentials must not follow where somebody leads.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	configuration := generated.NewConfiguration()
	configuration.HTTPClient = c.http
	configuration.Servers = generated.ServerConfigurations{{URL: c.base}}
	configuration.UserAgent = options.userAgent
	c.api = generated.NewAPIClient(configuration)
	return c, nil
}

func (c *Client) askWhoItIs(ctx context.Context) error {
	answer, err := c.call(ctx, http.MethodGet, c.base+"/v1", nil, nil)
	if err != nil {
		if problem, ok := asProblem(err); ok && problem.Status == http.StatusNotFound {
			return &Error{Code: CodeIncompatibleServer, Detail: "the server knows no API " + apiMajor, cause: err}
		}
		return err
	}
	var about struct {
		Name       string `json:"name"`
		Version    string `json:"version"`
		APIVersion string `json:"apiVersion"`
	}
	if json.Unmarshal(answer.body, &about) != nil || about.Name != "stargus" {
		return &Error{Code: CodeNotStargus, Detail: "what answers at " + c.base + " is no Stargus server"}
	}
	if major, _, _ := strings.Cut(about.APIVersion, "."); major != apiMajor {
		return &Error{Code: CodeIncompatibleServer, Detail: fmt.Sprintf(
			"the server has version %q of the API, and this library speaks %s: use a library of the server's version", about.APIVersion, apiMajor)}
	}
	c.version = about.Version
	return nil
}

// API leads to the generated layer, which has every call of the API with its types, by the same connection: its calls are
// authenticated and repeated as this layer's are, and their refusals are a *Problem (by errors.As).
func (c *Client) API() *generated.APIClient { return c.api }

// Pool is the name of the client's pool.
func (c *Client) Pool() string { return c.pool }

// URL is the server's, as it was given to Connect.
func (c *Client) URL() string { return c.base }

// ServerVersion is the version of the server that answered Connect.
func (c *Client) ServerVersion() string { return c.version }

// Subject is who the server takes this client for: "anonymous", or what [Client.Authenticate] answered.
func (c *Client) Subject() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.subject
}

// credentials are the login that the client has now, nil if none, and whose it is.
func (c *Client) credentials() (*login, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pipeline.login.Load(), c.subject
}

// Close ends what the client opened: mirrors, feeds, locks and their session, connections. Calls that are under way fail with
// ErrClosed. It may be called more than once.
func (c *Client) Close() error {
	c.mu.Lock()
	if c.isClosed {
		c.mu.Unlock()
		c.running.Wait()
		return nil
	}
	c.isClosed = true
	mirrors, session := c.mirrors, c.session
	c.mirrors, c.session = nil, nil
	c.mu.Unlock()
	for mirror := range mirrors {
		mirror.end(nil)
	}
	if session != nil {
		session.end()
	}
	c.goAway()
	c.running.Wait()
	if idle, ok := c.pipeline.transport.(interface{ CloseIdleConnections() }); ok {
		idle.CloseIdleConnections()
	}
	return nil
}

// start runs a goroutine that Close waits for. False: the client is closed already.
func (c *Client) start(run func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isClosed {
		return false
	}
	c.running.Add(1)
	go func() {
		defer c.running.Done()
		run()
	}()
	return true
}

// tell says something to who listens for what happens in the background.
func (c *Client) tell(err error) {
	if c.options.onProblem != nil && err != nil {
		defer func() { _ = recover() }()
		c.options.onProblem(err)
	}
}

// goodbye is a context for what is still said to the server on closing.
func goodbye() (context.Context, context.CancelFunc) {
	return context.WithTimeout(withMode(context.Background(), callMode{retryFor: 0}), goodbyeTimeout)
}

// after is time.After without its garbage.
func after(d time.Duration) (<-chan time.Time, func() bool) {
	timer := time.NewTimer(d)
	return timer.C, timer.Stop
}

// IsClosed reports whether Close was called.
func (c *Client) IsClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.isClosed
}
