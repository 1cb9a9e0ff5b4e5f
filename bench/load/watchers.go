// Many streams read as cheaply as can be: a buffer is taken only while there is something to read, and stamps are counted in raw bytes.
package main

import (
	"bytes"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

type watchers struct {
	deliveries atomic.Int64
	closed     atomic.Int64 // streams that the server ended
	timing     atomic.Bool  // whether latencies are recorded
	latencies  histogram
	sockets    []net.Conn
	finishing  atomic.Bool
}

// openers is how many streams are opened at once.
const openers = 32

// pendingMax is more than any unfinished stamp that a read can leave behind.
const pendingMax = 64

var readBuffers = sync.Pool{New: func() any { buf := make([]byte, pendingMax+256<<10); return &buf }}

// openWatchers returns when all streams have said that they are listening.
func openWatchers(o options) (*watchers, error) {
	w := &watchers{sockets: make([]net.Conn, o.watchers)}
	open := func(n int) (err error) {
		w.sockets[n], err = openWatcher(o, n)
		return err
	}
	err := inParallel(openers, o.watchers, func() (func(int) error, func()) { return open, func() {} })
	if err != nil {
		return nil, fmt.Errorf("watcher %w", err)
	}
	for _, socket := range w.sockets {
		go w.read(socket.(*net.TCPConn), newStampScanner(o.dialect.base64Values()))
	}
	return w, nil
}

func openWatcher(o options, n int) (net.Conn, error) {
	nodes := append([]string{o.address}, o.others...)
	socket, err := net.DialTimeout("tcp", nodes[n%len(nodes)], 10*time.Second)
	if err != nil {
		return nil, err
	}
	key, value := "", ""
	switch unwritten := fmt.Sprintf("unwritten%06d", n); o.watchOthers {
	case "keys":
		key = unwritten
	case "values":
		value = unwritten
	}
	socket.SetDeadline(time.Now().Add(60 * time.Second))
	if _, err = socket.Write(o.watchRequest(n, key, value)); err != nil {
		return nil, err
	}
	seen, err := readUntil(socket, o.dialect.listening())
	if err != nil {
		return nil, err
	}
	if request := o.dialect.subscribe(seen); request != nil {
		conn := &connection{address: o.address, until: time.Now().Add(20 * time.Second)}
		defer conn.close()
		if status, err := conn.exchange(request); err != nil || status >= 300 {
			return nil, fmt.Errorf("subscription: status %d, %v", status, err)
		}
	}
	return socket, socket.SetDeadline(time.Time{})
}

// watchRequest opens the stream of a watcher, which is of -watch where that is given, and of the bearer of its number.
func (o options) watchRequest(n int, key, value string) []byte {
	request := o.dialect.watch(nil, key, value)
	if path := o.watch.fill(nil, filling{n: n}); len(path) > 0 {
		request = appendRequest(nil, "GET", string(path), o.address, nil)
	}
	if len(o.bearers) == 0 {
		return request
	}
	return withHeader(request, bearerHeader(o.bearers[n%len(o.bearers)]))
}

// readUntil reads past the line that holds text, and at most 64 MiB.
func readUntil(socket net.Conn, text string) (seen []byte, err error) {
	part := make([]byte, 64<<10)
	for total := 0; total < 64<<20; {
		n, err := socket.Read(part)
		if err != nil {
			return nil, fmt.Errorf("before %q: %w; got %.300q", text, err, seen)
		}
		total += n
		seen = append(seen, part[:n]...)
		if at := bytes.Index(seen, []byte(text)); at >= 0 && bytes.IndexByte(seen[at+len(text):], '\n') >= 0 {
			return seen, nil
		}
		if !bytes.HasPrefix(seen, []byte("HTTP/1.1 200")) && total == n {
			return nil, fmt.Errorf("answer %.300q", seen)
		}
	}
	return nil, fmt.Errorf("no %q in the first 64 MiB", text)
}

func (w *watchers) read(socket *net.TCPConn, scanner *stampScanner) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return
	}
	open := true
	for open {
		err = raw.Read(func(fd uintptr) bool {
			buf := readBuffers.Get().(*[]byte)
			defer readBuffers.Put(buf)
			kept := copy(*buf, scanner.pending)
			n, err := syscall.Read(int(fd), (*buf)[kept:])
			if err == syscall.EAGAIN {
				return false
			}
			if n > 0 {
				w.take(scanner, (*buf)[:kept+n])
			}
			open = n > 0 || err == syscall.EINTR
			return true
		})
		open = open && err == nil
	}
	if !w.finishing.Load() {
		w.closed.Add(1)
	}
}

func (w *watchers) take(scanner *stampScanner, data []byte) {
	var see func(time.Time)
	if w.timing.Load() {
		now := time.Now()
		see = func(sent time.Time) { w.latencies.record(now.Sub(sent)) }
	}
	w.deliveries.Add(scanner.scan(data, see))
}

func (w *watchers) close() {
	w.finishing.Store(true)
	for _, socket := range w.sockets {
		socket.Close()
	}
}
