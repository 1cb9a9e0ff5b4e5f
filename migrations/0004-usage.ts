/** What subjects used of pools and what isn't in the items of `_usage` yet. */
import type { MigrationInterface, QueryRunner } from 'typeorm';

const sqlite = [
  `CREATE TABLE pool_usage (
    pool_id bigint NOT NULL,
    day varchar(10) NOT NULL,
    subject varchar(255) NOT NULL,
    requests bigint NOT NULL,
    writes bigint NOT NULL,
    bytes_in bigint NOT NULL,
    bytes_out bigint NOT NULL,
    stream_ms bigint NOT NULL,
    noted_at bigint NOT NULL,
    PRIMARY KEY (pool_id, day, subject)
  ) WITHOUT ROWID`,
  'CREATE INDEX pool_usage_noted ON pool_usage (noted_at)',
];

const text = 'CHARACTER SET utf8mb4 COLLATE utf8mb4_bin';
const mysql = [
  `CREATE TABLE pool_usage (
    pool_id bigint NOT NULL,
    day varchar(10) ${text} NOT NULL,
    subject varchar(255) ${text} NOT NULL,
    requests bigint NOT NULL,
    writes bigint NOT NULL,
    bytes_in bigint NOT NULL,
    bytes_out bigint NOT NULL,
    stream_ms bigint NOT NULL,
    noted_at bigint NOT NULL,
    PRIMARY KEY (pool_id, day, subject),
    KEY pool_usage_noted (noted_at)
  ) ENGINE=InnoDB`,
];

export class Usage1763700000004 implements MigrationInterface {
  name = 'Usage1763700000004';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of runner.dataSource.options.type === 'better-sqlite3' ? sqlite : mysql)
      await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE pool_usage');
  }
}
