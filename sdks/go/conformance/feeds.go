package main

import (
	"context"
	"time"

	stargus "github.com/stargus/stargus/sdks/go"
)

// feed is iterated by a goroutine of its own, which hands over a commit at a time.
type feed struct {
	client  *client
	cancel  context.CancelFunc
	commits chan stargus.Commit
	// err is why it ended, once commits is closed.
	err error
}

func (d *driver) changes(on *client, c *command) (any, error) {
	ctx, cancel := context.WithCancel(context.Background())
	var options []stargus.FeedOption
	if c.Since != "" {
		options = append(options, stargus.Since(c.Since))
	}
	if c.Follow != nil {
		options = append(options, stargus.Follow(*c.Follow))
	}
	if c.Collection != "" {
		options = append(options, stargus.Collection(c.Collection))
	}
	f := &feed{client: on, cancel: cancel, commits: make(chan stargus.Commit)}
	commits := on.Changes(ctx, options...)
	go func() {
		defer close(f.commits)
		for commit, err := range commits {
			if err != nil {
				f.err = err
				return
			}
			select {
			case f.commits <- commit:
			case <-ctx.Done():
				return
			}
		}
	}()
	d.mu.Lock()
	d.feeds[c.Feed] = f
	d.mu.Unlock()
	return nil, nil
}

func (d *driver) next(c *command) (any, error) {
	d.mu.Lock()
	f := d.feeds[c.Feed]
	d.mu.Unlock()
	if f == nil {
		return nil, errDriver("there is no feed %q", c.Feed)
	}
	limit := time.NewTimer(millis(c.TimeoutMs))
	defer limit.Stop()
	commits := []any{}
	for len(commits) < c.Count {
		select {
		case commit, ok := <-f.commits:
			if !ok {
				if f.err != nil && len(commits) == 0 {
					return nil, f.err
				}
				return object{"commits": commits, "ended": true}, nil
			}
			keys := []string{}
			for _, change := range commit.Changes {
				keys = append(keys, change.Key)
			}
			commits = append(commits, object{"revision": commit.Revision, "cursor": commit.Cursor, "keys": keys})
		case <-limit.C:
			return object{"commits": commits, "ended": false}, nil
		}
	}
	return object{"commits": commits, "ended": false}, nil
}
