// The Go client, measured: PUTs of 16 callers beside raw HTTP, or a mirror. Prints a line of JSON. See suites/clients.mjs.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	stargus "github.com/stargus/stargus/sdks/go"
	"github.com/stargus/stargus/sdks/go/sqlitecache"
)

const callers = 16

func main() {
	mode, url, pool := os.Args[1], os.Args[2], os.Args[3]
	var told any
	var err error
	if mode == "puts" {
		told, err = puts(url, pool, os.Args[4])
	} else {
		told, err = mirror(url, pool, os.Args[4], os.Args[5])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(told)
}

func attributes(n int) map[string]any {
	return map[string]any{"n": n, "text": strings.Repeat("x", 180)}
}

func puts(url, pool, text string) (any, error) {
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, err
	}
	raw := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers}}
	rawRate, err := rate(seconds, func(caller, n int) error {
		body, _ := json.Marshal(map[string]any{"attributes": attributes(n)})
		request, err := http.NewRequest("PUT", fmt.Sprintf("%s/v1/pools/%s/collections/puts/items/raw%d-%d", url, pool, caller, n%100), bytes.NewReader(body))
		if err != nil {
			return err
		}
		request.Header.Set("Content-Type", "application/json")
		response, err := raw.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		answer, err := io.ReadAll(response.Body)
		if err != nil {
			return err
		}
		var item map[string]any
		return json.Unmarshal(answer, &item)
	})
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	client, err := stargus.Connect(ctx, url, pool)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	own, err := rate(seconds, func(caller, n int) error {
		_, err := client.Set(ctx, "puts", fmt.Sprintf("own%d-%d", caller, n%100), attributes(n))
		return err
	})
	return map[string]float64{"rawPerSecond": rawRate, "clientPerSecond": own}, err
}

func rate(seconds float64, put func(caller, n int) error) (float64, error) {
	begun := time.Now()
	end := begun.Add(time.Duration(seconds * float64(time.Second)))
	var done atomic.Int64
	var failed atomic.Value
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			for n := 0; time.Now().Before(end); n++ {
				if err := put(caller, n); err != nil {
					failed.Store(err)
					return
				}
				done.Add(1)
			}
		})
	}
	all.Wait()
	if err, ok := failed.Load().(error); ok {
		return 0, err
	}
	return float64(done.Load()) / time.Since(begun).Seconds(), nil
}

func mirror(url, pool, collection, cache string) (any, error) {
	ctx := context.Background()
	client, err := stargus.Connect(ctx, url, pool)
	if err != nil {
		return nil, err
	}
	before := memoryMb()
	begun := time.Now()
	var options []stargus.AttachOption
	if cache != "" {
		options = append(options, stargus.WithCache(sqlitecache.File(cache)))
	}
	board, err := client.Attach(ctx, collection, options...)
	if err != nil {
		return nil, err
	}
	var shown time.Duration
	looking := make(chan struct{})
	go func() {
		for board.Len() == 0 {
			select {
			case <-looking:
				return
			case <-time.After(time.Millisecond):
			}
		}
		shown = time.Since(begun)
		<-looking
	}()
	if err := board.Ready(ctx); err != nil {
		return nil, err
	}
	ready := time.Since(begun)
	looking <- struct{}{}
	runtime.GC()
	told := map[string]float64{
		"shownMs": shown.Seconds() * 1000, "readyMs": ready.Seconds() * 1000, "items": float64(board.Len()), "memoryMb": memoryMb() - before,
	}
	return told, client.Close()
}

func memoryMb() float64 {
	status, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(status), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb / 1000
		}
	}
	return 0
}
