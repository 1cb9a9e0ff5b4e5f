/** Sessions: their leases and what is remembered for their clients, and the answers of their numbered batches. */
import type { MigrationInterface, QueryRunner } from 'typeorm';

const sqlite = [
  `CREATE TABLE session (
    pool_id bigint NOT NULL,
    id varchar(128) NOT NULL,
    name varchar(128) NOT NULL,
    epoch bigint NOT NULL,
    subject varchar(255) NOT NULL,
    ttl_ms bigint NOT NULL,
    expires_at bigint NOT NULL,
    wake_at bigint,
    ended smallint NOT NULL,
    last_sequence bigint NOT NULL,
    memento text,
    PRIMARY KEY (pool_id, id)
  ) WITHOUT ROWID`,
  'CREATE UNIQUE INDEX session_name ON session (pool_id, name)',
  'CREATE INDEX session_expiry ON session (expires_at)',
  'CREATE INDEX session_wake ON session (wake_at)',
  `CREATE TABLE session_answer (
    pool_id bigint NOT NULL,
    session_id varchar(128) NOT NULL,
    sequence bigint NOT NULL,
    status smallint NOT NULL,
    headers text NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (pool_id, session_id, sequence)
  )`,
];

const text = 'CHARACTER SET utf8mb4 COLLATE utf8mb4_bin';
const mysql = [
  `CREATE TABLE session (
    pool_id bigint NOT NULL,
    id varchar(128) ${text} NOT NULL,
    name varchar(128) ${text} NOT NULL,
    epoch bigint NOT NULL,
    subject varchar(255) ${text} NOT NULL,
    ttl_ms bigint NOT NULL,
    expires_at bigint NOT NULL,
    wake_at bigint NULL,
    ended smallint NOT NULL,
    last_sequence bigint NOT NULL,
    memento mediumtext ${text} NULL,
    PRIMARY KEY (pool_id, id),
    UNIQUE KEY session_name (pool_id, name),
    KEY session_expiry (expires_at),
    KEY session_wake (wake_at)
  ) ENGINE=InnoDB`,
  `CREATE TABLE session_answer (
    pool_id bigint NOT NULL,
    session_id varchar(128) ${text} NOT NULL,
    sequence bigint NOT NULL,
    status smallint NOT NULL,
    headers text ${text} NOT NULL,
    body longtext ${text} NOT NULL,
    PRIMARY KEY (pool_id, session_id, sequence)
  ) ENGINE=InnoDB`,
];

export class Sessions1763700000003 implements MigrationInterface {
  name = 'Sessions1763700000003';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of runner.dataSource.options.type === 'better-sqlite3' ? sqlite : mysql)
      await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of ['session_answer', 'session']) await runner.query(`DROP TABLE ${table}`);
  }
}
