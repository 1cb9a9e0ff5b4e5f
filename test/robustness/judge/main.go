// The judge of a recorded history: `judge FOLDER` reads FOLDER/history.ndjson, has it judged in four ways that share nothing
// but the parser, and writes FOLDER/verdict.json. Its exit code is 0 if nobody found a fault.
//
//   - log.go: the log has no hole, is the effect of what clients asked for, and has all that was acknowledged and nothing that
//     was refused; in the order of revisions every answer is right and none contradicts the clock (strict serializability).
//   - watching.go: what watchers were told agrees with the log, in what etcd has no word for.
//   - linearizable.go: porcupine, for each item by itself, without believing any revision's order.
//   - etcd.go: etcd's own validators, of the whole pool and of all watchers.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

type fault struct {
	By   string `json:"by"`
	What string `json:"what"`
}

type verdict struct {
	Faults         []fault          `json:"faults"`
	Operations     int              `json:"operations"`
	Commits        int              `json:"commits"`
	Unknown        int              `json:"unknown"`
	UnknownApplied int              `json:"unknownApplied"`
	Refused        int              `json:"refused"`
	Watches        int              `json:"watches"`
	Resumed        int              `json:"resumed"`
	Events         int              `json:"events"`
	Milliseconds   map[string]int64 `json:"milliseconds"`
}

// Of one kind of fault so many are told: the first ones say what happened.
const faultsTold = 5

func (v *verdict) fault(by, format string, args ...any) {
	count := 0
	for _, fault := range v.Faults {
		if fault.By == by {
			count++
		}
	}
	if count < faultsTold {
		v.Faults = append(v.Faults, fault{by, fmt.Sprintf(format, args...)})
	}
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: judge FOLDER")
		os.Exit(2)
	}
	folder := os.Args[1]
	os.Args = os.Args[:1]
	// etcd's validators want to be called by a test: so this program is one.
	testing.Main(func(_, _ string) (bool, error) { return true, nil },
		[]testing.InternalTest{{Name: "judge", F: func(t *testing.T) { os.Exit(run(t, folder)) }}}, nil, nil)
}

func run(t *testing.T, folder string) int {
	h, err := readHistory(filepath.Join(folder, "history.ndjson"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	v := &verdict{Faults: []fault{}, Milliseconds: map[string]int64{}}
	timed := func(name string, judge func()) {
		began := time.Now()
		judge()
		v.Milliseconds[name] = time.Since(began).Milliseconds()
	}
	var l *log
	timed("log", func() { l = judgeLog(h, v) })
	timed("watching", func() { judgeWatching(h, l, v) })
	timed("porcupine", func() { judgeLinearizable(h, v, folder) })
	timed("etcd", func() { judgeByEtcd(t, h, l, v, folder) })
	count(h, v)
	text, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "verdict.json"), append(text, '\n'), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	fmt.Println(string(text))
	if len(v.Faults) > 0 {
		return 1
	}
	return 0
}

func count(h *history, v *verdict) {
	v.Operations, v.Commits, v.Watches = len(h.Ops), len(h.Commits), len(h.Watches)
	for _, op := range h.Ops {
		switch {
		case op.Outcome.Outcome == "refused":
			v.Refused++
		case op.Outcome.Outcome == "unknown" && op.Request.Kind == "write":
			v.Unknown++
			if op.Commit != 0 {
				v.UnknownApplied++
			}
		}
	}
	for _, w := range h.Watches {
		if w.Since != "" {
			v.Resumed++
		}
		for _, event := range w.Events {
			v.Events += len(event.Data.Changes)
		}
	}
}
