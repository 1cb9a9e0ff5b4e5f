package stargus

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A login is what stands behind the credentials of a client's requests: how to get a token, for how long the present one
// lives, and that a new one is asked for once, whoever needs it.

type login struct {
	client *Client
	// account and signer log in anew; signer is nil where the account's key isn't kept.
	account string
	signer  *signingKey
	// bound is the key that tokens are bound to, if they are.
	bound *signingKey
	// audience is the server's public URL, that proofs are for.
	audience string
	// expected is what audience must be, where somebody said so.
	expected string

	mu       sync.Mutex
	token    *token
	refresh  string
	clock    serverClock
	renewing *renewal
}

// token is an access token, or a key that is never renewed.
type token struct {
	login  *login
	value  string
	scheme string
	// isFixed: nothing can be got in its place.
	isFixed bool
	life    tokenLife
}

// renewal is one that is under way.
type renewal struct {
	done chan struct{}
	err  error
}

// authorize puts the credentials on a request, and answers the token that they are of.
func (p *pipeline) authorize(ctx context.Context, request *http.Request, kind requestKind, l *login) (*token, error) {
	if l == nil || kind.isPublic {
		return nil, nil
	}
	t, err := l.current(ctx)
	if err != nil {
		return nil, err
	}
	return t, l.put(request, t, strings.TrimPrefix(request.URL.EscapedPath(), p.basePath))
}

// hear takes the server's time from what it answered to a request that had to be signed: the clock that nobody sets stands still
// while the machine sleeps, and a signature of then is refused.
func (l *login) hear(response *http.Response, failure *failure) {
	if l.bound == nil {
		return
	}
	var header http.Header
	switch {
	case response != nil:
		header = response.Header
	case failure != nil:
		header = failure.header
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clock.set(header)
}

func (l *login) put(request *http.Request, t *token, path string) error {
	request.Header["Authorization"] = []string{t.scheme + " " + t.value}
	if l.bound == nil {
		return nil
	}
	proof, err := l.proof(request.Method, path, t.value)
	if err != nil {
		return err
	}
	request.Header["Dpop"] = []string{proof}
	return nil
}

// proof shows for one request that the sender has the key that the token is bound to (RFC 9449).
func (l *login) proof(method, path, value string) (string, error) {
	l.mu.Lock()
	now := l.clock.now()
	l.mu.Unlock()
	claims := map[string]any{"jti": newUUID(), "htm": method, "htu": l.audience + path, "iat": now.Unix()}
	if value != "" {
		digest := sha256.Sum256([]byte(value))
		claims["ath"] = b64.EncodeToString(digest[:])
	}
	return l.bound.jws(map[string]any{"typ": "dpop+jwt", "alg": l.bound.algorithm, "jwk": l.bound.public}, claims)
}

// current answers a token that is good, and waits for one where it must.
func (l *login) current(ctx context.Context) (*token, error) {
	l.mu.Lock()
	t := l.token
	if t.isFixed || !t.life.isDue(time.Now()) {
		l.mu.Unlock()
		return t, nil
	}
	under := l.begin()
	l.mu.Unlock()
	err := l.await(ctx, under)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil || l.token.life.isGood(time.Now()) && !errors.Is(err, ErrLoginFailed) && ctx.Err() == nil {
		return l.token, nil
	}
	return nil, err
}

// renewAfter gets a new token because t was refused; false: there is none to be had.
func (l *login) renewAfter(ctx context.Context, t *token) (bool, error) {
	if t.isFixed {
		return false, nil
	}
	l.mu.Lock()
	if l.token != t {
		l.mu.Unlock()
		return true, nil
	}
	under := l.begin()
	l.mu.Unlock()
	err := l.await(ctx, under)
	return err == nil, err
}

// renewSoon has the next request get a new token first.
func (p *pipeline) renewSoon() {
	if l := p.login.Load(); l != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		if !l.token.isFixed {
			l.token.life.dueAt = time.Now()
		}
	}
}

// begin starts a renewal, or joins the one that is under way. The lock is held.
func (l *login) begin() *renewal {
	if l.renewing != nil {
		return l.renewing
	}
	under := &renewal{done: make(chan struct{})}
	l.renewing = under
	run := func() {
		// It is for all who wait, so none of them can cancel it.
		ctx, cancel := context.WithTimeout(l.client.gone, l.client.options.retryFor+2*l.client.options.requestTimeout)
		defer cancel()
		err := l.renew(ctx)
		l.mu.Lock()
		under.err, l.renewing = err, nil
		l.mu.Unlock()
		close(under.done)
	}
	if !l.client.start(run) {
		under.err, l.renewing = closedError("client"), nil
		close(under.done)
	}
	return under
}

func (l *login) await(ctx context.Context, under *renewal) error {
	select {
	case <-under.done:
		return under.err
	case <-ctx.Done():
		return ofContext(ctx)
	}
}

// renew asks for the next token by the refresh token, and logs in anew where that is refused, or lost.
func (l *login) renew(ctx context.Context) error {
	l.mu.Lock()
	refresh := l.refresh
	l.mu.Unlock()
	var refusal error
	if refresh != "" {
		err := l.grant(ctx, map[string]any{"grantType": "refresh_token", "refreshToken": refresh})
		if err == nil {
			return nil
		}
		problem, isProblem := asProblem(err)
		if ctx.Err() != nil || isProblem && problem.Retryable || wasNotSent(err) || isFromBetween(err) {
			return err
		}
		// It was refused, or its answer was lost; to send it again would end the whole login.
		l.mu.Lock()
		l.refresh = ""
		l.mu.Unlock()
		refusal = err
	}
	if l.signer == nil {
		return &Error{Code: CodeLoginFailed, Detail: "the login is over, and can't begin anew by itself: authenticate again", cause: refusal}
	}
	return l.login(ctx, l.signer)
}

// isFromBetween: what stands before the server said that it can't reach it.
func isFromBetween(err error) bool {
	var own *Error
	return errors.As(err, &own) && own.isTemporary
}

// login shows that the account is one's own (docs/API.md, Logging in).
func (l *login) login(ctx context.Context, signer *signingKey) error {
	answer, err := l.client.call(ctx, http.MethodPost, l.client.base+"/v1/auth/challenges", nil, []byte("{}"))
	if err != nil {
		return failedLogin(err)
	}
	var challenge struct {
		Nonce    string `json:"nonce"`
		Audience string `json:"audience"`
	}
	if err := answer.into(&challenge); err != nil {
		return err
	}
	if err := l.checkAudience(challenge.Audience); err != nil {
		return err
	}
	l.audience = challenge.Audience
	l.mu.Lock()
	l.clock.set(answer.header)
	now := l.clock.now().Unix()
	l.mu.Unlock()
	claims := map[string]any{
		"iss": l.account, "sub": l.account, "aud": challenge.Audience, "nonce": challenge.Nonce, "jti": newUUID(),
		"iat": now, "exp": now + assertionSeconds,
	}
	if l.bound != nil {
		claims["cnf"] = map[string]any{"jkt": l.bound.thumbprint}
	}
	header := map[string]any{"typ": "stargus-login+jwt", "alg": signer.algorithm, "kid": signer.thumbprint}
	assertion, err := signer.jws(header, claims)
	if err != nil {
		return &Error{Code: CodeLoginFailed, Detail: "the account's key can't sign", cause: err}
	}
	err = l.grant(ctx, map[string]any{"grantType": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion})
	return failedLogin(err)
}

// assertionSeconds is as long as an assertion may be good for.
const assertionSeconds = 60

// failedLogin tells a refusal in the library's own words.
func failedLogin(err error) error {
	problem, ok := asProblem(err)
	if !ok || problem.Retryable || problem.Status >= 500 {
		return err
	}
	return &Error{Code: CodeLoginFailed, Detail: "the server didn't take the login", cause: err}
}

// grant asks for tokens.
func (l *login) grant(ctx context.Context, what map[string]any) error {
	body, err := encode(what)
	if err != nil {
		return err
	}
	header := http.Header{}
	if l.bound != nil {
		proof, err := l.proof(http.MethodPost, "/v1/auth/token", "")
		if err != nil {
			return err
		}
		header["Dpop"] = []string{proof}
	}
	asked := time.Now()
	answer, err := l.client.call(ctx, http.MethodPost, l.client.base+"/v1/auth/token", header, body)
	if err != nil {
		return err
	}
	var told struct {
		AccessToken  string  `json:"accessToken"`
		TokenType    string  `json:"tokenType"`
		ExpiresInMs  float64 `json:"expiresInMs"`
		RefreshToken string  `json:"refreshToken"`
	}
	if err := answer.into(&told); err != nil {
		return err
	}
	if told.AccessToken == "" {
		return &Error{Code: CodeProtocolError, Detail: "the server answered the login without a token"}
	}
	scheme := "Bearer"
	if strings.EqualFold(told.TokenType, "DPoP") {
		scheme = "DPoP"
	}
	if (scheme == "DPoP") != (l.bound != nil) {
		return &Error{Code: CodeProtocolError, Detail: "the server answered a token that isn't bound as was asked for"}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clock.set(answer.header)
	l.token = &token{
		login: l, value: told.AccessToken, scheme: scheme,
		life: lifeOf(asked, time.Duration(told.ExpiresInMs*float64(time.Millisecond))),
	}
	l.refresh = told.RefreshToken
	return nil
}
