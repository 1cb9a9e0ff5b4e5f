// The load generator of the bench: one process, one workload, one line of JSON on stdout.
// It shares two cores with the server it measures, so it speaks HTTP/1.1 over raw connections and reports its own CPU share.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

type options struct {
	mode        string
	address     string
	others      []string
	pool        string
	collection  string
	dialect     dialect
	operation   string
	custom      custom
	connections int
	watchers    int
	watchOthers string
	watch       template
	bearer      string
	bearers     []string
	told        int
	account     accountOptions
	keys        int
	valueBytes  int
	rate        int
	locks       int
	by          string
	warm        time.Duration
	measure     time.Duration
	pids        []int
}

func main() {
	debug.SetGCPercent(400)
	o, err := parse()
	if err != nil {
		fail(err)
	}
	var result any
	switch o.mode {
	case "seed":
		result, err = seed(o)
	case "requests":
		result, err = requests(o)
	case "fanout":
		result, err = fanout(o)
	case "hold":
		result, err = hold(o)
	case "locks":
		result, err = takeLocks(o)
	case "news":
		result, err = news(o)
	case "sessions":
		result, err = holdSessions(o)
	case "turn":
		result, err = turn(o)
	default:
		err = fmt.Errorf("unknown -mode %q", o.mode)
	}
	if err != nil {
		fail(err)
	}
	printJSON(result)
}

func parse() (options, error) {
	o := options{}
	var kind, pids, path, body, watch, bearers, others string
	var seconds, warm float64
	flag.StringVar(&o.mode, "mode", "requests", "seed | requests | fanout | hold | locks | news | sessions | turn")
	flag.StringVar(&kind, "dialect", "stargus", "stargus | etcd | pocketbase")
	flag.StringVar(&o.address, "address", "127.0.0.1:8080", "host:port of the server")
	flag.StringVar(&others, "others", "", "mode fanout: host:port of further nodes, comma-separated: watchers are shared out among all")
	flag.StringVar(&o.pool, "pool", "bench", "pool written and read")
	flag.StringVar(&o.collection, "collection", "items", "collection written and read")
	flag.StringVar(&o.operation, "operation", "put", "put | get | custom | lock | renew | login | refresh, of mode requests; lock takes a lock and gives it back")
	flag.StringVar(&o.custom.method, "method", "GET", "method of custom requests")
	flag.StringVar(&path, "path", "/", "path of custom requests; {n} in it is the number of a random key, {k} the key, {v} a new value, {r} any number below a million")
	flag.StringVar(&body, "body", "", "JSON body of custom requests, with holes as in the path")
	flag.IntVar(&o.connections, "connections", 64, "connections that send requests")
	flag.IntVar(&o.watchers, "watchers", 1000, "watchers, of modes fanout and hold; sessions, of mode sessions; locks that wait, of mode news")
	flag.StringVar(&o.watchOthers, "watch-others", "", "mode hold: each watcher watches one of the keys, or of the values, that nobody writes: keys | values")
	flag.StringVar(&watch, "watch", "", "path of the streams of modes fanout, hold and turn; {n} in it is the watcher's number")
	flag.StringVar(&o.bearer, "bearer", "", "token of put, get and custom requests")
	flag.StringVar(&bearers, "bearers", "", "file with the tokens of watchers, one a line; the first is used again after the last")
	flag.IntVar(&o.told, "told", 0, "mode fanout: watchers that each write is told to; 0 is all")
	flag.StringVar(&o.account.keyFile, "key", "", "file with the private key (PKCS #8, PEM) of the account of operations login and refresh")
	flag.StringVar(&o.account.url, "account", "", "its URL")
	flag.StringVar(&o.account.kid, "kid", "", "the name of its key")
	flag.IntVar(&o.keys, "keys", 10000, "keys that requests choose from at random")
	flag.IntVar(&o.valueBytes, "value", 200, "bytes of a value")
	flag.IntVar(&o.rate, "rate", 0, "mode fanout: writes per second; 0 is as fast as answers come")
	flag.IntVar(&o.locks, "locks", 10000, "mode locks: how many are taken")
	flag.StringVar(&o.by, "by", "poll", "mode news: who is told: poll | stream | attach")
	flag.Float64Var(&warm, "warm", 1, "seconds before the measurement begins")
	flag.Float64Var(&seconds, "seconds", 8, "seconds measured (mode hold: the longest time to hold)")
	flag.StringVar(&pids, "pids", "", "processes of the server, comma-separated: their CPU and memory are reported")
	flag.Parse()

	o.warm = time.Duration(warm * float64(time.Second))
	o.measure = time.Duration(seconds * float64(time.Second))
	o.custom.host, o.custom.path, o.custom.body = o.address, parseTemplate(path), parseTemplate(body)
	o.watch = parseTemplate(watch)
	o.others = listed(others)
	if o.told == 0 {
		o.told = o.watchers
	}
	if bearers != "" {
		text, err := os.ReadFile(bearers)
		if err != nil {
			return o, err
		}
		o.bearers = strings.Fields(string(text))
	}
	for _, text := range listed(pids) {
		pid, err := strconv.Atoi(text)
		if err != nil {
			return o, fmt.Errorf("-pids: %w", err)
		}
		o.pids = append(o.pids, pid)
	}
	if o.valueBytes < stampBytes {
		return o, fmt.Errorf("-value must be at least %d, the bytes of the time stamp", stampBytes)
	}
	var err error
	o.dialect, err = dialectFor(kind, o.address, o.pool, o.collection)
	return o, err
}

func printJSON(result any) {
	text, err := json.Marshal(result)
	if err != nil {
		fail(err)
	}
	fmt.Println(string(text))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "load:", err)
	os.Exit(1)
}

// listed gives what stands between commas; of nothing, nothing.
func listed(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
}
