package stargus

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
)

// Item is an item as it was at one revision. The library never changes one that it gave out; its attributes are shared with
// others who read the same item, so don't change them either: copy what you want to alter.
type Item struct {
	Key string `json:"key"`
	// Revision is that of the commit that the item's attributes come from.
	Revision int64 `json:"revision"`
	// Attributes are as encoding/json reads them: numbers are float64. Nil where a sparse mirror doesn't know them.
	Attributes map[string]any `json:"attributes"`
}

// Decode puts the attributes into what v points to, as json.Unmarshal does.
func (i Item) Decode(v any) error {
	text, err := encode(i.Attributes)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return &Error{Code: "badRequest", Detail: "the item " + strconv.Quote(i.Key) + " doesn't fit what it is decoded into", cause: err}
	}
	return nil
}

// WriteOption is an option of a write.
type WriteOption func(*writeOptions)

type writeOptions struct {
	ifRevision     int64
	hasIfRevision  bool
	idempotencyKey string
	min, max       *float64
	proof          string
}

// IfRevision has the write applied only if the item has this revision; 0: only if there is no such item. Otherwise it is
// refused with ErrPreconditionFailed.
func IfRevision(revision int64) WriteOption {
	return func(o *writeOptions) { o.ifRevision, o.hasIfRevision = revision, true }
}

// IdempotencyKey names the write: it is applied once, however often it is sent under this name, by whatever process, within
// 24 hours. Without it each call has a name of its own, which its repetitions share.
func IdempotencyKey(key string) WriteOption {
	return func(o *writeOptions) { o.idempotencyKey = key }
}

// Within bounds the sum of an increment; past a bound it is refused with ErrConflict. Nil is no bound.
func Within(min, max *float64) WriteOption {
	return func(o *writeOptions) { o.min, o.max = min, max }
}

func writeOptionsOf(options []WriteOption) writeOptions {
	var chosen writeOptions
	for _, option := range options {
		option(&chosen)
	}
	return chosen
}

func (o writeOptions) header() http.Header {
	header := make(http.Header, 4)
	if o.hasIfRevision {
		if o.ifRevision == 0 {
			header["If-None-Match"] = []string{"*"}
		} else {
			header["If-Match"] = []string{`"` + strconv.FormatInt(o.ifRevision, 10) + `"`}
		}
	}
	if o.idempotencyKey != "" {
		header["Idempotency-Key"] = []string{o.idempotencyKey}
	}
	if o.proof != "" {
		header["Stargus-Lock"] = []string{o.proof}
	}
	return header
}

func (c *Client) collectionURL(collection string) string {
	return c.poolURL + "/collections/" + escape(collection)
}

func (c *Client) itemURL(collection, key string) string {
	return c.collectionURL(collection) + "/items/" + escape(key)
}

// checkKey refuses here what a path can't say: the server would never see which item is meant.
func checkKey(key string) error {
	if key == "" || key == "." || key == ".." {
		return &Error{Code: "invalidName", Detail: "an item's key is 1 to 255 bytes, and neither . nor .."}
	}
	return nil
}

// Get answers the item; false where there is none.
func (c *Client) Get(ctx context.Context, collection, key string) (Item, bool, error) {
	item, _, found, err := c.get(ctx, collection, key, nil, 0)
	return item, found, err
}

// get also answers the revision of the pool that was read.
func (c *Client) get(ctx context.Context, collection, key string, fields []string, minRevision int64) (Item, int64, bool, error) {
	if err := checkKey(key); err != nil {
		return Item{}, 0, false, err
	}
	at := c.itemURL(collection, key)
	if len(fields) > 0 {
		at += "?fields=" + escape(joinNames(fields))
	}
	header := make(http.Header, 2)
	if minRevision > 0 {
		header["Stargus-Min-Revision"] = []string{strconv.FormatInt(minRevision, 10)}
	}
	answer, err := c.call(ctx, http.MethodGet, at, header, nil)
	if problem, ok := asProblem(err); ok && problem.Code == "notFound" {
		return Item{}, 0, false, nil
	}
	if err != nil {
		return Item{}, 0, false, err
	}
	var item Item
	if err := answer.into(&item); err != nil {
		return Item{}, 0, false, err
	}
	revision, _ := strconv.ParseInt(answer.header.Get("Stargus-Revision"), 10, 64)
	return item, max(revision, item.Revision), true, nil
}

// Set replaces all attributes of an item, or makes it. It answers the item as it is now.
func (c *Client) Set(ctx context.Context, collection, key string, attributes any, options ...WriteOption) (Item, error) {
	return c.write(ctx, http.MethodPut, collection, key, attributes, writeOptionsOf(options))
}

// Merge applies a merge patch (RFC 7396): what is named is set, null removes. It makes an item that is missing.
func (c *Client) Merge(ctx context.Context, collection, key string, attributes any, options ...WriteOption) (Item, error) {
	return c.write(ctx, http.MethodPatch, collection, key, attributes, writeOptionsOf(options))
}

func (c *Client) write(ctx context.Context, method, collection, key string, attributes any, options writeOptions) (Item, error) {
	text, err := encodeObject(attributes)
	if err != nil {
		return Item{}, err
	}
	return c.writeText(ctx, method, collection, key, text, options)
}

// writeText is write of attributes that are JSON already.
func (c *Client) writeText(ctx context.Context, method, collection, key string, text []byte, options writeOptions) (Item, error) {
	if err := checkKey(key); err != nil {
		return Item{}, err
	}
	answer, err := c.call(ctx, method, c.itemURL(collection, key), options.header(), bodyOf(text))
	if err != nil {
		return Item{}, err
	}
	return itemOf(answer)
}

func itemOf(answer *answer) (Item, error) {
	var item Item
	err := answer.into(&item)
	return item, err
}

func bodyOf(attributes []byte) []byte {
	body := make([]byte, 0, len(attributes)+16)
	body = append(body, `{"attributes":`...)
	body = append(body, attributes...)
	return append(body, '}')
}

// Create makes a new item; ErrConflict where there is one. An empty key has the server choose one, which orders by time.
func (c *Client) Create(ctx context.Context, collection string, attributes any, key string, options ...WriteOption) (Item, error) {
	return c.create(ctx, collection, attributes, key, writeOptionsOf(options))
}

func (c *Client) create(ctx context.Context, collection string, attributes any, key string, options writeOptions) (Item, error) {
	text, err := encodeObject(attributes)
	if err != nil {
		return Item{}, err
	}
	body := bodyOf(text)
	if key != "" {
		quoted, err := encode(key)
		if err != nil {
			return Item{}, err
		}
		body = append(append(append(body[:len(body)-1], `,"key":`...), quoted...), '}')
	}
	answer, err := c.call(ctx, http.MethodPost, c.collectionURL(collection)+"/items", options.header(), body)
	if err != nil {
		return Item{}, err
	}
	return itemOf(answer)
}

// Delete deletes an item, and answers whether there was one.
func (c *Client) Delete(ctx context.Context, collection, key string, options ...WriteOption) (existed bool, err error) {
	existed, _, err = c.delete(ctx, collection, key, writeOptionsOf(options))
	return existed, err
}

func (c *Client) delete(ctx context.Context, collection, key string, options writeOptions) (bool, int64, error) {
	if err := checkKey(key); err != nil {
		return false, 0, err
	}
	answer, err := c.call(ctx, http.MethodDelete, c.itemURL(collection, key), options.header(), nil)
	if err != nil {
		return false, 0, err
	}
	var told struct {
		Existed  bool  `json:"existed"`
		Revision int64 `json:"revision"`
	}
	err = answer.into(&told)
	return told.Existed, told.Revision, err
}

// Increment adds to a number, atomically, and answers the sum. What is missing counts as 0, a missing item is made.
func (c *Client) Increment(ctx context.Context, collection, key, attribute string, by float64, options ...WriteOption) (float64, error) {
	return c.increment(ctx, collection, key, attribute, by, writeOptionsOf(options))
}

func (c *Client) increment(ctx context.Context, collection, key, attribute string, by float64, options writeOptions) (float64, error) {
	if err := checkKey(key); err != nil {
		return 0, err
	}
	body, err := encode(struct {
		Attribute string   `json:"attribute"`
		By        float64  `json:"by"`
		Min       *float64 `json:"min,omitempty"`
		Max       *float64 `json:"max,omitempty"`
	}{attribute, by, options.min, options.max})
	if err != nil {
		return 0, err
	}
	answer, err := c.call(ctx, http.MethodPost, c.itemURL(collection, key)+"/increment", options.header(), body)
	if err != nil {
		return 0, err
	}
	var told struct {
		Value float64 `json:"value"`
	}
	err = answer.into(&told)
	return told.Value, err
}
