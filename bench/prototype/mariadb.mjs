// The prototype's store on MariaDB: a group is one transaction in one round trip, whatever its size. Durability is the
// server's innodb_flush_log_at_trx_commit=1.
import mysql from 'mysql2/promise';

const schema = [
  'CREATE TABLE IF NOT EXISTS pool (name VARBINARY(128) PRIMARY KEY, revision BIGINT NOT NULL)',
  `CREATE TABLE IF NOT EXISTS item (pool VARBINARY(128), collection VARBINARY(128), \`key\` VARBINARY(255), attributes MEDIUMTEXT NOT NULL,
     revision BIGINT NOT NULL, created BIGINT NOT NULL, PRIMARY KEY (pool, collection, \`key\`))`,
  `CREATE TABLE IF NOT EXISTS commit_log (pool VARBINARY(128), revision BIGINT, collection VARBINARY(128), \`key\` VARBINARY(255), changed TEXT,
     after MEDIUMTEXT, time CHAR(24), PRIMARY KEY (pool, revision))`,
];
const selectItem = 'SELECT attributes, revision, created FROM item WHERE pool = ? AND collection = ? AND `key` = ?';
const transaction = `
  START TRANSACTION;
  INSERT INTO item VALUES ? ON DUPLICATE KEY UPDATE attributes = VALUES(attributes), revision = VALUES(revision) RETURNING created;
  INSERT INTO commit_log VALUES ?;
  INSERT INTO pool VALUES ? ON DUPLICATE KEY UPDATE revision = VALUES(revision);
  COMMIT`;

export async function openStore(url) {
  const connections = mysql.createPool({ uri: url, connectionLimit: 10, multipleStatements: true });
  for (const statement of schema) await connections.query(statement);
  const writer = await connections.getConnection();
  const revisions = new Map(
    (await rows(writer.query('SELECT name, revision FROM pool'))).map((row) => [String(row.name), row.revision]),
  );

  async function commit(group, time) {
    for (const write of group) {
      write.revision = (revisions.get(write.pool) ?? 0) + 1;
      revisions.set(write.pool, write.revision);
    }
    const items = group.map((w) => [w.pool, w.collection, w.key, w.attributes, w.revision, w.revision]);
    const changes = group.map((w) => [w.pool, w.revision, w.collection, w.key, w.changed, w.attributes, time]);
    const pools = [...new Set(group.map((write) => write.pool))].map((pool) => [pool, revisions.get(pool)]);
    const [, created] = await rows(writer.query(transaction, [items, changes, pools]));
    for (const [index, write] of group.entries()) write.created = created[index].created;
  }

  return {
    commit,
    // Through the driver's callbacks: its promises capture a stack for each query, a fifth of the processor time.
    get: (...key) =>
      new Promise((resolve, reject) => {
        connections.pool.execute(selectItem, key, (error, found) => (error ? reject(error) : resolve(found[0])));
      }),
    snapshot: async (pool, collection, key = null) => ({
      revision: revisions.get(pool) ?? 0,
      items: await rows(
        connections.query(
          'SELECT CAST(`key` AS CHAR) AS `key`, attributes, revision, created FROM item WHERE pool = ? AND collection = ? AND (? IS NULL OR `key` = ?)',
          [pool, collection, key, key],
        ),
      ),
    }),
  };
}

const rows = async (query) => (await query)[0];
