package stargus

import (
	"context"
	"net/http"
)

// NotifierDefinition says what a notifier tells whom, see docs/NOTIFIERS.md.
type NotifierDefinition struct {
	// Events are at least one of add, change, delete, attach, detach, lock.
	Events     []string `json:"events"`
	Collection string   `json:"collection,omitempty"`
	Prefix     string   `json:"prefix,omitempty"`
	// Where is a filter, as [Where] takes it.
	Where  any    `json:"where,omitempty"`
	Values Values `json:"values,omitempty"`
	// WebhookURL or Session is where it delivers.
	WebhookURL string `json:"-"`
	Session    string `json:"-"`
	// Since is where a new one begins: now, start, or a cursor.
	Since       string `json:"since,omitempty"`
	Description string `json:"description,omitempty"`
}

// PutNotifier makes a notifier, or defines one that is there anew. It answers the secret by which webhooks are signed, which is
// told once: "" where the notifier was there already.
func (c *Client) PutNotifier(ctx context.Context, name string, definition NotifierDefinition) (secret string, err error) {
	target := map[string]any{"webhook": map[string]string{"url": definition.WebhookURL}}
	if definition.Session != "" {
		target = map[string]any{"session": definition.Session}
	}
	body, err := encode(struct {
		NotifierDefinition
		Target map[string]any `json:"target"`
	}{definition, target})
	if err != nil {
		return "", err
	}
	answer, err := c.call(ctx, http.MethodPut, c.poolURL+"/notifiers/"+escape(name), nil, body)
	if err != nil {
		return "", err
	}
	var told struct {
		Secret string `json:"secret"`
	}
	err = answer.into(&told)
	return told.Secret, err
}
