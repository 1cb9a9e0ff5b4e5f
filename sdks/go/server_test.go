package stargus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	stargus "github.com/stargus/stargus/sdks/go"
	"github.com/stargus/stargus/sdks/go/generated"
	"github.com/stargus/stargus/sdks/go/internal/testserver"
	"github.com/stargus/stargus/sdks/go/where"
)

func TestItems(t *testing.T) {
	url := testserver.Open(t)
	noLeaks(t)
	ctx, c := soon(t), connect(t, url, newPool())
	if _, found, err := c.Get(ctx, "rooms", "hall"); found || err != nil {
		t.Fatal(found, err)
	}
	item := must[stargus.Item](t)(c.Set(ctx, "rooms", "a/ü%", struct {
		Light string `json:"light"`
		Seats int    `json:"seats"`
	}{"on", 4}))
	if read, found, err := c.Get(ctx, "rooms", "a/ü%"); !found || err != nil || read.Attributes["seats"] != 4.0 || read.Revision != item.Revision {
		t.Fatal(read, err)
	}
	_, err := c.Set(ctx, "rooms", "a/ü%", m{}, stargus.IfRevision(0))
	if !errors.Is(err, stargus.ErrPreconditionFailed) {
		t.Fatal(err)
	}
	item = must[stargus.Item](t)(c.Merge(ctx, "rooms", "a/ü%", m{"light": nil, "n": m{"x": 1}}, stargus.IfRevision(item.Revision)))
	var room struct {
		Light *string
		Seats int
		N     map[string]int
	}
	if err := item.Decode(&room); err != nil || room.Light != nil || room.Seats != 4 || room.N["x"] != 1 {
		t.Fatal(room, err)
	}
	made := must[stargus.Item](t)(c.Create(ctx, "rooms", m{"n": 1}, ""))
	if _, err := c.Create(ctx, "rooms", m{}, made.Key); !errors.Is(err, stargus.ErrConflict) {
		t.Fatal(err)
	}
	if sum := must[float64](t)(c.Increment(ctx, "rooms", made.Key, "n", 2.5)); sum != 3.5 {
		t.Fatal(sum)
	}
	most := 4.0
	if _, err := c.Increment(ctx, "rooms", made.Key, "n", 1, stargus.Within(nil, &most)); !errors.Is(err, stargus.ErrConflict) {
		t.Fatal(err)
	}
	if existed := must[bool](t)(c.Delete(ctx, "rooms", made.Key)); !existed {
		t.Fatal("there was one")
	}
	if existed := must[bool](t)(c.Delete(ctx, "rooms", made.Key)); existed {
		t.Fatal("there is none")
	}
	for _, key := range []string{"", ".", ".."} {
		if _, err := c.Set(ctx, "rooms", key, nil); stargus.CodeOf(err) != "invalidName" {
			t.Fatal(key, err)
		}
	}
}

func TestBatchesAndQueries(t *testing.T) {
	url := testserver.Open(t)
	noLeaks(t)
	ctx, c := soon(t), connect(t, url, newPool())
	var ops []stargus.Op
	for i := range 25 {
		ops = append(ops, stargus.Put("n", fmt.Sprintf("k%02d", i), m{"i": i, "odd": i%2 == 1}))
	}
	ops = append(ops, stargus.Increment("n", "k00", "i", 100), stargus.Append("n", "k01", "list", "x"), stargus.Unset("n", "k02", "odd"), stargus.Delete("n", "k24"))
	result := must[stargus.BatchResult](t)(c.Batch(ctx, ops, stargus.Provided(stargus.Exists("n", "k00", false))))
	if result.Revision != 1 || len(result.Results) != 29 {
		t.Fatal(result)
	}
	_, err := c.Batch(ctx, []stargus.Op{stargus.Put("n", "x", nil), stargus.Create("n", nil, "k03")})
	var problem *stargus.Problem
	if !errors.As(err, &problem) || len(problem.Errors) == 0 || problem.Errors[0].Index == nil || *problem.Errors[0].Index != 1 {
		t.Fatal(err)
	}
	var keys []string
	for item, err := range c.Query(ctx, "n", stargus.Where(where.Field("odd").Eq(true)), stargus.Order("-i"), stargus.PageSize(5)) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, item.Key)
	}
	if len(keys) != 12 || keys[0] != "k23" || keys[11] != "k01" {
		t.Fatal(keys)
	}
	if n := must[int64](t)(c.Count(ctx, "n", stargus.Where(m{"odd": false}))); n != 11 {
		t.Fatal(n)
	}
	for _, err := range c.Query(ctx, "n", stargus.Where(m{"a": m{"near": 1}})) {
		wantCode(t, err, "invalidFilter")
	}
}

func TestGeneratedLayerGoesTheSameWay(t *testing.T) {
	url := testserver.Open(t)
	noLeaks(t)
	ctx, c := soon(t), connect(t, url, newPool())
	must[stargus.Item](t)(c.Set(ctx, "rooms", "hall", m{"x": 1}))
	item, _, err := c.API().ItemsAPI.GetItem(ctx, c.Pool(), "rooms", "hall").Execute()
	if err != nil || item.Key != "hall" {
		t.Fatal(item, err)
	}
	_, _, err = c.API().ItemsAPI.GetItem(ctx, c.Pool(), "rooms", "gone").Execute()
	if !errors.Is(err, stargus.ErrNotFound) {
		t.Fatal(err)
	}
}

func TestMirrorFollows(t *testing.T) {
	url := testserver.Open(t)
	noLeaks(t)
	ctx, c := soon(t), connect(t, url, newPool())
	must[stargus.Item](t)(c.Set(ctx, "rooms", "hall", m{"light": "on"}))
	mirror := attach(t, c, "rooms")
	open := attach(t, c, "rooms", stargus.Where(where.Field("light").Eq("on")))
	changes := mirror.Changes(ctx)
	item := must[stargus.Item](t)(c.Merge(ctx, "rooms", "hall", m{"light": "off", "n": 1}))
	if err := mirror.Reached(ctx, item.Revision); err != nil {
		t.Fatal(err)
	}
	if shown, ok := mirror.Get("hall"); !ok || shown.Attributes["light"] != "off" || shown.Revision != item.Revision {
		t.Fatal(shown)
	}
	for change, err := range changes {
		if err != nil || change.Op != stargus.OpChange || change.Previous.Attributes["light"] != "on" || len(change.Changed) != 2 {
			t.Fatal(change, err)
		}
		break
	}
	if err := open.Reached(ctx, item.Revision); err != nil || open.Len() != 0 {
		t.Fatal(err, open.Snapshot())
	}
	if before, ok := mirror.Get("hall"); !ok || before.Attributes["n"] != 1.0 {
		t.Fatal(before)
	}
	mirror.Close()
	for _, err := range mirror.Changes(ctx) {
		t.Fatal("after its end: ", err)
	}
}

func TestWritesShowAtOnceAndAreTakenBack(t *testing.T) {
	url := testserver.Open(t)
	noLeaks(t)
	ctx, c, other := soon(t), connect(t, url, newPool(), stargus.WithRetryFor(0)), (*stargus.Client)(nil)
	other = connect(t, url, c.Pool())
	must[stargus.Item](t)(c.Set(ctx, "rooms", "hall", m{"n": 0}))
	mirror := attach(t, c, "rooms", stargus.OnDenied(stargus.DeniedIsEvent))
	held, err := other.Lock(ctx, stargus.Scope{Collection: "rooms", Key: "locked"})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var told []string
	mirror.OnChange(func(change stargus.Change) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, change.Op+" "+change.Key+" "+change.Reason)
	})
	var denied []string
	mirror.OnDenied(func(d stargus.Denied) { denied = append(denied, stargus.CodeOf(d.Err)) })
	if item, err := mirror.Set(ctx, "locked", m{"x": 1}); err != nil || item.Key != "" {
		t.Fatal(item, err)
	}
	if mirror.Has("locked") || len(denied) != 1 || denied[0] != "locked" {
		t.Fatal(mirror.Snapshot(), denied)
	}
	eventually(t, "its being taken back", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(told) == 2 && told[0] == "add locked " && told[1] == "delete locked refused"
	})
	held.Unlock()
	// Many writes of one item lie on one another, and arrive in order.
	var all sync.WaitGroup
	for i := range 20 {
		all.Add(1)
		go func() {
			defer all.Done()
			if _, err := mirror.Merge(ctx, "hall", m{fmt.Sprint("f", i): i}); err != nil {
				t.Error(err)
			}
		}()
	}
	all.Wait()
	read, _, err := c.Get(ctx, "rooms", "hall")
	shown, _ := mirror.Get("hall")
	if err != nil || len(read.Attributes) != 21 || len(shown.Attributes) != 21 {
		t.Fatal(err, read, shown)
	}
	if err := mirror.Reached(ctx, read.Revision); err != nil {
		t.Fatal(err)
	}
	if shown, _ = mirror.Get("hall"); shown.Revision != read.Revision {
		t.Fatal(shown, read)
	}
	existed := must[bool](t)(mirror.Delete(ctx, "hall"))
	if !existed || mirror.Len() != 0 {
		t.Fatal(mirror.Snapshot())
	}
}

func TestSparseMirrorFetches(t *testing.T) {
	url := testserver.Open(t)
	noLeaks(t)
	ctx, c := soon(t), connect(t, url, newPool())
	for i := range 10 {
		must[stargus.Item](t)(c.Set(ctx, "rooms", fmt.Sprint("k", i), m{"text": "0123456789", "i": i}))
	}
	mirror := attach(t, c, "rooms", stargus.ValuesNone, stargus.MemoryMax(120))
	if item, ok := mirror.Get("k1"); !ok || item.Attributes != nil || item.Revision != 2 {
		t.Fatal(item)
	}
	for i := range 10 {
		item, found, err := mirror.Fetch(ctx, fmt.Sprint("k", i))
		if err != nil || !found || item.Attributes["i"] != float64(i) {
			t.Fatal(item, err)
		}
	}
	if items, bytes := mirror.Kept(); bytes > 120 || items == 0 {
		t.Fatal(items, bytes)
	}
	written := must[stargus.Item](t)(c.Merge(ctx, "rooms", "k9", m{"i": -1}))
	if err := mirror.Reached(ctx, written.Revision); err != nil {
		t.Fatal(err)
	}
	if item, _, err := mirror.Fetch(ctx, "k9"); err != nil || item.Attributes["i"] != -1.0 {
		t.Fatal("an old value: ", item, err)
	}
	if _, found, err := mirror.Fetch(ctx, "gone"); found || err != nil {
		t.Fatal(found, err)
	}
}

func TestLocks(t *testing.T) {
	url := testserver.Open(t)
	noLeaks(t)
	ctx, a := soon(t), connect(t, url, newPool())
	b := connect(t, url, a.Pool(), stargus.WithRetryFor(0))
	scope := stargus.Scope{Collection: "rooms", Key: "hall"}
	held := must[*stargus.Held](t)(a.Lock(ctx, scope, stargus.Note("of a test")))
	must[stargus.Item](t)(held.Set(ctx, "rooms", "hall", m{"n": 1}))
	if _, err := b.Set(ctx, "rooms", "hall", m{}); !errors.Is(err, stargus.ErrLocked) {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := b.Lock(ctx, scope, stargus.Wait(0)); !errors.Is(err, stargus.ErrLockConflict) || time.Since(began) > 5*time.Second {
		t.Fatal(err)
	}
	if _, err := b.Lock(ctx, scope, stargus.Wait(200*time.Millisecond)); !errors.Is(err, stargus.ErrLockConflict) {
		t.Fatal(err)
	}
	waiting, giveUp := context.WithCancel(ctx)
	time.AfterFunc(100*time.Millisecond, giveUp)
	if _, err := b.Lock(waiting, scope); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	time.AfterFunc(150*time.Millisecond, func() { held.Unlock() })
	second := must[*stargus.Held](t)(b.Lock(ctx, scope))
	if second.Fence() <= held.Fence() || held.Context().Err() == nil || held.Err() != nil {
		t.Fatal(second.Fence(), held.Fence())
	}
	// It is broken, and the body hears of it.
	if _, _, err := a.API().LocksAPI.BreakLock(ctx, a.Pool(), second.ID()).LockBreak(*generated.NewLockBreak()).Execute(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-second.Context().Done():
	case <-ctx.Done():
		t.Fatal("nobody said that it was lost")
	}
	if !errors.Is(context.Cause(second.Context()), stargus.ErrLockLost) || !errors.Is(second.Err(), stargus.ErrLockLost) {
		t.Fatal(context.Cause(second.Context()))
	}
	if _, err := second.Set(ctx, "rooms", "hall", m{}); !errors.Is(err, stargus.ErrLockLost) {
		t.Fatal(err)
	}
	if err := second.Unlock(); err != nil {
		t.Fatal(err)
	}
}

func TestSessionThatEndsLosesItsLocks(t *testing.T) {
	url := testserver.Open(t)
	noLeaks(t)
	ctx, c := soon(t), connect(t, url, newPool())
	held := must[*stargus.Held](t)(c.Lock(ctx, stargus.Scope{Collection: "rooms"}, stargus.Lease(1500*time.Millisecond)))
	time.Sleep(2 * time.Second)
	if held.Context().Err() != nil {
		t.Fatal("it wasn't renewed: ", context.Cause(held.Context()))
	}
	for item, err := range c.Query(ctx, "_clients") {
		if err != nil {
			t.Fatal(err)
		}
		request, _ := http.NewRequest(http.MethodDelete, url+"/v1/pools/"+c.Pool()+"/sessions/"+item.Key, nil)
		request.Header.Set("Stargus-Session", item.Key+";epoch=1")
		response, err := http.DefaultClient.Do(request)
		if err != nil || response.StatusCode != 200 {
			t.Fatal(response, err)
		}
		response.Body.Close()
	}
	http.DefaultClient.CloseIdleConnections()
	select {
	case <-held.Context().Done():
	case <-ctx.Done():
		t.Fatal("nobody said that it was lost")
	}
	again := must[*stargus.Held](t)(c.Lock(ctx, stargus.Scope{Collection: "rooms"}))
	must[stargus.Item](t)(again.Set(ctx, "rooms", "hall", nil))
	again.Unlock()
}

func TestFeed(t *testing.T) {
	url := testserver.Open(t)
	noLeaks(t)
	ctx, c := soon(t), connect(t, url, newPool())
	now := c.Changes(ctx, stargus.Collection("rooms"))
	for i := range 5 {
		must[stargus.Item](t)(c.Set(ctx, "rooms", fmt.Sprint("k", i), m{"i": i}))
		must[stargus.Item](t)(c.Set(ctx, "others", fmt.Sprint("k", i), m{"i": i}))
	}
	var cursor string
	for commit, err := range now {
		if err != nil || commit.Changes[0].Collection != "rooms" {
			t.Fatal(commit, err)
		}
		if cursor = commit.Cursor; commit.Changes[0].Key == "k2" {
			break
		}
	}
	var keys []string
	for commit, err := range c.Changes(ctx, stargus.Since(cursor), stargus.Follow(false)) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, commit.Changes[0].Collection+commit.Changes[0].Key)
	}
	if fmt.Sprint(keys) != "[othersk2 roomsk3 othersk3 roomsk4 othersk4]" {
		t.Fatal(keys)
	}
	for _, err := range c.Changes(ctx, stargus.Since("000000000000-3")) {
		var problem *stargus.Problem
		if !errors.As(err, &problem) || problem.Code != "cursorExpired" || problem.Members["oldest"] == nil {
			t.Fatal(err)
		}
	}
	hanging := make(chan error)
	go func() {
		for _, err := range c.Changes(context.Background(), stargus.Since(stargus.SinceStart)) {
			if err != nil {
				hanging <- err
			}
		}
	}()
	time.Sleep(50 * time.Millisecond)
	c.Close()
	wantCode(t, <-hanging, stargus.CodeClosed)
}

func TestLogins(t *testing.T) {
	url, operatorKey := testserver.Required(t)
	noLeaks(t)
	ctx, pool := soon(t), newPool()
	operator := connect(t, url, pool)
	if _, _, err := operator.Get(ctx, "c", "k"); !errors.Is(err, stargus.ErrUnauthenticated) {
		t.Fatal(err)
	}
	if _, err := operator.Authenticate(ctx, stargus.APIKey("sgk_wrong")); !errors.Is(err, stargus.ErrLoginFailed) {
		t.Fatal(err)
	}
	if who := must[string](t)(operator.Authenticate(ctx, stargus.APIKey(operatorKey))); who != "operator" {
		t.Fatal(who)
	}
	must[stargus.Item](t)(operator.Set(ctx, "rooms", "hall", m{"n": 1}))
	// An account of this server, with a key of each kind that programs make.
	account, kid, file := newAccount(t, url)
	body, _ := json.Marshal(m{"jwk": json.RawMessage(publicOf(t, file))})
	request, _ := http.NewRequest(http.MethodPut, url+"/v1/identities/"+nameOf(account)+"/keys/"+kid, jsonReader(body))
	request.Header.Set("Authorization", "Bearer "+operatorKey)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil || response.StatusCode != 201 {
		t.Fatal(response, err)
	}
	response.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	must[stargus.Item](t)(operator.Set(ctx, "_policies", "all", m{"rules": []m{
		{"effect": "allow", "who": m{"subjects": []string{account}}, "actions": []string{"read", "watch", "create", "write", "delete", "lock"}, "collections": []string{"rooms"}},
	}}))
	for _, options := range [][]stargus.LoginOption{nil, {stargus.OneTimeKey()}} {
		c := connect(t, url, pool)
		if who, err := c.Authenticate(ctx, stargus.KeyFile(file), options...); err != nil || who != account {
			t.Fatal(who, err)
		}
		mirror := attach(t, c, "rooms")
		item := must[stargus.Item](t)(mirror.Set(ctx, "hall", m{"n": 2}))
		if err := mirror.Reached(ctx, item.Revision); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Set(ctx, "secrets", "x", nil); !errors.Is(err, stargus.ErrForbidden) {
			t.Fatal(err)
		}
		held := must[*stargus.Held](t)(c.Lock(ctx, stargus.Scope{Collection: "rooms", Key: "hall"}))
		must[float64](t)(held.Increment(ctx, "rooms", "hall", "n", 1))
		held.Unlock()
		c.Close()
	}
	stranger := connect(t, url, pool)
	if _, err := stranger.Authenticate(ctx, stargus.KeyFile(file), stargus.Audience("https://elsewhere.example")); !errors.Is(err, stargus.ErrLoginFailed) {
		t.Fatal("a challenge of another server was signed: ", err)
	}
	if _, err := stranger.Authenticate(ctx, stargus.Passphrase(account, "wrong words")); !errors.Is(err, stargus.ErrLoginFailed) {
		t.Fatal(err)
	}
	if _, err := stranger.Authenticate(ctx, stargus.KeyFile(filepath.Join(t.TempDir(), "none"))); !errors.Is(err, stargus.ErrLoginFailed) || !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}
