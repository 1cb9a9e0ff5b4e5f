package stargus_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	stargus "github.com/stargus/stargus/sdks/go"
)

// guard is a server that gives tokens; its clock is a year behind.
type guard struct {
	mu        sync.Mutex
	url       string
	logins    int
	refreshes int
	good      string
	claims    map[string]any
	lifeMs    int
	refuse    bool
	// isBetween: a proxy that can't reach the server answers for it.
	isBetween  bool
	scheme     string
	unlockWays string
}

func newGuard(t *testing.T) *guard {
	g := &guard{lifeMs: 600_000, scheme: "Bearer"}
	g.url = fake(t, g.answer)
	return g
}

func (g *guard) answer(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Date", time.Now().AddDate(-1, 0, 0).UTC().Format(http.TimeFormat))
	refuse := func(status int, code string) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"code":%q,"status":%d,"retryable":false}`, code, status)
	}
	switch {
	case r.URL.Path == "/v1/auth/challenges":
		fmt.Fprintf(w, `{"nonce":"n","audience":%q,"expiresInMs":120000}`, g.url)
	case r.URL.Path == "/v1/auth/token":
		var body struct{ GrantType, Assertion, RefreshToken string }
		json.NewDecoder(r.Body).Decode(&body)
		if g.isBetween {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		if g.refuse {
			refuse(401, "unauthenticated")
			return
		}
		if body.GrantType == "refresh_token" {
			g.refreshes++
		} else {
			g.logins++
			claims, _ := base64.RawURLEncoding.DecodeString(strings.Split(body.Assertion, ".")[1])
			json.Unmarshal(claims, &g.claims)
		}
		g.good = fmt.Sprintf("token-%d-%d", g.logins, g.refreshes)
		fmt.Fprintf(w, `{"accessToken":%q,"tokenType":%q,"expiresInMs":%d,"refreshToken":"r-%d"}`, g.good, g.scheme, g.lifeMs, g.refreshes)
	case strings.HasSuffix(r.URL.Path, "/envelope"):
		fmt.Fprintf(w, `{"account":"a","ways":[%s]}`, g.unlockWays)
	case r.Header.Get("Authorization") != g.scheme+" "+g.good:
		refuse(401, "unauthenticated")
	case r.URL.Path == "/v1/auth/me":
		fmt.Fprint(w, `{"subject":"me"}`)
	default:
		fmt.Fprint(w, `{"key":"k","revision":1,"attributes":{}}`)
	}
}

func (g *guard) with(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
}

func TestClockThatIsWrongByAYearKeepsNobodyOut(t *testing.T) {
	noLeaks(t)
	g := newGuard(t)
	_, _, file := newAccount(t, g.url)
	c := connect(t, g.url, "p")
	if who, err := c.Authenticate(soon(t), stargus.KeyFile(file)); who != "me" || err != nil {
		t.Fatal(who, err)
	}
	off := time.Since(time.Unix(int64(g.claims["iat"].(float64)), 0)) - 365*24*time.Hour
	if off < -48*time.Hour || off > 48*time.Hour || g.claims["exp"].(float64)-g.claims["iat"].(float64) != 60 {
		t.Fatal("it was signed by the own clock: ", off)
	}
}

func TestOneRenewalForAll(t *testing.T) {
	noLeaks(t)
	g := newGuard(t)
	_, _, file := newAccount(t, g.url)
	c := connect(t, g.url, "p")
	if _, err := c.Authenticate(soon(t), stargus.KeyFile(file)); err != nil {
		t.Fatal(err)
	}
	g.with(func() { g.good = "another" })
	var all sync.WaitGroup
	for range 16 {
		all.Add(1)
		go func() {
			defer all.Done()
			if _, err := c.Set(soon(t), "c", "k", nil); err != nil {
				t.Error(err)
			}
		}()
	}
	all.Wait()
	if g.refreshes != 1 || g.logins != 1 {
		t.Fatal(g.refreshes, g.logins)
	}
	g.with(func() { g.good, g.refuse = "another", true })
	_, err := c.Set(soon(t), "c", "k", nil)
	if !errors.Is(err, stargus.ErrLoginFailed) {
		t.Fatal(err)
	}
	g.with(func() { g.refuse = false })
	if _, err := c.Set(soon(t), "c", "k", nil); err != nil || g.logins != 2 {
		t.Fatal("where the refresh token is refused it logs in anew: ", err, g.logins)
	}
}

func TestProxyThatCantReachTheServerEndsNoLogin(t *testing.T) {
	noLeaks(t)
	g := newGuard(t)
	g.scheme = "DPoP"
	_, _, file := newAccount(t, g.url)
	c := connect(t, g.url, "p", stargus.WithRetryFor(0))
	if _, err := c.Authenticate(soon(t), stargus.KeyFile(file), stargus.OneTimeKey()); err != nil {
		t.Fatal(err)
	}
	g.with(func() { g.good, g.isBetween = "another", true })
	_, err := c.Set(soon(t), "c", "k", nil)
	wantCode(t, err, stargus.CodeNotStargus)
	g.with(func() { g.isBetween = false })
	if _, err := c.Set(soon(t), "c", "k", nil); err != nil || g.refreshes != 1 || g.logins != 1 {
		t.Fatal("the login, which can't begin anew, is over: ", err)
	}
}

func TestTokensAreRenewedBeforeTheyAreOver(t *testing.T) {
	noLeaks(t)
	g := newGuard(t)
	g.lifeMs = 300
	_, _, file := newAccount(t, g.url)
	c := connect(t, g.url, "p")
	if _, err := c.Authenticate(soon(t), stargus.KeyFile(file)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(280 * time.Millisecond)
	if _, err := c.Set(soon(t), "c", "k", nil); err != nil || g.refreshes != 1 {
		t.Fatal(err, g.refreshes)
	}
}

func TestDerivationsThatAreNotSafeAreRefused(t *testing.T) {
	noLeaks(t)
	g := newGuard(t)
	c := connect(t, g.url, "p")
	for name, kdf := range map[string]string{
		"cheap":    `{"name":"argon2id","memoryKiB":1024,"passes":3,"parallelism":1,"salt":"AAAAAAAAAAAAAAAAAAAAAA"}`,
		"few":      `{"name":"argon2id","memoryKiB":65536,"passes":1,"parallelism":1,"salt":"AAAAAAAAAAAAAAAAAAAAAA"}`,
		"dear":     `{"name":"argon2id","memoryKiB":1048576,"passes":3,"parallelism":1,"salt":"AAAAAAAAAAAAAAAAAAAAAA"}`,
		"salt":     `{"name":"argon2id","memoryKiB":65536,"passes":3,"parallelism":1,"salt":"AAAA"}`,
		"function": `{"name":"pbkdf2","memoryKiB":65536,"passes":3,"parallelism":1,"salt":"AAAAAAAAAAAAAAAAAAAAAA"}`,
		"members":  `{"name":"argon2id","memoryKiB":65536,"passes":3,"parallelism":1,"salt":"AAAAAAAAAAAAAAAAAAAAAA","x":1}`,
	} {
		g.with(func() { g.unlockWays = `{"way":"passphrase","kdf":` + kdf + `}` })
		if _, err := c.Authenticate(soon(t), stargus.Passphrase(g.url+"/id/ann", "secret words")); !errors.Is(err, stargus.ErrLoginFailed) || strings.Contains(err.Error(), "secret") {
			t.Error(name, err)
		}
	}
}
