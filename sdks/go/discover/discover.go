// Package discover finds the servers that announce themselves on the local network by multicast DNS. Who announces what is not
// proven: give no secret to a server because of its name.
package discover

import (
	"context"
	"io"
	"log"
	"net"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/mdns"

	stargus "github.com/stargus/stargus/sdks/go"
)

// Server is one that was heard of.
type Server struct {
	Name string
	URL  string
	// Auth is open or required.
	Auth    string
	Pools   []string
	Version string
}

const (
	service = "_stargus._tcp"
	// lookFor is how long is listened where the context has no end.
	lookFor = 2 * time.Second
	// askEvery: a question that was lost is asked again, and the end of the context is seen no later than when it is over.
	askEvery = time.Second
	// serversMax is of what is kept: anybody on the network can announce as many as they like.
	serversMax = 200
)

// Servers listens until the context is over, or for two seconds where it has no deadline, and answers who was heard of, in the
// order of names. It fails only where no network interface could be asked.
func Servers(ctx context.Context) ([]Server, error) {
	timeout := lookFor
	if deadline, ok := ctx.Deadline(); ok {
		timeout = time.Until(deadline)
	}
	if timeout <= 0 {
		return nil, nil
	}
	found := map[string]Server{}
	for until := time.Now().Add(timeout); ctx.Err() == nil; {
		left := time.Until(until)
		if left <= 0 {
			break
		}
		if err := ask(min(left, askEvery), found); err != nil {
			if len(found) == 0 {
				return nil, err
			}
			break
		}
	}
	servers := make([]Server, 0, len(found))
	for _, server := range found {
		servers = append(servers, server)
	}
	sort.Slice(servers, func(i, j int) bool {
		a, b := servers[i], servers[j]
		return a.Name+"\n"+a.URL < b.Name+"\n"+b.URL
	})
	return servers, nil
}

// ask asks once on all interfaces, and adds who answers within the time.
func ask(timeout time.Duration, found map[string]Server) error {
	entries := make(chan *mdns.ServiceEntry, 64)
	done := make(chan error, 1)
	asked := 0
	for _, one := range interfaces() {
		asked++
		go func() {
			done <- mdns.Query(&mdns.QueryParam{
				Service: service, Domain: "local", Timeout: timeout, Interface: one, Entries: entries, DisableIPv6: true,
				Logger: log.New(io.Discard, "", 0),
			})
		}()
	}
	var failed error
	failures := 0
	for left := asked; left > 0; {
		select {
		case entry := <-entries:
			if server, ok := serverOf(entry); ok && len(found) < serversMax {
				found[server.Name+"\n"+server.URL] = server
			}
		case err := <-done:
			left--
			if err != nil {
				failed = err
				failures++
			}
		}
	}
	if failures == asked {
		return stargus.NewError(stargus.CodeUnreachable, "nothing could be asked on any network interface", failed)
	}
	return nil
}

// interfaces through which it makes sense to ask: a server on a loopback address is announced there only.
func interfaces() []*net.Interface {
	all, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var usable []*net.Interface
	for _, one := range all {
		if one.Flags&net.FlagUp != 0 && one.Flags&(net.FlagMulticast|net.FlagLoopback) != 0 {
			usable = append(usable, &one)
		}
	}
	return usable
}

// serverOf believes what was announced only as far as it makes an address.
func serverOf(entry *mdns.ServiceEntry) (Server, bool) {
	told := map[string]string{}
	for _, text := range entry.InfoFields {
		name, value, ok := strings.Cut(text, "=")
		if _, was := told[strings.ToLower(name)]; ok && !was {
			told[strings.ToLower(name)] = value
		}
	}
	if told["v"] != "1" || told["auth"] != "open" && told["auth"] != "required" {
		return Server{}, false
	}
	name, _, _ := strings.Cut(entry.Name, "."+service)
	server := Server{Name: printable(unescape(name)), Auth: told["auth"], Version: printable(told["version"])}
	if at, err := url.Parse(told["url"]); err == nil && at.Host != "" && (at.Scheme == "http" || at.Scheme == "https") && at.User == nil {
		server.URL = strings.TrimRight(at.String(), "/")
	} else if entry.AddrV4 != nil && entry.Port > 0 {
		scheme := "http"
		if told["https"] == "1" {
			scheme = "https"
		}
		server.URL = scheme + "://" + net.JoinHostPort(entry.AddrV4.String(), strconv.Itoa(entry.Port))
	} else {
		return Server{}, false
	}
	for i := 1; ; i++ {
		key := "pools"
		if i > 1 {
			key += strconv.Itoa(i)
		}
		list, ok := told[key]
		if !ok {
			return server, true
		}
		for _, pool := range strings.Split(list, ",") {
			if pool != "" {
				server.Pools = append(server.Pools, printable(pool))
			}
		}
	}
}

// unescape takes off how DNS libraries write characters in labels: \. and \032.
func unescape(text string) string {
	var out []byte
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 >= len(text) {
			out = append(out, text[i])
			continue
		}
		if i+3 < len(text) {
			if n, err := strconv.ParseUint(text[i+1:i+4], 10, 8); err == nil {
				out = append(out, byte(n))
				i += 3
				continue
			}
		}
		i++
		out = append(out, text[i])
	}
	return string(out)
}

// printable keeps what strangers wrote from doing anything to a terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
}
