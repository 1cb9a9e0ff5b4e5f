// One HTTP/1.1 keep-alive connection: sends a ready-made request, reads the answer, keeps nothing of its body unless it is asked to.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"strconv"
	"time"
)

type connection struct {
	address string
	socket  net.Conn
	reader  *bufio.Reader
	until   time.Time     // no read or write blocks past it
	body    *bytes.Buffer // where the body of the next answer goes; nil: nowhere
}

func (c *connection) exchange(request []byte) (status int, err error) {
	if c.socket == nil {
		if err = c.open(); err != nil {
			return 0, err
		}
	}
	if _, err = c.socket.Write(request); err == nil {
		status, err = c.readAnswer()
	}
	if err != nil {
		c.close()
	}
	return status, err
}

func (c *connection) open() (err error) {
	c.socket, err = net.DialTimeout("tcp", c.address, 5*time.Second)
	if err != nil {
		c.socket = nil
		return err
	}
	c.reader = bufio.NewReaderSize(c.socket, 8<<10)
	return c.socket.SetDeadline(c.until)
}

func (c *connection) close() {
	if c.socket != nil {
		c.socket.Close()
		c.socket = nil
	}
}

func (c *connection) readAnswer() (int, error) {
	head, err := readHead(c.reader)
	if err != nil {
		return 0, err
	}
	if head.chunked {
		if _, err = io.Copy(c.sink(), httputil.NewChunkedReader(c.reader)); err == nil {
			_, err = c.reader.Discard(2)
		}
	} else if c.body != nil {
		_, err = io.CopyN(c.body, c.reader, int64(head.length))
	} else {
		_, err = c.reader.Discard(head.length)
	}
	if head.close {
		c.close()
	}
	return head.status, err
}

func (c *connection) sink() io.Writer {
	if c.body == nil {
		return io.Discard
	}
	return c.body
}

// ask exchanges and gives the body of the answer, which must be of success.
func (c *connection) ask(request []byte) (body string, err error) {
	c.body = &bytes.Buffer{}
	defer func() { c.body = nil }()
	status, err := c.exchange(request)
	if err == nil && status >= 300 {
		err = fmt.Errorf("status %d: %.300s", status, c.body)
	}
	return c.body.String(), err
}

type answerHead struct {
	status, length int
	chunked, close bool
}

func readHead(reader *bufio.Reader) (head answerHead, err error) {
	line, err := reader.ReadSlice('\n')
	if err != nil {
		return head, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return head, fmt.Errorf("not an HTTP/1.1 answer: %q", line)
	}
	if head.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return head, err
	}
	for {
		if line, err = reader.ReadSlice('\n'); err != nil {
			return head, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return head, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("content-length")):
			if head.length, err = strconv.Atoi(string(value)); err != nil {
				return head, err
			}
		case bytes.EqualFold(name, []byte("transfer-encoding")):
			head.chunked = bytes.EqualFold(value, []byte("chunked"))
		case bytes.EqualFold(name, []byte("connection")):
			head.close = bytes.EqualFold(value, []byte("close"))
		}
	}
}
