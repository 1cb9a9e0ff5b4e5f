package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// What is running and connected for the library in this process, as the runtime and the system tell it.

// settleWithin: what was told to end may take a moment to be gone.
const settleWithin = 2 * time.Second

func (d *driver) open() any {
	tasks, sockets := countTasks(), countSockets()-d.sockets
	for until := time.Now().Add(settleWithin); (tasks > 0 || sockets > 0) && d.isQuiet() && time.Now().Before(until); {
		time.Sleep(10 * time.Millisecond)
		tasks, sockets = countTasks(), countSockets()-d.sockets
	}
	return object{"tasks": tasks, "sockets": max(0, sockets)}
}

// isQuiet: everything was closed, so that nothing should be left.
func (d *driver) isQuiet() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.clients {
		if !c.IsClosed() {
			return false
		}
	}
	return true
}

// countTasks counts goroutines that are in the library, or in HTTP or SQL for it. The driver's own have main alone on their stack.
func countTasks() int {
	stacks := make([]byte, 1<<20)
	for {
		n := runtime.Stack(stacks, true)
		if n < len(stacks) {
			stacks = stacks[:n]
			break
		}
		stacks = make([]byte, 2*len(stacks))
	}
	count := 0
	for _, stack := range strings.Split(string(stacks), "\n\n") {
		if strings.Contains(stack, "main.countTasks") {
			continue
		}
		if strings.Contains(stack, "stargus/sdks/go.") || strings.Contains(stack, "net/http.") || strings.Contains(stack, "database/sql.") {
			count++
		}
	}
	return count
}

// countSockets counts the sockets of this process where the system tells them, else the connections of HTTP.
func countSockets() int {
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil || len(links) == 0 {
		return 0
	}
	count := 0
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, "socket:") {
			count++
		}
	}
	return count
}
