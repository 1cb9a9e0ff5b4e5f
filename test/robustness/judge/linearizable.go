package main

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// A search that takes longer is as good as none.
const porcupineTimeout = 2 * time.Minute

// projection is what one operation is to one item. A batch is one to each of its items: that they are one commit is for others
// to judge. Of the log it believes which writes of unknown outcome were done, and nothing of their order.
type projection struct {
	key       string
	op        *operation
	reads     bool
	put       *put
	deletes   bool
	condition *condition
}

type seen struct {
	there    bool
	revision int64
	value    value
}

// itemState has the revision of the item's last change, also where that was its end.
type itemState struct {
	seen
	last int64
}

func judgeLinearizable(h *history, v *verdict, folder string) {
	var ops []porcupine.Operation
	for i, op := range h.Ops {
		end := op.Return
		switch {
		case op.Outcome.Outcome == "failed":
			continue
		case op.Outcome.Outcome == "unknown" && op.Commit == 0:
			continue
		case op.Outcome.Outcome == "unknown":
			end = math.MaxInt64
		}
		for _, p := range project(h, op) {
			ops = append(ops, porcupine.Operation{ClientId: i, Input: p, Call: op.Call, Output: seenBy(p), Return: end})
		}
	}
	result, info := porcupine.CheckOperationsVerbose(itemModel, ops, porcupineTimeout)
	if result == porcupine.Ok {
		return
	}
	picture := filepath.Join(folder, "porcupine.html")
	if err := porcupine.VisualizePath(itemModel, info, picture); err != nil {
		picture = err.Error()
	}
	if result == porcupine.Unknown {
		v.fault("porcupine", "no verdict within %s: %s", porcupineTimeout, picture)
		return
	}
	v.fault("porcupine", "not linearizable, items: %s; see %s", strings.Join(badKeys(ops), ", "), picture)
}

// badKeys finds the items to look at.
func badKeys(ops []porcupine.Operation) []string {
	var bad []string
	for _, part := range partition(ops) {
		if porcupine.CheckOperationsTimeout(itemModel, part, porcupineTimeout) != porcupine.Ok {
			bad = append(bad, part[0].Input.(projection).key)
		}
	}
	slices.Sort(bad)
	return bad
}

func project(h *history, op *operation) []projection {
	r := op.Request
	switch r.Kind {
	case "get":
		return []projection{{key: r.Key, op: op, reads: true}}
	case "range":
		var all []projection
		for _, key := range h.keysOf(r.Key) {
			all = append(all, projection{key: key, op: op, reads: true})
		}
		return all
	}
	parts := map[string]projection{}
	at := func(key string, change func(*projection)) {
		p := parts[key]
		p.key, p.op = key, op
		change(&p)
		parts[key] = p
	}
	if c := r.Condition; c != nil {
		at(c.Key, func(p *projection) { p.condition = c })
	}
	if op.Outcome.Outcome != "refused" {
		for i := range r.Puts {
			at(r.Puts[i].Key, func(p *projection) { p.put = &r.Puts[i] })
		}
		for _, key := range h.deleted(r) {
			at(key, func(p *projection) { p.deletes = true })
		}
	}
	var all []projection
	for _, p := range parts {
		all = append(all, p)
	}
	return all
}

// seenBy is what a read was answered of the item.
func seenBy(p projection) seen {
	if !p.reads {
		return seen{}
	}
	for _, item := range p.op.Outcome.Items {
		if item.Key == p.key && item.Attributes != nil {
			return seen{true, item.Revision, *item.Attributes}
		}
	}
	return seen{}
}

var itemModel = porcupine.Model{
	Partition: partition,
	Init:      func() any { return itemState{} },
	Step: func(state, input, output any) (bool, any) {
		return step(state.(itemState), input.(projection), output.(seen))
	},
	DescribeOperation: func(input, output any) string { return describeProjection(input.(projection), output.(seen)) },
	DescribeState: func(state any) string {
		s := state.(itemState)
		return fmt.Sprintf("%t %d %v", s.there, s.revision, s.value)
	},
}

func partition(ops []porcupine.Operation) [][]porcupine.Operation {
	parts := map[string][]porcupine.Operation{}
	for _, op := range ops {
		key := op.Input.(projection).key
		parts[key] = append(parts[key], op)
	}
	var all [][]porcupine.Operation
	for _, part := range parts {
		all = append(all, part)
	}
	return all
}

func step(s itemState, p projection, out seen) (bool, itemState) {
	o := p.op.Outcome
	if p.reads {
		return s.seen == out, s
	}
	holds := p.condition == nil || p.condition.Revision == s.revision
	if o.Outcome == "refused" {
		return !holds, s
	}
	if !holds {
		return false, s
	}
	revision := o.At
	if o.Outcome == "unknown" {
		revision = p.op.Commit
	}
	switch {
	case p.put != nil:
		after := p.put.after(p.op.Request.Token, s.value)
		n, isTold := o.Values[p.key]
		ok := revision > s.last && (!isTold || n == after.N)
		return ok, itemState{seen{true, revision, after}, revision}
	case p.deletes:
		if o.Outcome == "done" && s.there != slices.Contains(o.Existed, p.key) {
			return false, s
		}
		if !s.there {
			return true, s
		}
		return revision > s.last, itemState{seen{}, revision}
	}
	return true, s
}

func describeProjection(p projection, out seen) string {
	r, o := p.op.Request, p.op.Outcome
	if p.reads {
		return fmt.Sprintf("%s at %d: %t %d %v", r.Kind, o.At, out.there, out.revision, out.value)
	}
	text := r.Token
	switch {
	case p.put != nil:
		text += " " + p.put.How
	case p.deletes:
		text += " delete"
	}
	if p.condition != nil {
		text += fmt.Sprintf(" if at %d", p.condition.Revision)
	}
	return fmt.Sprintf("%s: %s at %d", text, o.Outcome, max(o.At, p.op.Commit))
}
