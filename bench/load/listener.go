// One stream read line by line, for who waits for a certain piece of news. Many streams are read more cheaply by watchers.go.
package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"time"
)

type listener struct {
	socket net.Conn
	reader *bufio.Reader
}

// openListener returns when the stream has said that it is live.
func openListener(address string, request []byte) (*listener, error) {
	socket, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return nil, err
	}
	l := &listener{socket, bufio.NewReaderSize(socket, 1<<10)}
	if _, err = socket.Write(request); err == nil {
		err = l.await("event: live")
	}
	if err != nil {
		socket.Close()
		return nil, err
	}
	return l, nil
}

// await reads past the next line that holds text.
func (l *listener) await(text string) error { return l.awaitWithin(text, 30*time.Second) }

func (l *listener) awaitWithin(text string, longest time.Duration) error {
	l.socket.SetReadDeadline(time.Now().Add(longest))
	first := ""
	for {
		line, err := l.reader.ReadString('\n')
		if err != nil {
			return fmt.Errorf("before %q: %w; got %.300q", text, err, first)
		}
		if first == "" {
			first = line
		}
		if strings.Contains(line, text) {
			return nil
		}
	}
}

func (l *listener) close() { l.socket.Close() }
