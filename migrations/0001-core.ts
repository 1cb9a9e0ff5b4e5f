/**
 * The core tables: pools, collections, items, the change log and stored answers. Pool first in every key: it is the unit
 * of sharding. Column comments stand in src/store/rows.ts; a test compares the two.
 */
import type { MigrationInterface, QueryRunner } from 'typeorm';

// `"id"` is quoted because TypeORM, which reads the text of CREATE TABLE, finds the generated column by its quotes.
const sqlite = [
  `CREATE TABLE pool (
    "id" integer PRIMARY KEY AUTOINCREMENT NOT NULL,
    name varchar(128),
    epoch varchar(47) NOT NULL,
    revision bigint NOT NULL,
    oldest_revision bigint NOT NULL,
    description text
  )`,
  'CREATE UNIQUE INDEX pool_name ON pool (name)',
  `CREATE TABLE collection (
    "id" integer PRIMARY KEY AUTOINCREMENT NOT NULL,
    pool_id bigint NOT NULL,
    name varchar(128) NOT NULL,
    present smallint NOT NULL,
    items bigint NOT NULL,
    revision bigint NOT NULL
  )`,
  'CREATE UNIQUE INDEX collection_name ON collection (pool_id, name)',
  // Clustered by the key, as InnoDB does by itself: an item is found, and a range is read, in one tree.
  `CREATE TABLE item (
    pool_id bigint NOT NULL,
    collection_id bigint NOT NULL,
    item_key text NOT NULL,
    attributes text NOT NULL,
    revision bigint NOT NULL,
    created_revision bigint NOT NULL,
    PRIMARY KEY (pool_id, collection_id, item_key)
  ) WITHOUT ROWID`,
  `CREATE TABLE commit_log (
    pool_id bigint NOT NULL,
    revision bigint NOT NULL,
    ordinal integer NOT NULL,
    collection_id bigint NOT NULL,
    item_key text NOT NULL,
    op varchar(8) NOT NULL,
    changed text NOT NULL,
    before_values text NOT NULL,
    after_values text,
    created_revision bigint NOT NULL,
    former_revision bigint,
    former_created_revision bigint,
    subject varchar(255) NOT NULL,
    time bigint NOT NULL,
    PRIMARY KEY (pool_id, revision, ordinal)
  ) WITHOUT ROWID`,
  `CREATE TABLE stored_answer (
    pool varchar(128) NOT NULL,
    subject varchar(255) NOT NULL,
    idempotency_key varchar(255) NOT NULL,
    fingerprint varchar(64) NOT NULL,
    status smallint NOT NULL,
    headers text NOT NULL,
    body text NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (pool, subject, idempotency_key)
  )`,
  'CREATE INDEX stored_answer_expiry ON stored_answer (expires_at)',
];

const text = 'CHARACTER SET utf8mb4 COLLATE utf8mb4_bin';
const mysql = [
  `CREATE TABLE pool (
    id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name varchar(128) ${text} NULL,
    epoch varchar(47) ${text} NOT NULL,
    revision bigint NOT NULL,
    oldest_revision bigint NOT NULL,
    description text ${text} NULL,
    UNIQUE KEY pool_name (name)
  ) ENGINE=InnoDB`,
  `CREATE TABLE collection (
    id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    pool_id bigint NOT NULL,
    name varchar(128) ${text} NOT NULL,
    present smallint NOT NULL,
    items bigint NOT NULL,
    revision bigint NOT NULL,
    UNIQUE KEY collection_name (pool_id, name)
  ) ENGINE=InnoDB`,
  // Keys are bytes: they are ordered as bytes, and a trailing space counts.
  `CREATE TABLE item (
    pool_id bigint NOT NULL,
    collection_id bigint NOT NULL,
    item_key varbinary(255) NOT NULL,
    attributes mediumtext ${text} NOT NULL,
    revision bigint NOT NULL,
    created_revision bigint NOT NULL,
    PRIMARY KEY (pool_id, collection_id, item_key)
  ) ENGINE=InnoDB`,
  `CREATE TABLE commit_log (
    pool_id bigint NOT NULL,
    revision bigint NOT NULL,
    ordinal int NOT NULL,
    collection_id bigint NOT NULL,
    item_key varbinary(255) NOT NULL,
    op varchar(8) ${text} NOT NULL,
    changed mediumtext ${text} NOT NULL,
    before_values mediumtext ${text} NOT NULL,
    after_values mediumtext ${text} NULL,
    created_revision bigint NOT NULL,
    former_revision bigint NULL,
    former_created_revision bigint NULL,
    subject varchar(255) ${text} NOT NULL,
    time bigint NOT NULL,
    PRIMARY KEY (pool_id, revision, ordinal)
  ) ENGINE=InnoDB`,
  `CREATE TABLE stored_answer (
    pool varchar(128) ${text} NOT NULL,
    subject varchar(255) ${text} NOT NULL,
    idempotency_key varchar(255) ${text} NOT NULL,
    fingerprint varchar(64) ${text} NOT NULL,
    status smallint NOT NULL,
    headers text ${text} NOT NULL,
    body longtext ${text} NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (pool, subject, idempotency_key),
    KEY stored_answer_expiry (expires_at)
  ) ENGINE=InnoDB`,
];

const tables = ['stored_answer', 'commit_log', 'item', 'collection', 'pool'];

export class Core1763700000001 implements MigrationInterface {
  name = 'Core1763700000001';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of runner.dataSource.options.type === 'better-sqlite3' ? sqlite : mysql)
      await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of tables) await runner.query(`DROP TABLE ${table}`);
  }
}
