package stargus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// Credentials are what [Client.Authenticate] takes.
type Credentials interface {
	// signIn makes a login of them.
	signIn(ctx context.Context, c *Client, options *loginOptions) (*login, error)
}

// LoginOption is an option of [Client.Authenticate].
type LoginOption func(*loginOptions)

type loginOptions struct {
	oneTimeKey bool
	audience   string
}

// OneTimeKey has the login make a key pair for itself: tokens are bound to it and every request is signed, so that a token that
// is stolen is worthless. The account's own key is used for the login only and isn't kept; so the login can't begin anew by
// itself, and lives for as long as its refresh tokens (30 days each).
func OneTimeKey() LoginOption { return func(o *loginOptions) { o.oneTimeKey = true } }

// Audience is the server's public URL, where it is reached under another one. Without it a login is signed only for the URL that
// the client was connected with, so that nobody can have one signed for a server that they only pass on to.
func Audience(url string) LoginOption {
	return func(o *loginOptions) { o.audience = strings.TrimRight(url, "/") }
}

// Authenticate logs in, and answers who one is now. From then on all requests and streams have a token, which is renewed in time.
//
// Errors: ErrLoginFailed where the server doesn't take the credentials, or a passphrase doesn't open the envelope.
func (c *Client) Authenticate(ctx context.Context, credentials Credentials, options ...LoginOption) (subject string, err error) {
	var chosen loginOptions
	for _, option := range options {
		option(&chosen)
	}
	l, err := credentials.signIn(ctx, c, &chosen)
	if err != nil {
		return "", err
	}
	answer, err := c.call(withMode(ctx, callMode{retryFor: -1, as: &identity{l}}), http.MethodGet, c.base+"/v1/auth/me", nil, nil)
	var me struct {
		Subject string `json:"subject"`
	}
	if err == nil {
		err = answer.into(&me)
	}
	if err != nil {
		return "", failedLogin(err)
	}
	c.mu.Lock()
	session := c.session
	c.subject, c.session = me.Subject, nil
	c.pipeline.login.Store(l)
	c.mu.Unlock()
	if session != nil {
		// It belongs to who began it.
		session.end()
	}
	return me.Subject, nil
}

type fixedToken string

// APIKey is an API key, or the operator's.
func APIKey(key string) Credentials { return fixedToken(key) }

// AccessToken is an access token that one already has. It isn't renewed.
func AccessToken(token string) Credentials { return fixedToken(token) }

func (f fixedToken) signIn(_ context.Context, c *Client, options *loginOptions) (*login, error) {
	if f == "" || strings.ContainsAny(string(f), " \t\r\n") {
		return nil, &Error{Code: CodeLoginFailed, Detail: "a key or token is one word"}
	}
	if options.oneTimeKey {
		return nil, &Error{Code: "badRequest", Detail: "a key or token that is there already can't be bound to a one-time key"}
	}
	l := &login{client: c}
	l.token = &token{login: l, value: string(f), scheme: "Bearer", isFixed: true}
	return l, nil
}

type accountKey struct {
	account string
	read    func(context.Context, *Client, *loginOptions) (account string, jwk []byte, err error)
}

// KeyFile is a file with an account's private key, {account, jwk}, as the server's command line writes it: "stargus-server identity
// create", or "npm run -s stargus -- identity create" in the server's folder.
func KeyFile(path string) Credentials {
	return &accountKey{read: func(context.Context, *Client, *loginOptions) (string, []byte, error) {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", nil, &Error{Code: CodeLoginFailed, Detail: "the key file can't be read", cause: err}
		}
		var file struct {
			Account string          `json:"account"`
			JWK     json.RawMessage `json:"jwk"`
		}
		if json.Unmarshal(text, &file) != nil || file.Account == "" {
			return "", nil, &Error{Code: CodeLoginFailed, Detail: path + " is no key file: it is {account, jwk} as JSON"}
		}
		return file.Account, file.JWK, nil
	}}
}

// PrivateKey is an account, by its URL, and its private key as a JWK.
func PrivateKey(account string, jwk []byte) Credentials {
	return &accountKey{read: func(context.Context, *Client, *loginOptions) (string, []byte, error) { return account, jwk, nil }}
}

// Passphrase is an account, by its URL, and the passphrase that opens its envelope, which is fetched from the server that guards
// it. Neither passphrase nor key leaves the process.
func Passphrase(account, passphrase string) Credentials {
	return sealed(account, "passphrase", passphrase)
}

// RecoveryCode is an account, by its URL, and the code that was shown when its envelope was made.
func RecoveryCode(account, code string) Credentials {
	return sealed(account, "recovery", normalCode(code))
}

func sealed(account, way, secret string) Credentials {
	return &accountKey{read: func(ctx context.Context, c *Client, _ *loginOptions) (string, []byte, error) {
		jwk, err := c.unlock(ctx, account, way, secret)
		return account, jwk, err
	}}
}

func (a *accountKey) signIn(ctx context.Context, c *Client, options *loginOptions) (*login, error) {
	account, jwk, err := a.read(ctx, c, options)
	if err != nil {
		return nil, err
	}
	signer, err := parseSigningKey(jwk)
	if err != nil {
		return nil, &Error{Code: CodeLoginFailed, Detail: "the account's key can't be used", cause: err}
	}
	l := &login{client: c, account: account, expected: options.audience}
	if options.oneTimeKey {
		if l.bound, err = newOneTimeKey(); err != nil {
			return nil, err
		}
	} else {
		l.signer = signer
	}
	return l, l.login(ctx, signer)
}

// checkAudience keeps a signature from being asked for by one server and used at another.
func (l *login) checkAudience(audience string) error {
	expected := l.expected
	if expected == "" {
		expected = l.client.base
	}
	if sameOrigin(audience, expected) {
		return nil
	}
	return &Error{Code: CodeLoginFailed, Detail: fmt.Sprintf(
		"the server at %s says that it is %s; if that is true, say so by Audience, otherwise somebody may be trying to log in there as you", l.client.base, audience)}
}

func sameOrigin(a, b string) bool {
	x, err1 := url.Parse(a)
	y, err2 := url.Parse(b)
	return err1 == nil && err2 == nil && x.Scheme == y.Scheme && hostPort(x) == hostPort(y)
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return strings.ToLower(u.Hostname()) + ":" + port
}

// isLoopbackURL: what is said to this machine itself needs no TLS.
func isLoopbackURL(text string) bool {
	u, err := url.Parse(text)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// unlock fetches the envelope of an account and opens it.
func (c *Client) unlock(ctx context.Context, account, way, secret string) ([]byte, error) {
	at, err := url.Parse(account)
	if err != nil || at.Host == "" || at.Scheme != "https" && !(at.Scheme == "http" && isLoopbackURL(account)) {
		return nil, &Error{Code: CodeLoginFailed, Detail: "an account is an https URL"}
	}
	failed := func(err error) error {
		return &Error{Code: CodeLoginFailed, Detail: "the account's envelope couldn't be opened", cause: err}
	}
	server, name, isHosted := strings.Cut(account, "/id/")
	if !isHosted || name == "" || strings.Contains(name, "/") {
		text, err := c.published(ctx, account)
		if err != nil {
			return nil, failed(err)
		}
		e, recipient, err := parseEnvelope(text, account, way)
		if err != nil {
			return nil, failed(err)
		}
		opening, _, err := recipient.Header.KDF.derive(account, way, secret)
		if err != nil {
			return nil, failed(err)
		}
		jwk, err := e.open(recipient, opening)
		if err != nil {
			return nil, failed(err)
		}
		return jwk, nil
	}
	guard := c
	if !sameOrigin(server, c.base) {
		// Another server guards it, which has nothing to do with this client's credentials.
		options := c.options
		options.transport = nil
		if guard, err = newClient(server, "_", options); err != nil {
			return nil, failed(err)
		}
		defer guard.Close()
	}
	path := guard.base + "/v1/identities/" + name + "/envelope"
	answer, err := guard.call(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return nil, failedLogin(err)
	}
	var told struct {
		Ways []struct {
			Way string          `json:"way"`
			KDF json.RawMessage `json:"kdf"`
		} `json:"ways"`
	}
	if err := answer.into(&told); err != nil {
		return nil, err
	}
	for _, one := range told.Ways {
		if one.Way != way {
			continue
		}
		var kdf derivation
		if err := strictly(one.KDF, &kdf); err != nil {
			return nil, failed(err)
		}
		opening, proof, err := kdf.derive(account, way, secret)
		if err != nil {
			return nil, failed(err)
		}
		body, err := encode(map[string]string{"way": way, "proof": proof})
		if err != nil {
			return nil, err
		}
		answer, err := guard.call(ctx, http.MethodPost, path+"/unlock", nil, body)
		if err != nil {
			return nil, failedLogin(err)
		}
		var unlocked struct {
			Envelope string `json:"envelope"`
		}
		if err := answer.into(&unlocked); err != nil {
			return nil, err
		}
		e, recipient, err := parseEnvelope([]byte(unlocked.Envelope), account, way)
		if err != nil {
			return nil, failed(err)
		}
		if recipient.Header.KDF != kdf {
			return nil, failed(errors.New("the envelope asks for another derivation than its guard"))
		}
		jwk, err := e.open(recipient, opening)
		if err != nil {
			return nil, failed(err)
		}
		return jwk, nil
	}
	return nil, &Error{Code: CodeLoginFailed, Detail: "the account has no envelope that opens so"}
}

// published reads the envelope that an account's site has for everybody.
func (c *Client) published(ctx context.Context, account string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.options.requestTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(account, "/")+"/envelope.jwe", nil)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	site := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := site.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, errors.New("the account's site has no envelope: " + response.Status)
	}
	return io.ReadAll(io.LimitReader(response.Body, envelopeBytesMax+1))
}

// wasNotSent: no connection came about, so the request can't have arrived.
func wasNotSent(err error) bool {
	var operation *net.OpError
	return errors.As(err, &operation) && operation.Op == "dial"
}
