// Package sqlitecache keeps what a mirror has in an SQLite file, of the format that the libraries of all languages share
// (docs/CLIENTS.md, The cache).
//
//	rooms, err := client.Attach(ctx, "rooms", stargus.WithCache(sqlitecache.File("rooms.cache")))
package sqlitecache

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	stargus "github.com/stargus/stargus/sdks/go"
)

const (
	applicationID = 0x53544152
	userVersion   = 1
)

const schema = `
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE item (key TEXT PRIMARY KEY, revision INTEGER NOT NULL, attributes TEXT NOT NULL) WITHOUT ROWID;`

// File is the cache in this file, which is made where there is none and can be read by its owner only. It is a copy, and may be
// deleted while no mirror has it. A file of this name that is none of a mirror's is not touched: ErrCacheFailed.
func File(path string) stargus.Cache { return cache{path: path} }

type cache struct {
	path string
	// pagesMax bounds the file, for tests of a full disk; 0: not.
	pagesMax int
}

type file struct {
	cache
	// name is the file's place in taken.
	name string
	db   *sql.DB
	conn *sql.Conn
}

// taken are the files that this process has open. SQLite sees to other processes; but a file that is opened and closed beside it,
// as is done here to look at it, would take its locks away.
var taken struct {
	sync.Mutex
	names map[string]bool
}

// OpenCache takes hold of the file.
func (c cache) OpenCache(ctx context.Context) (stargus.OpenCache, error) {
	f := &file{cache: c}
	if err := f.take(); err != nil {
		return nil, err
	}
	err := f.open(ctx)
	if isDamaged(err) {
		err = f.anew(ctx)
	}
	if err != nil {
		f.Close()
		return nil, told(err)
	}
	return f, nil
}

func (f *file) take() error {
	name, err := filepath.Abs(f.path)
	if err != nil {
		return told(err)
	}
	if resolved, err := filepath.EvalSymlinks(name); err == nil {
		name = resolved
	} else if folder, err := filepath.EvalSymlinks(filepath.Dir(name)); err == nil {
		name = filepath.Join(folder, filepath.Base(name))
	}
	taken.Lock()
	defer taken.Unlock()
	if taken.names[name] {
		return stargus.NewError(stargus.CodeCacheInUse, "another mirror of this process has the cache file", nil)
	}
	if taken.names == nil {
		taken.names = map[string]bool{}
	}
	taken.names[name] = true
	f.path, f.name = name, name
	return nil
}

func told(err error) error {
	if isBusy(err) {
		return stargus.NewError(stargus.CodeCacheInUse, "another process, or another mirror of this one, has the cache file", err)
	}
	return stargus.NewError(stargus.CodeCacheFailed, "the cache file can't be opened", err)
}

func codeOf(err error) int {
	var failure *sqlite.Error
	if errors.As(err, &failure) {
		return failure.Code() & 0xff
	}
	return 0
}

func isBusy(err error) bool {
	return codeOf(err) == sqlite3.SQLITE_BUSY || codeOf(err) == sqlite3.SQLITE_LOCKED
}

var (
	errOtherVersion = errors.New("the file is of another version of the format")
	errForeign      = errors.New("the file is none of a mirror's: give the cache a name of its own")
)

// isDamaged: the file was ours, and can't be used as it is.
func isDamaged(err error) bool {
	code := codeOf(err)
	return errors.Is(err, errOtherVersion) || code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB || code == sqlite3.SQLITE_ERROR
}

const (
	magic = "SQLite format 3\x00"
	// headerBytes of a file have all that is looked at, and applicationIDAt is where the application's number is.
	headerBytes     = 100
	applicationIDAt = 68
)

// look refuses a file of somebody else, which must not be touched. It is made here where there is none, so that nobody else can
// read it for a moment; SQLite gives its other files the same mode.
func (f *file) look() error {
	opened, err := os.OpenFile(f.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer opened.Close()
	header := make([]byte, headerBytes)
	n, err := io.ReadFull(opened, header)
	switch {
	case n == 0 && errors.Is(err, io.EOF):
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return err
	case n < headerBytes || string(header[:len(magic)]) != magic || binary.BigEndian.Uint32(header[applicationIDAt:]) != applicationID:
		return errForeign
	}
	return opened.Chmod(0o600)
}

func (f *file) open(ctx context.Context) error {
	if err := f.look(); err != nil {
		return err
	}
	name := url.URL{Scheme: "file", Path: filepath.ToSlash(f.path)}
	var err error
	if f.db, err = sql.Open("sqlite", name.String()); err != nil {
		return err
	}
	f.db.SetMaxOpenConns(1)
	if f.conn, err = f.db.Conn(ctx); err != nil {
		return err
	}
	// Exclusive locking holds the file for as long as it is open.
	if err := f.run(ctx, "PRAGMA busy_timeout = 0", "PRAGMA locking_mode = EXCLUSIVE", "BEGIN EXCLUSIVE", "COMMIT"); err != nil {
		return err
	}
	if f.pagesMax > 0 {
		if err := f.limit(ctx); err != nil {
			return err
		}
	}
	if err := f.checkFormat(ctx); err != nil {
		return err
	}
	// Only now, so that what says whose file it is stands in the file itself. No commit waits for the disk: what a crash of the
	// machine leaves half written, the checksum finds.
	return f.run(ctx, "PRAGMA journal_mode = WAL", "PRAGMA synchronous = OFF")
}

func (f *file) run(ctx context.Context, statements ...string) error {
	for _, statement := range statements {
		if _, err := f.conn.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

func (f *file) checkFormat(ctx context.Context) error {
	var id, version, tables int
	for query, into := range map[string]*int{
		"PRAGMA application_id": &id, "PRAGMA user_version": &version, "SELECT count(*) FROM sqlite_master": &tables,
	} {
		if err := f.conn.QueryRowContext(ctx, query).Scan(into); err != nil {
			return err
		}
	}
	switch {
	case id == applicationID && version == userVersion:
		return nil
	case tables == 0 && id == 0 && version == 0:
		return f.create(ctx)
	case id == applicationID:
		return errOtherVersion
	}
	return errForeign
}

func (f *file) create(ctx context.Context) error {
	err := f.run(ctx, "BEGIN", "PRAGMA application_id = 0x53544152", "PRAGMA user_version = 1", schema, "COMMIT")
	if err != nil {
		f.conn.ExecContext(ctx, "ROLLBACK")
	}
	return err
}

// anew deletes the file and makes it again.
func (f *file) anew(ctx context.Context) error {
	f.release()
	for _, end := range []string{"", "-wal", "-shm", "-journal"} {
		if err := os.Remove(f.path + end); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return f.open(ctx)
}

func (f *file) release() {
	if f.conn != nil {
		f.conn.Close()
	}
	if f.db != nil {
		f.db.Close()
	}
	f.conn, f.db = nil, nil
}

// Load gives all that is there.
func (f *file) Load(about func(name, value string), row func(stargus.CacheRow) error) error {
	ctx := context.Background()
	if err := f.each(ctx, "SELECT name, value FROM about", func(rows *sql.Rows) error {
		var name, value string
		err := rows.Scan(&name, &value)
		about(name, value)
		return err
	}); err != nil {
		return err
	}
	return f.each(ctx, "SELECT key, revision, attributes FROM item", func(rows *sql.Rows) error {
		var one stargus.CacheRow
		if err := rows.Scan(&one.Key, &one.Revision, &one.Attributes); err != nil {
			return err
		}
		return row(one)
	})
}

func (f *file) each(ctx context.Context, query string, take func(*sql.Rows) error) error {
	rows, err := f.conn.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := take(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Commit stores all of it in one transaction.
func (f *file) Commit(commit stargus.CacheCommit) (err error) {
	ctx := context.Background()
	tx, err := f.conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if len(commit.Put) > 0 {
		put, err := tx.PrepareContext(ctx, "INSERT OR REPLACE INTO item (key, revision, attributes) VALUES (?, ?, ?)")
		if err != nil {
			return err
		}
		defer put.Close()
		for _, row := range commit.Put {
			if _, err := put.ExecContext(ctx, row.Key, row.Revision, row.Attributes); err != nil {
				return err
			}
		}
	}
	for _, key := range commit.Delete {
		if _, err := tx.ExecContext(ctx, "DELETE FROM item WHERE key = ?", key); err != nil {
			return err
		}
	}
	for name, value := range commit.About {
		if _, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO about (name, value) VALUES (?, ?)", name, value); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// Reset makes it empty: in place where it can still be written, for then nobody else gets hold of it meanwhile, and by making the
// file anew where it is damaged.
func (f *file) Reset() error {
	ctx := context.Background()
	if f.conn != nil {
		if _, err := f.conn.ExecContext(ctx, "BEGIN; DELETE FROM item; DELETE FROM about; COMMIT"); err == nil {
			return nil
		}
		f.conn.ExecContext(ctx, "ROLLBACK")
	}
	return f.anew(ctx)
}

// limit bounds the file.
func (f *file) limit(ctx context.Context) error {
	var pages int
	return f.conn.QueryRowContext(ctx, "PRAGMA max_page_count = "+strconv.Itoa(f.pagesMax)).Scan(&pages)
}

// Close lets go of the file.
func (f *file) Close() error {
	f.release()
	taken.Lock()
	defer taken.Unlock()
	delete(taken.names, f.name)
	return nil
}
