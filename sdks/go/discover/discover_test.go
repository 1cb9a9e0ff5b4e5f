package discover

import (
	"context"
	"errors"
	"net"
	"reflect"
	"testing"
	"time"

	"github.com/hashicorp/mdns"

	stargus "github.com/stargus/stargus/sdks/go"
)

func TestWhatIsAnnounced(t *testing.T) {
	entry := func(info ...string) *mdns.ServiceEntry {
		return &mdns.ServiceEntry{Name: `My\ server\032\(2\)._stargus._tcp.local.`, AddrV4: net.IPv4(192, 0, 2, 7), Port: 8080, InfoFields: info}
	}
	server, ok := serverOf(entry("v=1", "auth=open", "version=1.2", "pools=a,,b", "pools3=d", "pools2=c", "AUTH=required"))
	want := Server{Name: "My server (2)", URL: "http://192.0.2.7:8080", Auth: "open", Version: "1.2", Pools: []string{"a", "b", "c", "d"}}
	if !ok || !reflect.DeepEqual(server, want) {
		t.Fatalf("%+v", server)
	}
	if server, _ := serverOf(entry("v=1", "auth=required", "url=https://stargus.example/")); server.URL != "https://stargus.example" {
		t.Fatal(server)
	}
	if server, _ := serverOf(entry("v=1", "auth=open", "https=1", "url=javascript:alert(1)", "version=\x1b[31m1")); server.URL != "https://192.0.2.7:8080" || server.Version != "[31m1" {
		t.Fatalf("%+v", server)
	}
	for _, info := range [][]string{nil, {"v=2", "auth=open"}, {"v=1"}, {"v=1", "auth=none"}} {
		if _, ok := serverOf(entry(info...)); ok {
			t.Error(info)
		}
	}
}

func TestNobodyListensForACancelledContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	time.AfterFunc(50*time.Millisecond, cancel)
	began := time.Now()
	if _, err := Servers(ctx); err != nil && !errors.Is(err, stargus.ErrUnreachable) {
		t.Fatal(err)
	}
	if time.Since(began) > 30*time.Second {
		t.Fatal("it listened to the end")
	}
}
