package stargus

import (
	"context"
	"net/http"
)

// Op is one operation of a batch: the members that docs/API.md (Batches) names. Put, Merge, Create and so on make them.
type Op map[string]any

// Condition is what must hold for a batch or an operation: collection and key with revision (0: there is no such item), exists or
// where.
type Condition map[string]any

// Put replaces all attributes of an item.
func Put(collection, key string, attributes any) Op {
	return Op{"op": "put", "collection": collection, "key": key, "attributes": objectOf(attributes)}
}

// Merge applies a merge patch; null removes.
func Merge(collection, key string, patch any) Op {
	return Op{"op": "merge", "collection": collection, "key": key, "attributes": objectOf(patch)}
}

// Create is Put that is refused where there is such an item. An empty key has the server choose one.
func Create(collection string, attributes any, key string) Op {
	op := Op{"op": "create", "collection": collection, "attributes": objectOf(attributes)}
	if key != "" {
		op["key"] = key
	}
	return op
}

// Delete deletes an item.
func Delete(collection, key string) Op {
	return Op{"op": "delete", "collection": collection, "key": key}
}

// Unset removes attributes.
func Unset(collection, key string, names ...string) Op {
	return Op{"op": "unset", "collection": collection, "key": key, "names": names}
}

// Increment adds to a number.
func Increment(collection, key, attribute string, by float64) Op {
	return Op{"op": "increment", "collection": collection, "key": key, "attribute": attribute, "by": by}
}

// Append puts a value at the end of an array; a missing one counts as empty.
func Append(collection, key, attribute string, value any) Op {
	return Op{"op": "append", "collection": collection, "key": key, "attribute": attribute, "value": value}
}

// Remove takes every element that equals the value out of an array.
func Remove(collection, key, attribute string, value any) Op {
	return Op{"op": "remove", "collection": collection, "key": key, "attribute": attribute, "value": value}
}

// If has the operation, and with it the batch, refused unless the conditions hold. One without collection and key is about the
// operation's own item.
func (op Op) If(conditions ...Condition) Op {
	next := make(Op, len(op)+1)
	for name, value := range op {
		next[name] = value
	}
	next["if"] = conditions
	return next
}

// RevisionIs holds if the item has this revision; 0: if there is none.
func RevisionIs(collection, key string, revision int64) Condition {
	return Condition{"collection": collection, "key": key, "revision": revision}
}

// Exists holds if there is such an item, or, with false, if there is none.
func Exists(collection, key string, exists bool) Condition {
	return Condition{"collection": collection, "key": key, "exists": exists}
}

// Matches holds if there is such an item and it matches the filter.
func Matches(collection, key string, filter any) Condition {
	return Condition{"collection": collection, "key": key, "where": filter}
}

func objectOf(attributes any) any {
	if attributes == nil {
		return map[string]any{}
	}
	return attributes
}

// BatchOption is an option of [Client.Batch].
type BatchOption func(*batchOptions)

type batchOptions struct {
	conditions     []Condition
	idempotencyKey string
	proof          string
}

// Provided has the batch applied only if all of the conditions hold, before anything of it is done.
func Provided(conditions ...Condition) BatchOption {
	return func(o *batchOptions) { o.conditions = append(o.conditions, conditions...) }
}

// BatchIdempotencyKey names the batch, as [IdempotencyKey] names a write.
func BatchIdempotencyKey(key string) BatchOption {
	return func(o *batchOptions) { o.idempotencyKey = key }
}

// BatchResult tells what became of a batch.
type BatchResult struct {
	// Revision is that of the commit, Cursor the place after it.
	Revision int64      `json:"revision"`
	Cursor   string     `json:"cursor"`
	Results  []OpResult `json:"results"`
}

// OpResult tells what became of one operation.
type OpResult struct {
	Index      int      `json:"index"`
	Status     int      `json:"status"`
	Collection string   `json:"collection"`
	Key        string   `json:"key"`
	Revision   int64    `json:"revision"`
	Changed    []string `json:"changed"`
	// Value is the sum of an increment.
	Value any `json:"value"`
}

// Batch applies operations on items of the pool as one commit: all or nothing. Of a batch that is refused the problem's Errors
// name the first operation at fault by its Index. At most 1,000 operations and 4 MiB.
func (c *Client) Batch(ctx context.Context, ops []Op, options ...BatchOption) (BatchResult, error) {
	var chosen batchOptions
	for _, option := range options {
		option(&chosen)
	}
	return c.batch(ctx, ops, chosen)
}

func (c *Client) batch(ctx context.Context, ops []Op, options batchOptions) (BatchResult, error) {
	if ops == nil {
		ops = []Op{}
	}
	body, err := encode(struct {
		If  []Condition `json:"if,omitempty"`
		Ops []Op        `json:"ops"`
	}{options.conditions, ops})
	if err != nil {
		return BatchResult{}, err
	}
	header := writeOptions{idempotencyKey: options.idempotencyKey, proof: options.proof}.header()
	answer, err := c.call(ctx, http.MethodPost, c.poolURL+"/batch", header, body)
	if err != nil {
		return BatchResult{}, err
	}
	var result BatchResult
	err = answer.into(&result)
	return result, err
}
