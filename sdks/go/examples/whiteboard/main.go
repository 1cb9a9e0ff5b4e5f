// A whiteboard that several programs share, in whatever language they are written: each draws strokes now and then, and prints
// what the others draw.
//
//	go run ./examples/whiteboard [--expect n] <url> <name> <strokes>
//
// It ends by itself when it has drawn its strokes and, with --expect, has seen n strokes in all.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"strconv"
	"time"

	stargus "github.com/stargus/stargus/sdks/go"
)

type stroke struct {
	X      int    `json:"x"`
	Y      int    `json:"y"`
	Colour string `json:"colour"`
	By     string `json:"by"`
}

var colours = []string{"red", "green", "blue", "black"}

// waitMax is the longest time between two strokes.
const waitMax = 300 * time.Millisecond

func main() {
	expect := flag.Int("expect", 0, "end only when so many strokes have been seen in all")
	flag.Parse()
	arguments := flag.Args()
	// Flags may stand behind the arguments as well.
	if len(arguments) > 3 {
		_ = flag.CommandLine.Parse(arguments[3:])
	}
	count := 0
	var err error
	if len(arguments) >= 3 {
		count, err = strconv.Atoi(arguments[2])
	}
	if len(arguments) < 3 || err != nil || count < 0 {
		fmt.Fprintln(os.Stderr, "usage: whiteboard [--expect n] <url> <name> <strokes>")
		os.Exit(2)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := draw(ctx, arguments[0], arguments[1], count, *expect); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func draw(ctx context.Context, url, name string, count, expect int) error {
	client, err := stargus.Connect(ctx, url, "whiteboard")
	if err != nil {
		return err
	}
	defer client.Close()
	board, err := client.Attach(ctx, "strokes")
	if err != nil {
		return err
	}
	changes := board.Changes(ctx)
	if err := board.Ready(ctx); err != nil {
		return err
	}
	drawn := make(chan error, 1)
	go func() { drawn <- drawAll(ctx, client, name, count) }()
	seen := map[string]bool{}
	see := func(item stargus.Item) {
		var s stroke
		if seen[item.Key] || item.Decode(&s) != nil {
			return
		}
		seen[item.Key] = true
		if s.By != name {
			fmt.Printf("%s drew %s at %d,%d\n", s.By, s.Colour, s.X, s.Y)
		}
	}
	for _, item := range board.All() {
		see(item)
	}
	strokes := make(chan stargus.Item)
	failed := make(chan error, 1)
	go func() {
		for change, err := range changes {
			switch {
			case err != nil:
				failed <- err
				return
			case change.Op == stargus.OpReset:
				for _, item := range board.All() {
					strokes <- item
				}
			case change.Item != nil:
				strokes <- *change.Item
			}
		}
	}()
	for isDrawn := false; !isDrawn || len(seen) < expect; {
		select {
		case item := <-strokes:
			see(item)
		case err := <-drawn:
			if err != nil {
				return err
			}
			isDrawn = true
		case err := <-failed:
			return err
		}
	}
	return nil
}

// drawAll draws under a lock on the strokes whose keys begin with the name, so that two programs of one name don't mix theirs.
func drawAll(ctx context.Context, client *stargus.Client, name string, count int) error {
	for range count {
		held, err := client.Lock(ctx, stargus.Scope{Collection: "strokes", Prefix: name + "/"})
		if err != nil {
			return err
		}
		key := fmt.Sprintf("%s/%d-%06d", name, time.Now().UnixNano(), rand.IntN(1_000_000))
		_, err = held.Set(held.Context(), "strokes", key, stroke{
			X: rand.IntN(100), Y: rand.IntN(100), Colour: colours[rand.IntN(len(colours))], By: name,
		})
		if unlocked := held.Unlock(); err == nil {
			err = unlocked
		}
		if err != nil {
			return err
		}
		select {
		case <-time.After(time.Duration(rand.Int64N(int64(waitMax)))):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
