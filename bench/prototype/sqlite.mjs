// The prototype's store on SQLite: durable (synchronous=FULL), one upsert and one change row for each write. Names of pools and
// collections are in memory; rows carry their numbers.
import Database from 'better-sqlite3';

const schema = `
  CREATE TABLE IF NOT EXISTS collection (id INTEGER PRIMARY KEY, pool TEXT NOT NULL, name TEXT NOT NULL, UNIQUE (pool, name));
  CREATE TABLE IF NOT EXISTS pool (name TEXT PRIMARY KEY, id INTEGER NOT NULL, revision INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS item (collection INTEGER, key TEXT, attributes TEXT NOT NULL, revision INTEGER NOT NULL,
    created INTEGER NOT NULL, PRIMARY KEY (collection, key)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS commit_log (pool INTEGER, revision INTEGER, collection INTEGER, key TEXT, changed TEXT, after TEXT,
    time TEXT, PRIMARY KEY (pool, revision)) WITHOUT ROWID;`;

export function openStore(url) {
  const db = new Database(url.slice('sqlite:'.length));
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = FULL');
  db.pragma('cache_size = -65536');
  db.pragma('wal_autocheckpoint = 4000'); // 16 MB: pages written often reach the database file less often
  db.exec(schema);

  const upsert = db
    .prepare(
      `INSERT INTO item VALUES (?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET attributes = excluded.attributes, revision = excluded.revision RETURNING created`,
    )
    .pluck();
  const log = db.prepare('INSERT INTO commit_log VALUES (?, ?, ?, ?, ?, ?, ?)');
  const savePool = db.prepare(
    'INSERT INTO pool VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET revision = excluded.revision',
  );
  const addCollection = db.prepare('INSERT INTO collection (pool, name) VALUES (?, ?)');
  const select = db.prepare('SELECT attributes, revision, created FROM item WHERE collection = ? AND key = ?');
  const selectAll = db.prepare(
    'SELECT key, attributes, revision, created FROM item WHERE collection = ? AND (? IS NULL OR key = ?)',
  );

  const pools = new Map(); // name -> {name, id, revision, collections: name -> id}
  for (const row of db.prepare('SELECT * FROM pool').all()) pools.set(row.name, { ...row, collections: new Map() });
  for (const row of db.prepare('SELECT * FROM collection').all()) pools.get(row.pool).collections.set(row.name, row.id);

  const commit = db.transaction((group, time) => {
    const touched = new Set();
    for (const write of group) {
      const pool = pools.get(write.pool) ?? addPool(write.pool);
      const collection = pool.collections.get(write.collection) ?? addCollectionTo(pool, write.collection);
      write.revision = ++pool.revision;
      write.created = upsert.get(collection, write.key, write.attributes, write.revision, write.revision);
      log.run(pool.id, write.revision, collection, write.key, write.changed, write.attributes, time);
      touched.add(pool);
    }
    for (const pool of touched) savePool.run(pool.name, pool.id, pool.revision);
  }).immediate;

  function addPool(name) {
    const pool = { name, id: pools.size + 1, revision: 0, collections: new Map() };
    pools.set(name, pool);
    return pool;
  }

  function addCollectionTo(pool, name) {
    const id = Number(addCollection.run(pool.name, name).lastInsertRowid);
    pool.collections.set(name, id);
    return id;
  }

  const idOf = (pool, collection) => pools.get(pool)?.collections.get(collection) ?? 0;
  return {
    commit: (group, time) => void commit(group, time),
    get: (pool, collection, key) => select.get(idOf(pool, collection), key),
    snapshot: (pool, collection, key = null) => ({
      revision: pools.get(pool)?.revision ?? 0,
      items: selectAll.all(idOf(pool, collection), key, key),
    }),
  };
}
