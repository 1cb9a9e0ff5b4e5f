/** Writes that were accepted and are done later: what they are, who asked, and what they came to. */
import type { MigrationInterface, QueryRunner } from 'typeorm';

// `"serial"` is quoted for TypeORM, as in 0001.
const sqlite = [
  `CREATE TABLE operation (
    "serial" integer PRIMARY KEY AUTOINCREMENT NOT NULL,
    id varchar(36) NOT NULL,
    pool varchar(128) NOT NULL,
    epoch varchar(47),
    caller varchar(43) NOT NULL,
    session varchar(128),
    idempotency_key varchar(255),
    fingerprint varchar(64),
    call_name varchar(64) NOT NULL,
    subject text NOT NULL,
    request text NOT NULL,
    body blob,
    bytes bigint NOT NULL,
    attempts smallint NOT NULL DEFAULT 0,
    accepted_at bigint NOT NULL,
    started_at bigint,
    done_at bigint,
    expires_at bigint NOT NULL,
    answer_status smallint,
    answer_headers text,
    answer_body text
  )`,
  'CREATE UNIQUE INDEX operation_id ON operation (id)',
  'CREATE UNIQUE INDEX operation_key ON operation (pool, caller, idempotency_key)',
  'CREATE INDEX operation_open ON operation (done_at, pool, caller)',
  'CREATE INDEX operation_pool ON operation (pool, id)',
  'CREATE INDEX operation_caller ON operation (pool, caller, id)',
];

const text = 'CHARACTER SET utf8mb4 COLLATE utf8mb4_bin';
const mysql = [
  `CREATE TABLE operation (
    serial bigint NOT NULL AUTO_INCREMENT,
    id varchar(36) ${text} NOT NULL,
    pool varchar(128) ${text} NOT NULL,
    epoch varchar(47) ${text} NULL,
    caller varchar(43) ${text} NOT NULL,
    session varchar(128) ${text} NULL,
    idempotency_key varchar(255) ${text} NULL,
    fingerprint varchar(64) ${text} NULL,
    call_name varchar(64) ${text} NOT NULL,
    subject mediumtext ${text} NOT NULL,
    request mediumtext ${text} NOT NULL,
    body longblob NULL,
    bytes bigint NOT NULL,
    attempts smallint NOT NULL DEFAULT 0,
    accepted_at bigint NOT NULL,
    started_at bigint NULL,
    done_at bigint NULL,
    expires_at bigint NOT NULL,
    answer_status smallint NULL,
    answer_headers text ${text} NULL,
    answer_body longtext ${text} NULL,
    PRIMARY KEY (serial),
    UNIQUE KEY operation_id (id),
    UNIQUE KEY operation_key (pool, caller, idempotency_key),
    KEY operation_open (done_at, pool, caller),
    KEY operation_pool (pool, id),
    KEY operation_caller (pool, caller, id)
  ) ENGINE=InnoDB`,
];

export class Operations1763700000009 implements MigrationInterface {
  name = 'Operations1763700000009';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of runner.dataSource.options.type === 'better-sqlite3' ? sqlite : mysql)
      await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE operation');
  }
}
