/** Accounts: their public keys, hosted or pinned, envelopes, proofs that were used, and wrong unlocks. */
import type { MigrationInterface, QueryRunner } from 'typeorm';

const sqlite = [
  `CREATE TABLE identity_account (
    hosted smallint NOT NULL,
    account varchar(255) NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (hosted, account)
  ) WITHOUT ROWID`,
  `CREATE TABLE identity_key (
    hosted smallint NOT NULL,
    account varchar(255) NOT NULL,
    kid varchar(43) NOT NULL,
    jwk text NOT NULL,
    source varchar(16) NOT NULL,
    added_at bigint NOT NULL,
    PRIMARY KEY (hosted, account, kid)
  ) WITHOUT ROWID`,
  `CREATE TABLE identity_envelope (
    account varchar(128) NOT NULL,
    envelope text NOT NULL,
    verifiers text NOT NULL,
    sealed_at bigint NOT NULL,
    PRIMARY KEY (account)
  ) WITHOUT ROWID`,
  `CREATE TABLE identity_proof (
    account varchar(128) NOT NULL,
    proof varchar(128) NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (account, proof)
  ) WITHOUT ROWID`,
  `CREATE TABLE identity_unlock (
    bucket bigint NOT NULL,
    failures bigint NOT NULL,
    failed_at bigint NOT NULL,
    PRIMARY KEY (bucket)
  ) WITHOUT ROWID`,
  `CREATE TABLE identity_secret (
    name varchar(32) NOT NULL,
    secret varchar(64) NOT NULL,
    PRIMARY KEY (name)
  ) WITHOUT ROWID`,
];

const text = 'CHARACTER SET utf8mb4 COLLATE utf8mb4_bin';
const mysql = [
  `CREATE TABLE identity_account (
    hosted smallint NOT NULL,
    account varchar(255) ${text} NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (hosted, account)
  ) ENGINE=InnoDB`,
  `CREATE TABLE identity_key (
    hosted smallint NOT NULL,
    account varchar(255) ${text} NOT NULL,
    kid varchar(43) ${text} NOT NULL,
    jwk text ${text} NOT NULL,
    source varchar(16) ${text} NOT NULL,
    added_at bigint NOT NULL,
    PRIMARY KEY (hosted, account, kid)
  ) ENGINE=InnoDB`,
  `CREATE TABLE identity_envelope (
    account varchar(128) ${text} NOT NULL,
    envelope text ${text} NOT NULL,
    verifiers text ${text} NOT NULL,
    sealed_at bigint NOT NULL,
    PRIMARY KEY (account)
  ) ENGINE=InnoDB`,
  `CREATE TABLE identity_proof (
    account varchar(128) ${text} NOT NULL,
    proof varchar(128) ${text} NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (account, proof)
  ) ENGINE=InnoDB`,
  `CREATE TABLE identity_unlock (
    bucket bigint NOT NULL,
    failures bigint NOT NULL,
    failed_at bigint NOT NULL,
    PRIMARY KEY (bucket)
  ) ENGINE=InnoDB`,
  `CREATE TABLE identity_secret (
    name varchar(32) ${text} NOT NULL,
    secret varchar(64) ${text} NOT NULL,
    PRIMARY KEY (name)
  ) ENGINE=InnoDB`,
];

const TABLES = ['secret', 'unlock', 'proof', 'envelope', 'key', 'account'];

export class Identities1763700000005 implements MigrationInterface {
  name = 'Identities1763700000005';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of runner.dataSource.options.type === 'better-sqlite3' ? sqlite : mysql)
      await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of TABLES) await runner.query(`DROP TABLE identity_${table}`);
  }
}
