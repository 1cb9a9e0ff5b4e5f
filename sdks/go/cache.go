package stargus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"sync"
)

// Cache is a place where a mirror keeps what it has, such as sqlitecache.File(path). It stores rows and says nothing of what
// they mean: what is in them, and whether it is whole, is seen to by the mirror.
type Cache interface {
	// OpenCache takes hold of the place, for nobody else to have until it is closed.
	//
	// Errors: ErrCacheInUse where somebody else has it, ErrCacheFailed where it can't be had. A file that is damaged or of another
	// format is no error: it is made anew.
	OpenCache(ctx context.Context) (OpenCache, error)
}

// OpenCache is a cache that is held. Its methods are called by one goroutine at a time.
type OpenCache interface {
	// Load gives all that is there. An error says that it is damaged, and Reset will be called.
	Load(about func(name, value string), row func(CacheRow) error) error
	// Commit stores all of it at once, or nothing.
	Commit(CacheCommit) error
	// Reset makes it empty, however damaged it is.
	Reset() error
	Close() error
}

// CacheRow is an item as it is stored.
type CacheRow struct {
	Key        string
	Revision   int64
	Attributes string
}

// CacheCommit is what is stored together.
type CacheCommit struct {
	About  map[string]string
	Put    []CacheRow
	Delete []string
}

// cacheWriter keeps a mirror's cache up to date. All methods may be called on nil.
type cacheWriter struct {
	mirror *Mirror
	file   OpenCache
	about  string
	// next is about of another subject, whose state is to come whole.
	next string
	// sums are the digests of the rows that are stored, and total is all of them by XOR.
	sums  map[string][sha256.Size]byte
	total [sha256.Size]byte

	// dirty keys were changed since the last commit, all of them if isAll. They are guarded by the mirror's lock.
	dirty   map[string]struct{}
	isAll   bool
	isDirty bool

	wake    chan struct{}
	stop    chan struct{}
	stopped sync.WaitGroup
	// isGone: it failed, and the mirror goes on without.
	isGone bool
}

// openCache takes hold of the mirror's cache and shows what is in it.
func (m *Mirror) openCache(ctx context.Context) error {
	file, err := m.options.cache.OpenCache(ctx)
	if err != nil {
		return err
	}
	w := &cacheWriter{
		mirror: m, file: file, about: m.about(m.subject), sums: map[string][sha256.Size]byte{},
		dirty: map[string]struct{}{}, wake: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	if !w.load() {
		clear(w.sums)
		w.total = [sha256.Size]byte{}
		if err := file.Reset(); err != nil {
			file.Close()
			return &Error{Code: CodeCacheFailed, Detail: "the cache can't be made anew", cause: err}
		}
	}
	m.cache = w
	w.stopped.Add(1)
	if !m.client.start(w.run) {
		w.stopped.Done()
		file.Close()
		return closedError("client")
	}
	return nil
}

// about says what is cached, as text.
func (m *Mirror) about(subject string) string {
	text, _ := encode([]string{m.client.base, m.client.pool, subject, m.collection, m.query})
	return string(text)
}

// belongsTo says whose the state is that comes next. The mirror's lock is held.
func (w *cacheWriter) belongsTo(subject string) {
	if w != nil {
		w.next = w.mirror.about(subject)
	}
}

// load reads the cache into the mirror's view. False: it isn't of this view, or isn't whole.
func (w *cacheWriter) load() bool {
	about := map[string]string{}
	items := map[string]Item{}
	newest := int64(0)
	err := w.file.Load(
		func(name, value string) { about[name] = value },
		func(row CacheRow) error {
			item := Item{Key: row.Key, Revision: row.Revision}
			if !w.mirror.view.isSparse {
				if err := json.Unmarshal([]byte(row.Attributes), &item.Attributes); err != nil {
					return err
				}
				if item.Attributes == nil {
					item.Attributes = map[string]any{}
				}
			}
			items[row.Key] = item
			newest = max(newest, row.Revision)
			sum := digestOf(row)
			w.sums[row.Key] = sum
			add(&w.total, sum)
			return nil
		})
	if err != nil || len(items) != len(w.sums) {
		return false
	}
	if len(about) == 0 && len(items) == 0 {
		// Nothing was ever stored: it is as good as new.
		return true
	}
	cursor := about["cursor"]
	if about["view"] != w.about || cursor == "" || about["checksum"] != w.checksum(cursor, len(items)) {
		return false
	}
	v := &w.mirror.view
	v.items, v.cursor, v.resume, v.isKnown = items, cursor, cursor, true
	v.revision = max(revisionOf(cursor), newest)
	return true
}

// digestOf a row is that of <key>\n<revision>\n<attributes>.
func digestOf(row CacheRow) [sha256.Size]byte {
	line := make([]byte, 0, len(row.Key)+len(row.Attributes)+24)
	line = append(append(line, row.Key...), '\n')
	line = append(strconv.AppendInt(line, row.Revision, 10), '\n')
	return sha256.Sum256(append(line, row.Attributes...))
}

func add(total *[sha256.Size]byte, sum [sha256.Size]byte) {
	for i := range total {
		total[i] ^= sum[i]
	}
}

func (w *cacheWriter) checksum(cursor string, items int) string {
	sum := w.total
	add(&sum, sha256.Sum256([]byte(cursor+"\n"+strconv.Itoa(items))))
	return hex.EncodeToString(sum[:])
}

// note remembers what a step changed. The mirror's lock is held.
func (w *cacheWriter) note(next *step) {
	if w == nil || w.isGone {
		return
	}
	if next.items != nil {
		if w.next != "" {
			w.about, w.next = w.next, ""
		}
		w.isAll = true
		clear(w.dirty)
	} else if !w.isAll {
		for i := range next.puts {
			w.dirty[next.puts[i].Key] = struct{}{}
		}
		for _, key := range next.deletes {
			w.dirty[key] = struct{}{}
		}
	}
	w.isDirty = true
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run commits some four times a second, while there is something.
func (w *cacheWriter) run() {
	defer w.stopped.Done()
	for {
		select {
		case <-w.wake:
		case <-w.stop:
			return
		}
		due, cancel := after(cacheEvery)
		select {
		case <-due:
			w.flush()
		case <-w.stop:
			cancel()
			return
		}
	}
}

// flush stores what has changed, with the cursor that it is of.
func (w *cacheWriter) flush() {
	m := w.mirror
	m.mu.Lock()
	if w.isGone || !w.isDirty || m.view.cursor == "" {
		m.mu.Unlock()
		return
	}
	cursor, isAll, about := m.view.cursor, w.isAll, w.about
	changed := make(map[string]*Item, len(w.dirty))
	if isAll {
		for key, item := range m.view.items {
			changed[key] = &item
		}
	} else {
		for key := range w.dirty {
			changed[key] = nil
			if item, ok := m.view.items[key]; ok {
				changed[key] = &item
			}
		}
	}
	clear(w.dirty)
	w.isAll, w.isDirty = false, false
	m.mu.Unlock()
	if isAll {
		for key := range w.sums {
			if _, ok := changed[key]; !ok {
				changed[key] = nil
			}
		}
	}
	commit, sums, err := w.rowsOf(changed)
	if err == nil {
		total := w.total
		for key := range sums {
			add(&total, w.sums[key])
			add(&total, sums[key])
		}
		former := w.total
		w.total = total
		count := len(w.sums)
		for key, sum := range sums {
			_, was := w.sums[key]
			switch is := sum != (digest{}); {
			case is && !was:
				count++
			case was && !is:
				count--
			}
		}
		commit.About = map[string]string{"view": about, "cursor": cursor, "checksum": w.checksum(cursor, count)}
		if err = w.file.Commit(commit); err != nil {
			w.total = former
		}
	}
	if err != nil {
		w.giveUp(err)
		return
	}
	for key, sum := range sums {
		if sum == (digest{}) {
			delete(w.sums, key)
		} else {
			w.sums[key] = sum
		}
	}
}

type digest = [sha256.Size]byte

// rowsOf are the rows that differ from what is stored, and their digests: zero of those that go.
func (w *cacheWriter) rowsOf(changed map[string]*Item) (CacheCommit, map[string]digest, error) {
	var commit CacheCommit
	sums := make(map[string]digest, len(changed))
	for key, item := range changed {
		stored, was := w.sums[key]
		if item == nil {
			if was {
				commit.Delete = append(commit.Delete, key)
				sums[key] = digest{}
			}
			continue
		}
		row := CacheRow{Key: key, Revision: item.Revision, Attributes: "{}"}
		if !w.mirror.view.isSparse {
			text, err := encode(item.Attributes)
			if err != nil {
				return commit, nil, err
			}
			row.Attributes = string(text)
		}
		if sum := digestOf(row); !was || sum != stored {
			commit.Put = append(commit.Put, row)
			sums[key] = sum
		}
	}
	return commit, sums, nil
}

// giveUp goes on without the cache.
func (w *cacheWriter) giveUp(err error) {
	w.mirror.mu.Lock()
	w.isGone = true
	clear(w.dirty)
	w.mirror.mu.Unlock()
	w.file.Close()
	w.mirror.client.tell(&Error{Code: CodeCacheFailed, Detail: "the cache can't be written, and the mirror goes on without it", cause: err})
}

// close stores what is left and lets go.
func (w *cacheWriter) close() {
	if w == nil {
		return
	}
	close(w.stop)
	w.stopped.Wait()
	w.flush()
	if !w.isGone {
		if err := w.file.Close(); err != nil {
			w.mirror.client.tell(&Error{Code: CodeCacheFailed, Detail: "the cache can't be closed", cause: err})
		}
		w.isGone = true
	}
}

// abandon is close where the mirror never began.
func (w *cacheWriter) abandon() { w.close() }
