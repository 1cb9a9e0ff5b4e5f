package stargus

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
)

type queryOptions struct {
	selection
	order    []string
	pageSize int
}

type querying func(*queryOptions)

func (q querying) toQuery(o *queryOptions) { q(o) }

// Order sorts by attributes or pointers; "-" before one is descending. Without it items come in the order of their keys.
func Order(names ...string) QueryOption { return querying(func(o *queryOptions) { o.order = names }) }

// PageSize is how many items are fetched at once, 1 to 1,000; the whole query may have more. 200 where it isn't given.
func PageSize(items int) QueryOption { return querying(func(o *queryOptions) { o.pageSize = items }) }

// defaultPageSize makes few requests of a long query, and wastes little when the loop is left early.
const defaultPageSize = 200

type queryBody struct {
	Where     json.RawMessage `json:"where,omitempty"`
	Prefix    string          `json:"prefix,omitempty"`
	Start     string          `json:"start,omitempty"`
	End       string          `json:"end,omitempty"`
	Order     []string        `json:"order,omitempty"`
	Fields    []string        `json:"fields,omitempty"`
	Limit     int             `json:"limit,omitempty"`
	PageToken string          `json:"pageToken,omitempty"`
	Count     string          `json:"count,omitempty"`
}

func queryOptionsOf(options []QueryOption) queryOptions {
	chosen := queryOptions{pageSize: defaultPageSize}
	for _, option := range options {
		option.toQuery(&chosen)
	}
	return chosen
}

func (o *queryOptions) body() queryBody {
	return queryBody{Where: o.where, Prefix: o.prefix, Start: o.start, End: o.end, Order: o.order, Fields: o.fields, Limit: o.pageSize}
}

type queryPage struct {
	Items         []Item `json:"items"`
	NextPageToken string `json:"nextPageToken"`
	Count         *int64 `json:"count"`
}

func (c *Client) queryPage(ctx context.Context, collection string, body queryBody) (*queryPage, error) {
	text, err := encode(body)
	if err != nil {
		return nil, err
	}
	answer, err := c.call(ctx, http.MethodPost, c.collectionURL(collection)+"/query", nil, text)
	if err != nil {
		return nil, err
	}
	var page queryPage
	return &page, answer.into(&page)
}

// Query gives the items that match, one after the other; pages are fetched as they are needed. The iteration ends at the first
// error.
func (c *Client) Query(ctx context.Context, collection string, options ...QueryOption) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		chosen := queryOptionsOf(options)
		if chosen.err != nil {
			yield(Item{}, chosen.err)
			return
		}
		body := chosen.body()
		for {
			page, err := c.queryPage(ctx, collection, body)
			if err != nil {
				yield(Item{}, err)
				return
			}
			for _, item := range page.Items {
				if !yield(item, nil) {
					return
				}
			}
			if body.PageToken = page.NextPageToken; body.PageToken == "" {
				return
			}
		}
	}
}

// Count answers how many items match.
func (c *Client) Count(ctx context.Context, collection string, options ...QueryOption) (int64, error) {
	chosen := queryOptionsOf(options)
	if chosen.err != nil {
		return 0, chosen.err
	}
	body := chosen.body()
	body.Count, body.Limit, body.Order, body.Fields = "exact", 1, nil, nil
	page, err := c.queryPage(ctx, collection, body)
	if err != nil {
		return 0, err
	}
	if page.Count == nil {
		return 0, &Error{Code: CodeProtocolError, Detail: "the server answered a query for a count without one"}
	}
	return *page.Count, nil
}
