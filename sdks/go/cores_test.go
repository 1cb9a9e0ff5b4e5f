package stargus

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stargus/stargus/sdks/go/where"
)

func TestRepetition(t *testing.T) {
	for _, c := range []struct {
		n                int
		retryAfter, left time.Duration
		random           float64
		wait             time.Duration
		goesOn           bool
	}{
		{1, -1, time.Second, 1, 100 * time.Millisecond, true},
		{2, -1, time.Second, 1, 200 * time.Millisecond, true},
		{6, -1, 10 * time.Second, 1, 2 * time.Second, true},
		{60, -1, 10 * time.Second, 0.5, time.Second, true},
		{1, 3 * time.Second, 10 * time.Second, 0, 3 * time.Second, true},
		{1, 3 * time.Second, 2 * time.Second, 0, 3 * time.Second, false},
		{1, -1, 0, 0, 0, false},
	} {
		if wait, goesOn := waitBefore(c.n, c.retryAfter, c.left, c.random); wait != c.wait || goesOn != c.goesOn {
			t.Errorf("%+v: %v, %v", c, wait, goesOn)
		}
	}
	for text, want := range map[string]time.Duration{
		"": -1, "3": 3 * time.Second, "0": 0, "x": -1, "-1": -1, "Fri, 27 Nov 2026 12:00:05 GMT": 5 * time.Second,
	} {
		header := http.Header{"Date": {"Fri, 27 Nov 2026 12:00:00 GMT"}}
		header.Set("Retry-After", text)
		if is := retryAfterOf(header); is != want {
			t.Errorf("%q: %v", text, is)
		}
	}
}

func TestComingBack(t *testing.T) {
	var back comeBack
	if back.wait(true, time.Minute, 0, 1) != 0 {
		t.Error("after one that was live at once")
	}
	for i, want := range []time.Duration{250, 500, 1000, 2000, 4000, 8000, 15000, 15000} {
		if is := back.wait(false, 0, 0, 1); is != want*time.Millisecond {
			t.Errorf("%d: %v", i, is)
		}
	}
	if is := back.wait(true, time.Minute, 3*time.Second, 0); is != 3*time.Second {
		t.Error("a bye's time is kept: ", is)
	}
	if is := back.wait(false, 0, 0, 1); is != 250*time.Millisecond {
		t.Error("a live stream makes good for failures: ", is)
	}
}

func TestTokenLife(t *testing.T) {
	asked := time.Now()
	life := lifeOf(asked, 10*time.Minute)
	if life.isDue(asked.Add(9*time.Minute-time.Second)) || !life.isDue(asked.Add(9*time.Minute)) || !life.isGood(asked.Add(599*time.Second)) || life.isGood(asked.Add(10*time.Minute)) {
		t.Fatal(life)
	}
}

func TestServerClockIsNotOurs(t *testing.T) {
	var clock serverClock
	wrong := time.Now().AddDate(-1, 0, 0).UTC().Truncate(time.Second)
	clock.set(http.Header{"Date": {wrong.Format(http.TimeFormat)}})
	if off := clock.now().Sub(wrong); off < 0 || off > time.Second {
		t.Fatal(off)
	}
}

func TestRequestKinds(t *testing.T) {
	for request, want := range map[string]requestKind{
		"GET /v1/pools/p":                                     {},
		"PUT /v1/pools/p/collections/c/items/k":               {takesKey: true},
		"POST /v1/pools/p/collections/c/items":                {takesKey: true},
		"POST /v1/pools/p/collections/c/query":                {},
		"POST /v1/pools/p/policy/check":                       {},
		"POST /v1/pools/p/sessions/s/renew":                   {},
		"POST /v1/pools/p/import":                             {once: true},
		"POST /v1/auth/keys":                                  {once: true},
		"POST /v1/pins":                                       {once: true},
		"POST /v1/pools/p/notifiers/n/test":                   {once: true},
		"POST /v1/pools/p/notifiers/n/rotateSecret":           {once: true},
		"POST /v1/pools/p/notifiers/n/resume":                 {},
		"POST /v1/pools/p/notifiers/n/deliveries/d/redeliver": {once: true},
		"POST /v1/pools/p/batch":                              {takesKey: true},
		"POST /v1/pools/p/locks":                              {takesKey: true},
		"POST /v1/pools/p/collections/c/items/k/increment":    {takesKey: true},
		"POST /v1/auth/token":                                 {once: true, isPublic: true},
		"POST /v1/auth/challenges":                            {isPublic: true},
		"POST /v1/identities/a/envelope/unlock":               {isPublic: true},
		"GET /v1/auth/me":                                     {},
	} {
		method, path, _ := strings.Cut(request, " ")
		if is := kindOf(method, path); is != want {
			t.Errorf("%s: %+v", request, is)
		}
	}
}

func TestMergePatch(t *testing.T) {
	for _, c := range [][3]string{
		{`{"a":1}`, `{"b":2}`, `{"a":1,"b":2}`},
		{`{"a":1}`, `{"a":null}`, `{}`},
		{`{"a":{"b":1,"c":2}}`, `{"a":{"b":null}}`, `{"a":{"c":2}}`},
		{`{"a":[1]}`, `{"a":{"b":null,"c":1}}`, `{"a":{"c":1}}`},
		{`{}`, `{"a":{"b":{"c":null}}}`, `{"a":{"b":{}}}`},
		{`{"a":1}`, `{"a":[null]}`, `{"a":[null]}`},
	} {
		var target, patch map[string]any
		json.Unmarshal([]byte(c[0]), &target)
		json.Unmarshal([]byte(c[1]), &patch)
		if is, _ := json.Marshal(mergePatch(target, patch)); string(is) != c[2] {
			t.Errorf("%s with %s: %s", c[0], c[1], is)
		}
		if was, _ := json.Marshal(target); string(was) != c[0] {
			t.Errorf("%s was changed to %s", c[0], was)
		}
	}
}

func TestCodes(t *testing.T) {
	problem := parseProblem(404, []byte(`{"code":"notFound","status":404,"title":"Not found","retryable":false,"oldest":"e-1"}`))
	if !errors.Is(problem, ErrNotFound) || errors.Is(problem, ErrConflict) || problem.Detail != "Not found" || problem.Members["oldest"] != "e-1" {
		t.Fatal(problem)
	}
	wrapped := fmt.Errorf("outer: %w", &Error{Code: CodeLoginFailed, cause: problem})
	if CodeOf(wrapped) != CodeLoginFailed || !errors.Is(wrapped, ErrNotFound) || CodeOf(nil) != "" || CodeOf(errors.New("x")) != "" {
		t.Fatal(CodeOf(wrapped))
	}
	if CodeOf(errors.Join(errors.New("x"), problem)) != "notFound" {
		t.Fatal("of joined ones")
	}
	if parseProblem(500, []byte(`{"error":"x"}`)) != nil || parseProblem(500, []byte(`<html>`)) != nil {
		t.Fatal("what is no problem")
	}
}

func TestCanonicalQuery(t *testing.T) {
	s := &selection{}
	for _, option := range []Option{Prefix("a/b c"), Fields("x", "é"), Where(map[string]any{"b": 1, "a": map[string]any{"gte": 2.5, "eq": "<"}})} {
		option.(selecting)(s)
	}
	want := `fields=x%2C%C3%A9&prefix=a%2Fb%20c&where=%7B%22a%22%3A%7B%22eq%22%3A%22%3C%22%2C%22gte%22%3A2.5%7D%2C%22b%22%3A1%7D`
	if is := canonicalQuery(s.parameters()); is != want {
		t.Fatal(is)
	}
	if text, err := canonical(where.Field("or").Eq(1)); err != nil || string(text) != `{"/or":{"eq":1}}` {
		t.Fatal(string(text), err)
	}
	if _, err := canonical([]int{1}); CodeOf(err) != "badRequest" {
		t.Fatal(err)
	}
}

func TestPolicyRules(t *testing.T) {
	rules, err := parsePolicyRules([]byte(`{"rules":[
		{"action":["write"],"subject":["docs"],"conditions":{"owner":{"$eq":"ann"}}},
		{"action":["create"],"subject":["all"],"fields":["title"]},
		{"action":["write"],"subject":["odd"],"conditions":{"x":{"$near":1}}},
		{"action":["delete"],"subject":["odd"]},
		{"action":["write"],"subject":["keys"],"conditions":{"@key":{"$regex":"^a\\/b"}}},
		{"action":["write"],"subject":["docs"],"fields":["secret"],"inverted":true},
		{"action":["delete"],"subject":["odd"],"inverted":true,"conditions":{"x":{"$near":1}}}
	],"restrictions":[[{"action":["manage"],"subject":["docs","keys","odd"]}]]}`))
	if err != nil {
		t.Fatal(err)
	}
	own := map[string]any{"owner": "ann"}
	for _, c := range []struct {
		action, collection, key string
		attributes              map[string]any
		field                   string
		want                    bool
	}{
		{"write", "docs", "k", own, "title", true},
		{"write", "docs", "k", own, "secret", false},
		{"write", "docs", "k", map[string]any{"owner": "bob"}, "title", false},
		{"write", "docs", "k", map[string]any{"owner": []any{"ann"}}, "title", false},
		{"create", "docs", "k", nil, "title", true},
		{"create", "docs", "k", nil, "body", false},
		{"create", "elsewhere", "k", nil, "title", false},
		{"write", "odd", "k", map[string]any{"x": 1.0}, "x", false},
		{"delete", "odd", "k", map[string]any{"x": 1.0}, "", false},
		{"write", "keys", "a/bc", nil, "x", true},
		{"write", "keys", "c", nil, "x", false},
	} {
		if is := rules.allows(c.action, c.collection, c.key, c.attributes, c.field); is != c.want {
			t.Errorf("%+v: %v", c, is)
		}
	}
}

func TestKeptValuesAreBounded(t *testing.T) {
	kept := newKeptValues(40)
	for i := range 5 {
		kept.put(fmt.Sprint("k", i), 1, map[string]any{"value": i})
		kept.get("k0", 1)
	}
	if kept.bytes > 40 || kept.peek("k0", 1) == nil || kept.peek("k1", 1) != nil || kept.peek("k4", 1) == nil || kept.peek("k4", 2) != nil {
		t.Fatal(kept.bytes, kept.byKey)
	}
	kept.put("large", 1, map[string]any{"value": strings.Repeat("x", 100)})
	if kept.peek("large", 1) != nil {
		t.Fatal("larger than the bound")
	}
	kept.dropAll()
	if len(kept.byKey) != 0 || kept.bytes != 0 || kept.byRecent.Len() != 0 {
		t.Fatal(kept.byKey)
	}
}

func TestChecksumOfTheCache(t *testing.T) {
	w := &cacheWriter{}
	add(&w.total, digestOf(CacheRow{Key: "hall", Revision: 6, Attributes: `{"a":3}`}))
	add(&w.total, digestOf(CacheRow{Key: "other", Revision: 5, Attributes: `{}`}))
	if is := w.checksum("7ecd2574a9e0-6", 2); is != "3bef7cd78f79de9987c32086ad833c64a16ce909cfb3e61d9f3c7c2bb242289f" {
		t.Fatal(is)
	}
}
