/** The tables of logins as TypeORM entities; see rows.ts. Digests are of secrets that are kept nowhere. */
import { EntitySchema, type EntitySchemaColumnOptions } from 'typeorm';

type Column = EntitySchemaColumnOptions;

/** How columns are made; rows.ts has it for each database. */
interface Columns {
  readonly column: (type: string, more?: Partial<Column>) => Column;
  readonly name: (length: number, more?: Partial<Column>) => Column;
  readonly long: (type: 'text', more?: Partial<Column>) => Column;
  readonly number: Column;
  readonly small: Column;
}

export function loginEntities({ column, name, long, number, small }: Columns): EntitySchema[] {
  const primary = { primary: true };
  const nullable = { nullable: true };
  const digest = name(43, primary);
  const once = (table: string) =>
    new EntitySchema({
      name: table,
      withoutRowid: true,
      columns: { digest, expires_at: number },
      indices: [{ name: `${table}_expiry`, columns: ['expires_at'] }],
    });
  return [
    /** Given out and not used yet. */
    once('login_nonce'),
    /** Used, and not to be used again. */
    once('used_proof'),
    new EntitySchema({
      name: 'login',
      withoutRowid: true,
      columns: {
        id: name(36, primary),
        /** The account's URL. */
        subject: name(255),
        /** The account's key that signed. */
        kid: name(64),
        /** Of the key that its tokens are bound to. */
        thumbprint: name(43, nullable),
        /** JSON: what it was narrowed to when it began. */
        grants: long('text', nullable),
        /** What its requests and answers are encrypted under, as it is kept at rest. */
        content_key: long('text', nullable),
        authenticated_at: number,
        expires_at: number,
      },
      indices: [{ name: 'login_expiry', columns: ['expires_at'] }],
    }),
    new EntitySchema({
      name: 'refresh_token',
      withoutRowid: true,
      columns: {
        digest,
        login_id: name(36),
        /** 1 for one that was exchanged for the next: who sends it again has stolen it, or it was stolen from. */
        used: small,
        expires_at: number,
      },
      indices: [
        { name: 'refresh_token_login', columns: ['login_id'] },
        { name: 'refresh_token_expiry', columns: ['expires_at'] },
      ],
    }),
    new EntitySchema({
      name: 'revocation',
      withoutRowid: true,
      columns: {
        /** Of a login, a weaker token, a link of a delegation or a key. */
        id: name(64, primary),
        revoked_at: number,
        expires_at: number,
      },
      indices: [
        { name: 'revocation_time', columns: ['revoked_at'] },
        { name: 'revocation_expiry', columns: ['expires_at'] },
      ],
    }),
    new EntitySchema({
      name: 'api_key',
      withoutRowid: true,
      columns: {
        id: name(36, primary),
        digest: name(43),
        name: name(128),
        /** The subject that made it. */
        owner: name(255),
        /** The subject that it acts as. */
        subject: name(255),
        /** JSON: what it is narrowed to. */
        grants: long('text', nullable),
        created_at: number,
        expires_at: column('bigint', nullable),
      },
      indices: [
        { name: 'api_key_digest', unique: true, columns: ['digest'] },
        { name: 'api_key_owner', columns: ['owner', 'id'] },
      ],
    }),
    new EntitySchema({
      name: 'signing_key',
      withoutRowid: true,
      columns: {
        serial: { ...number, ...primary },
        kid: name(43),
        /** JSON. */
        public_jwk: long('text'),
        /** JSON, or what it was encrypted to. */
        private_jwk: long('text'),
        created_at: number,
      },
    }),
  ];
}
