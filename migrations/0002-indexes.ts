/** Indexes that the data dictionary declares: what there are, and their entries; when an item was changed, and why it went that nobody deleted. */
import type { MigrationInterface, QueryRunner } from 'typeorm';

const sqlite = [
  'ALTER TABLE pool ADD COLUMN index_version bigint NOT NULL DEFAULT 0',
  'ALTER TABLE item ADD COLUMN changed_at bigint NOT NULL DEFAULT 0',
  // When they were changed isn't known; none may end for that.
  "UPDATE item SET changed_at = CAST(unixepoch('subsec') * 1000 AS INTEGER)",
  'ALTER TABLE commit_log ADD COLUMN reason varchar(8)',
  `CREATE TABLE collection_index (
    "id" integer PRIMARY KEY AUTOINCREMENT NOT NULL,
    pool_id bigint NOT NULL,
    collection_id bigint NOT NULL,
    name varchar(255) NOT NULL,
    definition text NOT NULL,
    state varchar(8) NOT NULL,
    built_to text,
    built_items bigint NOT NULL
  )`,
  'CREATE INDEX collection_index_pool ON collection_index (pool_id)',
  'CREATE INDEX collection_index_state ON collection_index (state)',
  `CREATE TABLE item_index (
    pool_id bigint NOT NULL,
    index_id bigint NOT NULL,
    sort_key blob NOT NULL,
    item_key text NOT NULL,
    PRIMARY KEY (pool_id, index_id, sort_key, item_key)
  ) WITHOUT ROWID`,
];

const text = 'CHARACTER SET utf8mb4 COLLATE utf8mb4_bin';
const mysql = [
  'ALTER TABLE pool ADD COLUMN index_version bigint NOT NULL DEFAULT 0',
  'ALTER TABLE item ADD COLUMN changed_at bigint NOT NULL DEFAULT 0',
  // When they were changed isn't known; none may end for that.
  'UPDATE item SET changed_at = CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)',
  `ALTER TABLE commit_log ADD COLUMN reason varchar(8) ${text} NULL`,
  `CREATE TABLE collection_index (
    id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    pool_id bigint NOT NULL,
    collection_id bigint NOT NULL,
    name varchar(255) ${text} NOT NULL,
    definition text ${text} NOT NULL,
    state varchar(8) ${text} NOT NULL,
    built_to varbinary(255) NULL,
    built_items bigint NOT NULL,
    KEY collection_index_pool (pool_id),
    KEY collection_index_state (state)
  ) ENGINE=InnoDB`,
  // Eight parts of 256 bytes: with the other columns still below the 3,072 bytes that an index key of InnoDB may have.
  `CREATE TABLE item_index (
    pool_id bigint NOT NULL,
    index_id bigint NOT NULL,
    sort_key varbinary(2048) NOT NULL,
    item_key varbinary(255) NOT NULL,
    PRIMARY KEY (pool_id, index_id, sort_key, item_key)
  ) ENGINE=InnoDB`,
];

const undo = [
  'DROP TABLE item_index',
  'DROP TABLE collection_index',
  'ALTER TABLE commit_log DROP COLUMN reason',
  'ALTER TABLE item DROP COLUMN changed_at',
  'ALTER TABLE pool DROP COLUMN index_version',
];

export class Indexes1763700000002 implements MigrationInterface {
  name = 'Indexes1763700000002';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of runner.dataSource.options.type === 'better-sqlite3' ? sqlite : mysql)
      await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const statement of undo) await runner.query(statement);
  }
}
