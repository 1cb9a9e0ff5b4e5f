// A client as sessions and locks know it: a session with a connection of its own, and what it asks for on it.
package main

import (
	"fmt"
	"time"
)

type client struct {
	conn    *connection
	host    string
	pool    string // the path of the pool
	session string
}

// The longest lease there is: nothing that is measured should have to think of renewing.
const longTTL = 10 * time.Minute

func newClient(o options, until time.Time) *client {
	return &client{conn: &connection{address: o.address, until: until}, host: o.address, pool: "/v1/pools/" + o.pool}
}

// begin gives the client a session, whose lease lasts so long.
func (c *client) begin(ttl time.Duration) error {
	c.session = ""
	answer, err := c.conn.ask(c.request("POST", "/sessions", fmt.Appendf(nil, `{"ttlMs":%d}`, ttl.Milliseconds())))
	c.session = textBetween(answer, `"session":"`, `"`)
	return err
}

func (c *client) renew() error {
	_, err := c.conn.ask(c.request("POST", "/sessions/"+c.session+"/renew", nil))
	return err
}

func (c *client) end() error {
	_, err := c.conn.ask(c.request("DELETE", "/sessions/"+c.session, nil))
	return err
}

// acquire asks for an item: the lock is granted at once, waits for so long, or is refused.
func (c *client) acquire(collection string, key []byte, wait time.Duration) (lock string, err error) {
	body := fmt.Appendf(nil, `{"session":"%s","mode":"exclusive","scopes":[{"collection":"%s","key":"%s"}],"waitMs":%d}`,
		c.session, collection, key, wait.Milliseconds())
	answer, err := c.conn.ask(c.request("POST", "/locks", body))
	return textBetween(answer, `"lock":"`, `"`), err
}

func (c *client) release(lock string) error {
	_, err := c.conn.ask(c.request("DELETE", "/locks/"+lock, nil))
	return err
}

// cycle takes a lock and gives it back.
func (c *client) cycle(collection string, key []byte) error {
	lock, err := c.acquire(collection, key, 0)
	if err != nil {
		return err
	}
	return c.release(lock)
}

// awaitLock returns when the lock no longer waits, and fails when that takes more than half a minute.
func (c *client) awaitLock(lock string) error {
	answer, err := c.conn.ask(c.request("GET", "/locks/"+lock+"?waitMs=30000", nil))
	if err == nil && textBetween(answer, `"state":"`, `"`) != "granted" {
		err = fmt.Errorf("the lock is not granted: %.300s", answer)
	}
	return err
}

// attach gives the session a view of a collection.
func (c *client) attach(view, collection string) error {
	body := fmt.Appendf(nil, `{"collection":"%s"}`, collection)
	_, err := c.conn.ask(c.request("PUT", "/sessions/"+c.session+"/attachments/"+view, body))
	return err
}

func (c *client) listen() (*listener, error) {
	return openListener(c.host, c.request("GET", "/sessions/"+c.session+"/events", nil))
}

func (c *client) request(method, path string, body []byte) []byte {
	if c.session == "" {
		return appendRequest(nil, method, c.pool+path, c.host, body)
	}
	return appendRequest(nil, method, c.pool+path, c.host, body, "Stargus-Session: "+c.session+";epoch=1")
}
