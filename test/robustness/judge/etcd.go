package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"go.etcd.io/etcd/tests/v3/robustness/model"
	"go.etcd.io/etcd/tests/v3/robustness/report"
	"go.etcd.io/etcd/tests/v3/robustness/validate"
)

// etcd's search is for the whole pool at once, and long only where it fails.
const etcdTimeout = 3 * time.Minute

// judgeByEtcd tells the history as one of etcd's: an item is a key, the pool's revision is the revision, a write is a
// transaction with or without a condition, and each connection of a watcher is a watch. Then it is judged as etcd judges itself:
// linearizability of the whole pool with all revisions, and of watches that they are ordered, unique, reliable, atomic,
// resumable and bookmarkable.
func judgeByEtcd(t *testing.T, h *history, l *log, v *verdict, folder string) {
	tr := translation{h: h, l: l}
	reports, persisted := tr.reports(), tr.persisted()
	core, said := observer.New(zapcore.ErrorLevel)
	picture := filepath.Join(folder, "etcd.html")
	passed := t.Run("etcd", func(t *testing.T) {
		// A watch that reaches beyond the log stops etcd's judge; here that is a fault like any other.
		defer func() {
			if r := recover(); r != nil {
				t.Errorf("%v", r)
				v.fault("etcd", "%v", r)
			}
		}()
		visualize := validate.ValidateAndReturnVisualize(t, zap.New(core), validate.Config{}, reports, persisted, etcdTimeout)
		if t.Failed() && said.FilterMessageSnippet("inearization").Len() > 0 {
			if err := visualize(picture); err != nil {
				t.Log(err)
			}
		}
	})
	if passed {
		return
	}
	for _, entry := range said.All() {
		var about []string
		for name, field := range entry.ContextMap() {
			text := strings.Join(strings.Fields(fmt.Sprint(field)), " ")
			about = append(about, fmt.Sprintf("%s %.600s", name, text))
		}
		slices.Sort(about)
		v.fault("etcd", "%s: %s", entry.Message, strings.Join(about, ", "))
	}
	if said.Len() == 0 {
		v.fault("etcd", "the history is not one that etcd's validators can judge; run the judge on %s to see why", folder)
	}
}

type translation struct {
	h *history
	l *log
}

// revision of etcd, whose first write has 2.
func (tr translation) revision(revision int64) int64 { return revision - tr.h.Base + 1 }

func (tr translation) persisted() []model.EtcdRequest {
	var requests []model.EtcdRequest
	for i := range tr.h.Commits {
		c := &tr.h.Commits[i]
		if op := tr.l.by[c.Revision]; op != nil {
			requests = append(requests, tr.write(op))
			continue
		}
		// Nobody's: it is told as it is, and etcd's judge finds that nobody sent it.
		txn := &model.TxnRequest{}
		for _, change := range c.Changes {
			if change.Op == "delete" {
				txn.OperationsOnSuccess = append(txn.OperationsOnSuccess, deleteOf(change.Key))
			} else if change.Attributes != nil {
				txn.OperationsOnSuccess = append(txn.OperationsOnSuccess, putOf(change.Key, change.Attributes.String()))
			}
		}
		requests = append(requests, model.EtcdRequest{Type: model.Txn, Txn: txn})
	}
	return requests
}

func (tr translation) reports() []report.ClientReport {
	var reports []report.ClientReport
	clients := map[int][]porcupine.Operation{}
	nobody := -1
	for _, op := range tr.h.Ops {
		ids := op.Client
		if op.Outcome.Outcome == "unknown" && op.Request.Kind == "write" {
			// Its end isn't known, so its client has a new name for what it does next.
			ids = nobody
			nobody--
		}
		if operation, ok := tr.operation(op, ids); ok {
			clients[ids] = append(clients[ids], operation)
		}
	}
	for id, operations := range clients {
		reports = append(reports, report.ClientReport{ClientID: id, KeyValue: operations})
	}
	watchers := map[string]*report.ClientReport{}
	for _, w := range tr.h.Watches {
		r := watchers[w.Watcher]
		if r == nil {
			r = &report.ClientReport{ClientID: 1000 + len(watchers)}
			watchers[w.Watcher] = r
		}
		r.Watch = append(r.Watch, tr.watch(w)...)
	}
	for _, r := range watchers {
		reports = append(reports, *r)
	}
	slices.SortFunc(reports, func(a, b report.ClientReport) int { return a.ClientID - b.ClientID })
	return reports
}

func (tr translation) operation(op *operation, client int) (porcupine.Operation, bool) {
	r, o := op.Request, op.Outcome
	result := porcupine.Operation{ClientId: client, Call: op.Call, Return: op.Return}
	isAnswered := o.Outcome == "done" || o.Outcome == "refused"
	switch {
	case r.Kind != "write" && o.Outcome == "done":
		result.Input, result.Output = tr.read(op)
	case r.Kind != "write" || (o.Outcome == "failed" && op.Commit == 0):
		return result, false
	case isAnswered:
		result.Input = tr.write(op)
		txn := &model.TxnResponse{Failure: o.Outcome == "refused", Results: []model.EtcdOperationResult{}}
		if !txn.Failure {
			for _, operation := range result.Input.(model.EtcdRequest).Txn.OperationsOnSuccess {
				one := model.EtcdOperationResult{}
				if operation.Type == model.DeleteOperation && slices.Contains(o.Existed, operation.Delete.Key) {
					one.Deleted = 1
				}
				txn.Results = append(txn.Results, one)
			}
		}
		result.Output = model.MaybeEtcdResponse{EtcdResponse: model.EtcdResponse{Txn: txn, Revision: tr.revision(o.At)}}
	default:
		result.Input, result.Output = tr.write(op), model.MaybeEtcdResponse{Error: "unknown"}
		result.Return = tr.end()
	}
	return result, true
}

// end is later than all that was answered.
func (tr translation) end() int64 {
	var end int64
	for _, op := range tr.h.Ops {
		end = max(end, op.Return)
	}
	return end + 1
}

func (tr translation) read(op *operation) (model.EtcdRequest, model.MaybeEtcdResponse) {
	options := model.RangeOptions{Start: op.Request.Key}
	if op.Request.Kind == "range" {
		options.End = endOf(op.Request.Key)
	}
	answer := &model.RangeResponse{KVs: []model.KeyValue{}, Count: int64(len(op.Outcome.Items))}
	for _, item := range op.Outcome.Items {
		// Stargus doesn't count how often an item was written: the log does, for the revision that was told.
		version := int64(-1)
		if state := tr.l.state(item.Revision); state != nil && state[item.Key].Revision == item.Revision {
			version = state[item.Key].Version
		}
		answer.KVs = append(answer.KVs, model.KeyValue{Key: item.Key, ValueRevision: model.ValueRevision{
			Value: model.ToValueOrHash(item.Attributes.String()), ModRevision: tr.revision(item.Revision), Version: version,
		}})
	}
	response := model.EtcdResponse{Range: answer, Revision: tr.revision(op.Outcome.At)}
	return model.EtcdRequest{Type: model.Range, Range: &model.RangeRequest{RangeOptions: options}}, model.MaybeEtcdResponse{EtcdResponse: response}
}

// write is a transaction that puts what the log has of it; of what wasn't done, something that nobody ever saw.
func (tr translation) write(op *operation) model.EtcdRequest {
	r := op.Request
	txn := &model.TxnRequest{}
	if c := r.Condition; c != nil {
		expected := int64(0)
		if c.Revision != 0 {
			expected = tr.revision(c.Revision)
		}
		txn.Conditions = []model.EtcdCondition{{Key: c.Key, ExpectedRevision: expected}}
	}
	after := tr.l.state(op.Commit)
	for _, put := range r.Puts {
		text := r.Token + "|not done"
		if op.Commit != 0 {
			text = after[put.Key].value.String()
		}
		txn.OperationsOnSuccess = append(txn.OperationsOnSuccess, putOf(put.Key, text))
	}
	for _, key := range tr.h.deleted(r) {
		txn.OperationsOnSuccess = append(txn.OperationsOnSuccess, deleteOf(key))
	}
	slices.SortFunc(txn.OperationsOnSuccess, func(a, b model.EtcdOperation) int {
		return strings.Compare(a.Put.Key+a.Delete.Key, b.Put.Key+b.Delete.Key)
	})
	return model.EtcdRequest{Type: model.Txn, Txn: txn}
}

// watch is what one connection told; more than one watch where the watcher was told to begin anew.
func (tr translation) watch(w *watch) []model.WatchOperation {
	operation := model.WatchOperation{Request: model.WatchRequest{Key: w.Prefix + w.Key, WithPrefix: w.Key == "", WithProgressNotify: true}}
	if w.Since != "" {
		_, since, _ := parseCursor(w.Since)
		operation.Request.Revision = tr.revision(since) + 1
	} else if w.Way == "poll" {
		operation.Request.Revision = tr.revision(tr.h.Base) + 1
	}
	var all []model.WatchOperation
	var split []model.WatchEvent
	for i := range w.Events {
		e := &w.Events[i]
		response := model.WatchResponse{Revision: tr.revision(e.Data.Revision), Time: time.Duration(e.Time)}
		switch e.Event {
		case "live", "bookmark":
			response.IsProgressNotify = true
		case "changes":
			split = append(split, tr.events(w, e)...)
			if e.Data.More {
				continue
			}
			response.Events = split
			split = nil
		case "reset":
			all = append(all, operation)
			operation.Request.Revision, operation.Responses = 0, nil
			continue
		default:
			continue
		}
		operation.Responses = append(operation.Responses, response)
	}
	return append(all, operation)
}

func (tr translation) events(w *watch, e *event) []model.WatchEvent {
	before := tr.l.state(e.Data.Revision - 1)
	var events []model.WatchEvent
	for _, change := range e.Data.Changes {
		event := model.Event{Type: model.PutOperation, Key: change.Key}
		if change.Op == "delete" {
			event.Type = model.DeleteOperation
		} else {
			event.Value = model.ToValueOrHash(w.told(change, before[change.Key].value).String())
		}
		persisted := model.PersistedEvent{Event: event, Revision: tr.revision(e.Data.Revision), IsCreate: change.Op == "add"}
		events = append(events, model.WatchEvent{PersistedEvent: persisted})
	}
	slices.SortFunc(events, func(a, b model.WatchEvent) int { return strings.Compare(a.Key, b.Key) })
	return events
}

func putOf(key, text string) model.EtcdOperation {
	return model.EtcdOperation{Type: model.PutOperation, Put: model.PutOptions{Key: key, Value: model.ToValueOrHash(text)}}
}

func deleteOf(key string) model.EtcdOperation {
	return model.EtcdOperation{Type: model.DeleteOperation, Delete: model.DeleteOptions{Key: key}}
}

// endOf is the first key after all that begin with the prefix.
func endOf(prefix string) string {
	return prefix[:len(prefix)-1] + string(prefix[len(prefix)-1]+1)
}
