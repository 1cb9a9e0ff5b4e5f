/** Logins: nonces and proofs that count once, logins with their refresh tokens, revocations, keys of programs and of the server. */
import type { MigrationInterface, QueryRunner } from 'typeorm';

const sqlite = [
  `CREATE TABLE login_nonce (
    digest varchar(43) PRIMARY KEY NOT NULL,
    expires_at bigint NOT NULL
  ) WITHOUT ROWID`,
  'CREATE INDEX login_nonce_expiry ON login_nonce (expires_at)',
  `CREATE TABLE used_proof (
    digest varchar(43) PRIMARY KEY NOT NULL,
    expires_at bigint NOT NULL
  ) WITHOUT ROWID`,
  'CREATE INDEX used_proof_expiry ON used_proof (expires_at)',
  `CREATE TABLE login (
    id varchar(36) PRIMARY KEY NOT NULL,
    subject varchar(255) NOT NULL,
    kid varchar(64) NOT NULL,
    thumbprint varchar(43),
    grants text,
    content_key text,
    authenticated_at bigint NOT NULL,
    expires_at bigint NOT NULL
  ) WITHOUT ROWID`,
  'CREATE INDEX login_expiry ON login (expires_at)',
  `CREATE TABLE refresh_token (
    digest varchar(43) PRIMARY KEY NOT NULL,
    login_id varchar(36) NOT NULL,
    used smallint NOT NULL,
    expires_at bigint NOT NULL
  ) WITHOUT ROWID`,
  'CREATE INDEX refresh_token_login ON refresh_token (login_id)',
  'CREATE INDEX refresh_token_expiry ON refresh_token (expires_at)',
  `CREATE TABLE revocation (
    id varchar(64) PRIMARY KEY NOT NULL,
    revoked_at bigint NOT NULL,
    expires_at bigint NOT NULL
  ) WITHOUT ROWID`,
  'CREATE INDEX revocation_time ON revocation (revoked_at)',
  'CREATE INDEX revocation_expiry ON revocation (expires_at)',
  `CREATE TABLE api_key (
    id varchar(36) PRIMARY KEY NOT NULL,
    digest varchar(43) NOT NULL,
    name varchar(128) NOT NULL,
    owner varchar(255) NOT NULL,
    subject varchar(255) NOT NULL,
    grants text,
    created_at bigint NOT NULL,
    expires_at bigint
  ) WITHOUT ROWID`,
  'CREATE UNIQUE INDEX api_key_digest ON api_key (digest)',
  'CREATE INDEX api_key_owner ON api_key (owner, id)',
  `CREATE TABLE signing_key (
    serial bigint PRIMARY KEY NOT NULL,
    kid varchar(43) NOT NULL,
    public_jwk text NOT NULL,
    private_jwk text NOT NULL,
    created_at bigint NOT NULL
  ) WITHOUT ROWID`,
];

const text = 'CHARACTER SET utf8mb4 COLLATE utf8mb4_bin';
const mysql = [
  `CREATE TABLE login_nonce (
    digest varchar(43) ${text} NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (digest),
    KEY login_nonce_expiry (expires_at)
  ) ENGINE=InnoDB`,
  `CREATE TABLE used_proof (
    digest varchar(43) ${text} NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (digest),
    KEY used_proof_expiry (expires_at)
  ) ENGINE=InnoDB`,
  `CREATE TABLE login (
    id varchar(36) ${text} NOT NULL,
    subject varchar(255) ${text} NOT NULL,
    kid varchar(64) ${text} NOT NULL,
    thumbprint varchar(43) ${text} NULL,
    grants text ${text} NULL,
    content_key text ${text} NULL,
    authenticated_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (id),
    KEY login_expiry (expires_at)
  ) ENGINE=InnoDB`,
  `CREATE TABLE refresh_token (
    digest varchar(43) ${text} NOT NULL,
    login_id varchar(36) ${text} NOT NULL,
    used smallint NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (digest),
    KEY refresh_token_login (login_id),
    KEY refresh_token_expiry (expires_at)
  ) ENGINE=InnoDB`,
  `CREATE TABLE revocation (
    id varchar(64) ${text} NOT NULL,
    revoked_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (id),
    KEY revocation_time (revoked_at),
    KEY revocation_expiry (expires_at)
  ) ENGINE=InnoDB`,
  `CREATE TABLE api_key (
    id varchar(36) ${text} NOT NULL,
    digest varchar(43) ${text} NOT NULL,
    name varchar(128) ${text} NOT NULL,
    owner varchar(255) ${text} NOT NULL,
    subject varchar(255) ${text} NOT NULL,
    grants text ${text} NULL,
    created_at bigint NOT NULL,
    expires_at bigint NULL,
    PRIMARY KEY (id),
    UNIQUE KEY api_key_digest (digest),
    KEY api_key_owner (owner, id)
  ) ENGINE=InnoDB`,
  `CREATE TABLE signing_key (
    serial bigint NOT NULL,
    kid varchar(43) ${text} NOT NULL,
    public_jwk text ${text} NOT NULL,
    private_jwk text ${text} NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (serial)
  ) ENGINE=InnoDB`,
];

const tables = ['signing_key', 'api_key', 'revocation', 'refresh_token', 'login', 'used_proof', 'login_nonce'];

export class Logins1763700000006 implements MigrationInterface {
  name = 'Logins1763700000006';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of runner.dataSource.options.type === 'better-sqlite3' ? sqlite : mysql)
      await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of tables) await runner.query(`DROP TABLE ${table}`);
  }
}
