package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"time"

	stargus "github.com/stargus/stargus/sdks/go"
	"github.com/stargus/stargus/sdks/go/discover"
	"github.com/stargus/stargus/sdks/go/sqlitecache"
	"github.com/stargus/stargus/sdks/go/webhook"
)

type client struct {
	*stargus.Client
	problems *heardCodes
}

type object = map[string]any

// begin does what of a command must be done in the order of the commands, and answers the rest.
func (d *driver) begin(c *command) func() (any, error) {
	switch c.Do {
	case "attach":
		value, err := d.attach(c)
		return func() (any, error) { return value, err }
	case "exit":
		os.Exit(0)
	}
	return func() (any, error) { return d.do(c) }
}

func (d *driver) do(c *command) (any, error) {
	switch c.Do {
	case "connect":
		return d.connect(c)
	case "verify":
		header := http.Header{}
		for name, value := range c.Headers {
			header.Set(name, value)
		}
		event, err := webhook.Verify(c.Secret, header, []byte(c.Body))
		if err != nil {
			return nil, err
		}
		return object{"id": event.ID}, nil
	case "discover":
		ctx, cancel := c.within()
		defer cancel()
		servers, err := discover.Servers(ctx)
		urls := []string{}
		for _, server := range servers {
			urls = append(urls, server.URL)
		}
		return object{"urls": urls}, err
	case "open":
		return d.open(), nil
	case "close":
		return nil, d.close(c)
	case "authenticate", "problems":
		return d.onClient(c)
	case "ready", "reached", "state", "heard", "denied", "fetch", "kept":
		return d.onMirror(c)
	case "next":
		return d.next(c)
	case "lost", "unlock":
		return d.onLock(c)
	case "write", "batch", "get", "query", "count", "changes", "lock", "api":
		return d.on(c)
	}
	return nil, errDriver("the driver knows no %q", c.Do)
}

func (d *driver) connect(c *command) (any, error) {
	problems := &heardCodes{}
	options := []stargus.ConnectOption{stargus.WithOnProblem(problems.hear)}
	if c.RetryForMs != nil {
		options = append(options, stargus.WithRetryFor(millis(*c.RetryForMs)))
	}
	if c.RequestTimeoutMs != nil {
		options = append(options, stargus.WithRequestTimeout(millis(*c.RequestTimeoutMs)))
	}
	if c.EventBytesMax != nil {
		options = append(options, stargus.WithEventBytesMax(*c.EventBytesMax))
	}
	made, err := stargus.Connect(context.Background(), c.URL, c.Pool, options...)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	former := d.clients[c.Client]
	d.clients[c.Client] = &client{made, problems}
	d.mu.Unlock()
	if former != nil {
		former.Close()
	}
	return nil, nil
}

func (d *driver) clientOf(name string) (*client, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if found := d.clients[name]; found != nil {
		return found, nil
	}
	return nil, errDriver("there is no client %q", name)
}

func (d *driver) onClient(c *command) (any, error) {
	on, err := d.clientOf(c.Client)
	if err != nil {
		return nil, err
	}
	if c.Do == "problems" {
		return object{"codes": on.problems.take()}, nil
	}
	var credentials stargus.Credentials
	switch {
	case c.APIKey != "":
		credentials = stargus.APIKey(c.APIKey)
	case c.Token != "":
		credentials = stargus.AccessToken(c.Token)
	case c.KeyFile != "":
		credentials = stargus.KeyFile(c.KeyFile)
	case c.RecoveryCode != "":
		credentials = stargus.RecoveryCode(c.Account, c.RecoveryCode)
	default:
		credentials = stargus.Passphrase(c.Account, c.Passphrase)
	}
	var options []stargus.LoginOption
	if c.OneTimeKey {
		options = append(options, stargus.OneTimeKey())
	}
	subject, err := on.Authenticate(context.Background(), credentials, options...)
	return object{"subject": subject}, err
}

func (d *driver) close(c *command) error {
	d.mu.Lock()
	on, m := d.clients[c.Client], d.mirrors[c.Mirror]
	d.mu.Unlock()
	switch {
	case c.Mirror != "" && m != nil:
		m.close()
		return nil
	case c.Client != "" && on != nil:
		d.mu.Lock()
		for _, f := range d.feeds {
			if f.client == on {
				f.cancel()
			}
		}
		d.mu.Unlock()
		return on.Close()
	}
	return errDriver("there is nothing of this name to close")
}

func itemOf(item stargus.Item) any {
	return object{"key": item.Key, "revision": item.Revision, "attributes": attributesOf(item.Attributes)}
}

func attributesOf(attributes map[string]any) map[string]any {
	if attributes == nil {
		return object{}
	}
	return attributes
}

// writer is what can be written through: a client or a lock.
type writer interface {
	Set(ctx context.Context, collection, key string, attributes any, options ...stargus.WriteOption) (stargus.Item, error)
	Merge(ctx context.Context, collection, key string, attributes any, options ...stargus.WriteOption) (stargus.Item, error)
	Create(ctx context.Context, collection string, attributes any, key string, options ...stargus.WriteOption) (stargus.Item, error)
	Delete(ctx context.Context, collection, key string, options ...stargus.WriteOption) (bool, error)
	Increment(ctx context.Context, collection, key, attribute string, by float64, options ...stargus.WriteOption) (float64, error)
	Batch(ctx context.Context, ops []stargus.Op, options ...stargus.BatchOption) (stargus.BatchResult, error)
}

func (d *driver) on(c *command) (any, error) {
	d.mu.Lock()
	m, held, on := d.mirrors[c.On], d.locks[c.On], d.clients[c.On]
	d.mu.Unlock()
	var w writer
	switch {
	case m != nil && c.Do == "write":
		return m.write(c)
	case held != nil:
		w = held
	case on != nil:
		w = on
	default:
		return nil, errDriver("there is no %q to do this on", c.On)
	}
	ctx := context.Background()
	switch c.Do {
	case "write":
		return write(ctx, w, c)
	case "batch":
		options := []stargus.BatchOption{stargus.Provided(c.Conditions...)}
		if c.IdempotencyKey != "" {
			options = append(options, stargus.BatchIdempotencyKey(c.IdempotencyKey))
		}
		result, err := w.Batch(ctx, c.Ops, options...)
		return object{"revision": result.Revision}, err
	}
	if on == nil {
		return nil, errDriver("%q is done on a client", c.Do)
	}
	switch c.Do {
	case "get":
		item, found, err := on.Get(ctx, c.Collection, c.Key)
		if err != nil || !found {
			return nil, err
		}
		return itemOf(item), nil
	case "query":
		keys := []string{}
		for item, err := range on.Query(ctx, c.Collection, c.query()...) {
			if err != nil {
				return nil, err
			}
			keys = append(keys, item.Key)
		}
		return object{"keys": keys}, nil
	case "count":
		count, err := on.Count(ctx, c.Collection, c.query()...)
		return object{"count": count}, err
	case "changes":
		return d.changes(on, c)
	case "lock":
		return d.lock(on, c)
	}
	return callAPI(ctx, on, c)
}

func (c *command) writeOptions() []stargus.WriteOption {
	var options []stargus.WriteOption
	if c.IfRevision != nil {
		options = append(options, stargus.IfRevision(*c.IfRevision))
	}
	if c.IdempotencyKey != "" {
		options = append(options, stargus.IdempotencyKey(c.IdempotencyKey))
	}
	return options
}

func (c *command) given() any {
	if c.Attributes == nil {
		return nil
	}
	return c.Attributes
}

func write(ctx context.Context, w writer, c *command) (any, error) {
	var item stargus.Item
	var err error
	switch c.Op {
	case "set":
		item, err = w.Set(ctx, c.Collection, c.Key, c.given(), c.writeOptions()...)
	case "merge":
		item, err = w.Merge(ctx, c.Collection, c.Key, c.given(), c.writeOptions()...)
	case "create":
		item, err = w.Create(ctx, c.Collection, c.given(), c.Key, c.writeOptions()...)
	case "delete":
		existed, err := w.Delete(ctx, c.Collection, c.Key, c.writeOptions()...)
		return object{"existed": existed}, err
	case "increment":
		value, err := w.Increment(ctx, c.Collection, c.Key, c.Attribute, c.By, c.writeOptions()...)
		return object{"value": value}, err
	default:
		return nil, errDriver("there is no op %q", c.Op)
	}
	return itemOf(item), err
}

func (c *command) query() []stargus.QueryOption {
	var options []stargus.QueryOption
	if c.Where != nil {
		options = append(options, stargus.Where(c.Where))
	}
	if c.Limit > 0 {
		options = append(options, stargus.PageSize(c.Limit))
	}
	var names []string
	var text string
	if json.Unmarshal(c.Order, &names) == nil && len(names) > 0 {
		options = append(options, stargus.Order(names...))
	} else if json.Unmarshal(c.Order, &text) == nil && text != "" {
		options = append(options, stargus.Order(strings.Split(text, ",")...))
	}
	return options
}

func callAPI(ctx context.Context, on *client, c *command) (any, error) {
	switch c.Call {
	case "getAbout":
		about, _, err := on.API().SystemAPI.GetAbout(ctx).Execute()
		if err != nil {
			return nil, err
		}
		return object{"version": about.Version}, nil
	case "listItems":
		page, _, err := on.API().ItemsAPI.ListItems(ctx, on.Pool(), c.Collection).Execute()
		if err != nil {
			return nil, err
		}
		keys := []string{}
		for _, item := range page.Items {
			keys = append(keys, item.Key)
		}
		return object{"keys": keys}, nil
	}
	if c.Call == "testNotifier" {
		_, _, err := on.API().NotifiersAPI.TestNotifier(ctx, on.Pool(), c.Notifier).Execute()
		return object{}, err
	}
	return nil, errDriver("the driver knows no call %q", c.Call)
}

func (d *driver) attach(c *command) (any, error) {
	on, err := d.clientOf(c.Client)
	if err != nil {
		return nil, err
	}
	var options []stargus.AttachOption
	if c.Where != nil {
		options = append(options, stargus.Where(c.Where))
	}
	if c.Key != "" {
		options = append(options, stargus.Key(c.Key))
	}
	options = append(options, stargus.Prefix(c.Prefix), stargus.Start(c.Start), stargus.End(c.End), stargus.Fields(c.Fields...))
	if c.Values != "" {
		options = append(options, stargus.Values(c.Values))
	}
	if c.Cache != "" {
		options = append(options, stargus.WithCache(sqlitecache.File(c.Cache)))
	}
	if c.MemoryMax != nil {
		options = append(options, stargus.MemoryMax(*c.MemoryMax))
	}
	if c.OnDenied != "" {
		options = append(options, stargus.OnDenied(stargus.OnDeniedMode(c.OnDenied)))
	}
	attached, err := on.Attach(context.Background(), c.Collection, options...)
	m := newMirror(attached, c.Values == "none", err)
	d.mu.Lock()
	d.mirrors[c.Mirror] = m
	d.mu.Unlock()
	if code := stargus.CodeOf(err); code == stargus.CodeCacheInUse || code == stargus.CodeCacheFailed {
		// In Go Attach itself says so; for the scenarios it is what ready answers.
		return nil, nil
	}
	return nil, err
}

func (d *driver) lock(on *client, c *command) (any, error) {
	var options []stargus.LockOption
	if c.Mode != "" {
		options = append(options, stargus.Mode(stargus.LockMode(c.Mode)))
	}
	if c.WaitMs != nil {
		options = append(options, stargus.Wait(millis(*c.WaitMs)))
	}
	if c.LeaseMs != nil {
		options = append(options, stargus.Lease(millis(*c.LeaseMs)))
	}
	scope := stargus.Scope{Collection: c.Collection, Key: c.Key, Prefix: c.Prefix, Attributes: c.Fields}
	if names := c.lockAttributes(); names != nil {
		scope.Attributes = names
	}
	held, err := on.Lock(context.Background(), scope, options...)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.locks[c.Lock] = held
	d.mu.Unlock()
	return object{"fence": held.Fence()}, nil
}

// lockAttributes: of a lock, attributes is a list of names.
func (c *command) lockAttributes() []string {
	var names []string
	_ = json.Unmarshal(c.Attributes, &names)
	return names
}

func (d *driver) onLock(c *command) (any, error) {
	d.mu.Lock()
	held := d.locks[c.Lock]
	d.mu.Unlock()
	if held == nil {
		return nil, errDriver("there is no lock %q", c.Lock)
	}
	if c.Do == "unlock" {
		return nil, held.Unlock()
	}
	select {
	case <-held.Context().Done():
		return object{"code": stargus.CodeOf(context.Cause(held.Context()))}, nil
	case <-time.After(millis(c.TimeoutMs)):
		return nil, stargus.NewError(stargus.CodeTimeout, "the lock isn't lost", nil)
	}
}
