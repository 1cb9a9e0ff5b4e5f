/** Notifiers: how far each has told its pool and how it fares, and its last deliveries. */
import type { MigrationInterface, QueryRunner } from 'typeorm';

const sqlite = [
  `CREATE TABLE notifier (
    pool_id bigint NOT NULL,
    name varchar(128) NOT NULL,
    generation bigint NOT NULL,
    definition text NOT NULL,
    owner text NOT NULL,
    owner_id varchar(255) NOT NULL,
    owner_name varchar(255) NOT NULL,
    secrets text,
    epoch varchar(47) NOT NULL,
    told bigint NOT NULL,
    status varchar(8) NOT NULL,
    reason text,
    failures bigint NOT NULL,
    next_attempt_at bigint,
    serial bigint NOT NULL,
    rewinds bigint NOT NULL,
    fence bigint NOT NULL,
    lease_holder varchar(43),
    lease_until bigint NOT NULL,
    PRIMARY KEY (pool_id, name)
  ) WITHOUT ROWID`,
  `CREATE TABLE notifier_delivery (
    pool_id bigint NOT NULL,
    notifier varchar(128) NOT NULL,
    serial bigint NOT NULL,
    event varchar(255) NOT NULL,
    kind varchar(32) NOT NULL,
    revision bigint NOT NULL,
    status varchar(9) NOT NULL,
    attempts bigint NOT NULL,
    last_status smallint,
    last_error text,
    body text,
    body_bytes bigint NOT NULL,
    created_at bigint NOT NULL,
    changed_at bigint NOT NULL,
    PRIMARY KEY (pool_id, notifier, serial)
  )`,
  'CREATE INDEX notifier_delivery_status ON notifier_delivery (pool_id, notifier, status, serial)',
  'CREATE INDEX notifier_delivery_age ON notifier_delivery (changed_at)',
];

const text = 'CHARACTER SET utf8mb4 COLLATE utf8mb4_bin';
const mysql = [
  `CREATE TABLE notifier (
    pool_id bigint NOT NULL,
    name varchar(128) ${text} NOT NULL,
    generation bigint NOT NULL,
    definition mediumtext ${text} NOT NULL,
    owner mediumtext ${text} NOT NULL,
    owner_id varchar(255) ${text} NOT NULL,
    owner_name varchar(255) ${text} NOT NULL,
    secrets text ${text} NULL,
    epoch varchar(47) ${text} NOT NULL,
    told bigint NOT NULL,
    status varchar(8) ${text} NOT NULL,
    reason text ${text} NULL,
    failures bigint NOT NULL,
    next_attempt_at bigint NULL,
    serial bigint NOT NULL,
    rewinds bigint NOT NULL,
    fence bigint NOT NULL,
    lease_holder varchar(43) ${text} NULL,
    lease_until bigint NOT NULL,
    PRIMARY KEY (pool_id, name)
  ) ENGINE=InnoDB`,
  `CREATE TABLE notifier_delivery (
    pool_id bigint NOT NULL,
    notifier varchar(128) ${text} NOT NULL,
    serial bigint NOT NULL,
    event varchar(255) ${text} NOT NULL,
    kind varchar(32) ${text} NOT NULL,
    revision bigint NOT NULL,
    status varchar(9) ${text} NOT NULL,
    attempts bigint NOT NULL,
    last_status smallint NULL,
    last_error text ${text} NULL,
    body mediumtext ${text} NULL,
    body_bytes bigint NOT NULL,
    created_at bigint NOT NULL,
    changed_at bigint NOT NULL,
    PRIMARY KEY (pool_id, notifier, serial),
    KEY notifier_delivery_status (pool_id, notifier, status, serial),
    KEY notifier_delivery_age (changed_at)
  ) ENGINE=InnoDB`,
];

export class Notifiers1763700000010 implements MigrationInterface {
  name = 'Notifiers1763700000010';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of runner.dataSource.options.type === 'better-sqlite3' ? sqlite : mysql)
      await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of ['notifier_delivery', 'notifier']) await runner.query(`DROP TABLE ${table}`);
  }
}
