/**
 * The `LoginStore` port: what counts once, logins, revocations and keys. What it promises is written in
 * engine/access/login-store.ts. A row that counts once is inserted or deleted by one statement, whose count of rows says who won.
 */
import type { LoginStore, Revoked, StoredApiKey, StoredLogin, StoredSigningKey } from '../engine/access/login-store.js';
import { writeAttempted } from './attempts.js';
import type { Database, Row, Session } from './dialect.js';
import { clockOf } from './reads.js';

const LOGIN = 'l.id, l.subject, l.kid, l.thumbprint, l.grants, l.content_key, l.authenticated_at';
const API_KEY_COLUMNS = ['id', 'digest', 'name', 'owner', 'subject', 'grants', 'created_at', 'expires_at'];
const API_KEY = API_KEY_COLUMNS.join(', ');
const SIGNING_KEY_COLUMNS = ['serial', 'kid', 'public_jwk', 'private_jwk', 'created_at'];

/** What is swept: each table with its key. */
const EXPIRING = [
  ['login_nonce', 'digest'],
  ['used_proof', 'digest'],
  ['refresh_token', 'digest'],
  ['login', 'id'],
  ['revocation', 'id'],
  ['api_key', 'id'],
] as const;

export class SqlLogins implements LoginStore {
  readonly exclusive: boolean;

  constructor(private readonly database: Database) {
    this.exclusive = database.exclusive;
  }

  now(): Promise<number> {
    return this.database.read(clockOf);
  }

  async addNonce(digest: string, lifeMs: number): Promise<void> {
    await this.#write((session) =>
      session.run(`INSERT INTO login_nonce (digest, expires_at) VALUES (?, ${session.clock} + ?)`, [digest, lifeMs]),
    );
  }

  takeNonce(digest: string): Promise<boolean> {
    return this.#write(async (session) => {
      const sql = `DELETE FROM login_nonce WHERE digest = ? AND expires_at > ${session.clock}`;
      return (await session.run(sql, [digest])) === 1;
    });
  }

  useProofs(digests: readonly string[], lifeMs: number): Promise<boolean[]> {
    return this.#write(async (session) => {
      const expiresAt = (await clockOf(session)) + lifeMs;
      const isNew = new Map<string, boolean>();
      // In one order everywhere, so that two nodes don't wait for each other.
      for (const digest of [...new Set(digests)].sort())
        isNew.set(digest, await session.insertOnce('used_proof', ['digest', 'expires_at'], [digest, expiresAt]));
      return digests.map((digest) => {
        const first = isNew.get(digest) as boolean;
        isNew.set(digest, false);
        return first;
      });
    });
  }

  beginLogin(login: Omit<StoredLogin, 'authenticatedAt'>, refreshDigest: string, lifeMs: number): Promise<StoredLogin> {
    return this.#write(async (session) => {
      const now = await clockOf(session);
      const { id, subject, kid, thumbprint, grants, contentKey } = login;
      await session.insert(
        'login',
        ['id', 'subject', 'kid', 'thumbprint', 'grants', 'content_key', 'authenticated_at', 'expires_at'],
        [[id, subject, kid, thumbprint ?? null, grants ?? null, contentKey ?? null, now, now + lifeMs]],
      );
      await addRefreshToken(session, refreshDigest, id, now + lifeMs);
      return { ...login, authenticatedAt: now };
    });
  }

  contentKeyOf(login: string): Promise<string | undefined> {
    return this.database.read(async (session) => {
      const [row] = await session.all('SELECT content_key FROM login WHERE id = ?', [login]);
      return (row?.content_key as string | null | undefined) ?? undefined;
    });
  }

  loginOf(refreshDigest: string): Promise<StoredLogin | undefined> {
    return this.database.read(async (session) => {
      const sql = `SELECT ${LOGIN} FROM refresh_token t JOIN login l ON l.id = t.login_id WHERE t.digest = ? AND t.expires_at > ${session.clock}`;
      const [row] = await session.all(sql, [refreshDigest]);
      return row && toLogin(row);
    });
  }

  rotate(
    refreshDigest: string,
    next: string,
    lifeMs: number,
    revocationMs: number,
  ): Promise<'rotated' | 'reused' | 'over'> {
    return this.#write(async (session) => {
      const select = 'SELECT login_id, used, expires_at FROM refresh_token';
      const [row] = await session.lookup(select, ['digest'], [[refreshDigest]], session.forUpdate);
      const now = await clockOf(session);
      if (!row || (row.expires_at as number) <= now) return 'over';
      const id = row.login_id as string;
      if (Number(row.used) === 1) {
        await revokeAll(session, [id], now, revocationMs);
        return 'reused';
      }
      await session.run('UPDATE refresh_token SET used = 1 WHERE digest = ?', [refreshDigest]);
      await session.run('UPDATE login SET expires_at = ? WHERE id = ?', [now + lifeMs, id]);
      await addRefreshToken(session, next, id, now + lifeMs);
      return 'rotated';
    });
  }

  loginsOf(subject: string, limit: number): Promise<string[]> {
    return this.database.read(async (session) => {
      // No index serves it: accounts end seldom.
      const rows = await session.all('SELECT id FROM login WHERE subject = ? LIMIT ?', [subject, limit]);
      return rows.map((row) => row.id as string);
    });
  }

  async revoke(ids: readonly string[], keepMs: number): Promise<void> {
    await this.#write(async (session) => revokeAll(session, ids, await clockOf(session), keepMs));
  }

  revokedSince(time: number): Promise<{ revoked: Revoked[]; now: number }> {
    return this.database.read(async (session) => {
      const now = await clockOf(session);
      const sql = 'SELECT id, revoked_at FROM revocation WHERE revoked_at >= ? ORDER BY revoked_at';
      const rows = await session.all(sql, [time]);
      return { revoked: rows.map((row) => ({ id: row.id as string, revokedAt: row.revoked_at as number })), now };
    });
  }

  anyRevoked(ids: readonly string[]): Promise<boolean> {
    return this.database.read(async (session) => {
      const tuples = ids.map((id) => [id]);
      return (await session.lookup('SELECT id FROM revocation', ['id'], tuples)).length > 0;
    });
  }

  addApiKey(key: Omit<StoredApiKey, 'createdAt' | 'expiresAt'>, lifeMs: number | undefined): Promise<boolean> {
    return this.#write(async (session) => {
      const now = await clockOf(session);
      const { id, digest, name, owner, subject, grants } = key;
      const expiresAt = lifeMs === undefined ? null : now + lifeMs;
      const row = [id, digest, name, owner, subject, grants ?? null, now, expiresAt];
      return session.insertOnce('api_key', API_KEY_COLUMNS, row);
    });
  }

  apiKey(digest: string): Promise<{ key: StoredApiKey; now: number } | undefined> {
    return this.#apiKey('digest', digest);
  }

  async apiKeyById(id: string, owner: string | undefined): Promise<{ key: StoredApiKey; now: number } | undefined> {
    const found = await this.#apiKey('id', id);
    return owner === undefined || found?.key.owner === owner ? found : undefined;
  }

  apiKeys(owner: string | undefined, after: string, limit: number): Promise<{ keys: StoredApiKey[]; now: number }> {
    return this.database.read(async (session) => {
      const now = await clockOf(session);
      const ofOwner = owner === undefined ? '' : 'owner = ? AND ';
      const sql = `SELECT ${API_KEY} FROM api_key WHERE ${ofOwner}id > ? AND (expires_at IS NULL OR expires_at > ?) ORDER BY id LIMIT ?`;
      const rows = await session.all(sql, [...(owner === undefined ? [] : [owner]), after, now, limit]);
      return { keys: rows.map(toApiKey), now };
    });
  }

  countApiKeys(owner?: string): Promise<number> {
    return this.database.read(async (session) => {
      const ofOwner = owner === undefined ? '' : ' WHERE owner = ?';
      const rows = await session.all(`SELECT COUNT(*) AS n FROM api_key${ofOwner}`, owner === undefined ? [] : [owner]);
      return Number(rows[0]?.n);
    });
  }

  apiKeysOf(subject: string, limit: number): Promise<StoredApiKey[]> {
    return this.database.read(async (session) => {
      const sql = `SELECT ${API_KEY} FROM api_key WHERE owner = ? OR subject = ? LIMIT ?`;
      return (await session.all(sql, [subject, subject, limit])).map(toApiKey);
    });
  }

  deleteApiKey(id: string, revocation: string, keepMs: number): Promise<boolean> {
    return this.#write(async (session) => {
      if ((await session.run('DELETE FROM api_key WHERE id = ?', [id])) === 0) return false;
      await revokeAll(session, [revocation], await clockOf(session), keepMs);
      return true;
    });
  }

  signingKeys(): Promise<StoredSigningKey[]> {
    return this.database.read(async (session) => {
      const rows = await session.all(`SELECT ${SIGNING_KEY_COLUMNS.join(', ')} FROM signing_key ORDER BY serial`, []);
      return rows.map((row) => ({
        serial: row.serial as number,
        kid: row.kid as string,
        publicJwk: row.public_jwk as string,
        privateJwk: row.private_jwk as string,
        createdAt: row.created_at as number,
      }));
    });
  }

  addSigningKey({ serial, kid, publicJwk, privateJwk }: Omit<StoredSigningKey, 'createdAt'>): Promise<boolean> {
    return this.#write(async (session) => {
      const row = [serial, kid, publicJwk, privateJwk, await clockOf(session)];
      return session.insertOnce('signing_key', SIGNING_KEY_COLUMNS, row);
    });
  }

  async deleteSigningKeys(followedMs: number): Promise<void> {
    await this.#write(async (session) => {
      const before = (await clockOf(session)) - followedMs;
      const [next] = await session.all('SELECT MAX(serial) AS serial FROM signing_key WHERE created_at < ?', [before]);
      if (typeof next?.serial === 'number')
        await session.run('DELETE FROM signing_key WHERE serial < ?', [next.serial]);
    });
  }

  async sweepLogins(limit: number): Promise<number> {
    let swept = 0;
    for (const [table, key] of EXPIRING) {
      swept += await this.#write(async (session) => {
        const sql = `SELECT ${key} FROM ${table} WHERE expires_at < ? ORDER BY expires_at LIMIT ?`;
        const rows = await session.all(sql, [await clockOf(session), limit - swept]);
        await session.deleteEach(
          table,
          [key],
          rows.map((row) => [row[key] as string]),
        );
        return rows.length;
      });
      if (swept >= limit) break;
    }
    return swept;
  }

  #apiKey(column: 'digest' | 'id', value: string): Promise<{ key: StoredApiKey; now: number } | undefined> {
    return this.database.read(async (session) => {
      const sql = `SELECT ${API_KEY}, ${session.clock} AS now FROM api_key WHERE ${column} = ? AND (expires_at IS NULL OR expires_at > ${session.clock})`;
      const [row] = await session.all(sql, [value]);
      return row && { key: toApiKey(row), now: row.now as number };
    });
  }

  #write<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return writeAttempted(this.database, work);
  }
}

async function addRefreshToken(session: Session, digest: string, login: string, expiresAt: number): Promise<void> {
  await session.insert('refresh_token', ['digest', 'login_id', 'used', 'expires_at'], [[digest, login, 0, expiresAt]]);
}

/** The logins go with their refresh tokens; what was made under them is refused from now on. */
async function revokeAll(session: Session, ids: readonly string[], now: number, keepMs: number): Promise<void> {
  await session.insertNew(
    'revocation',
    ['id', 'revoked_at', 'expires_at'],
    [...ids].sort().map((id) => [id, now, now + keepMs]),
  );
  for (const id of ids) {
    await session.run('DELETE FROM refresh_token WHERE login_id = ?', [id]);
    await session.run('DELETE FROM login WHERE id = ?', [id]);
  }
}

function toLogin(row: Row): StoredLogin {
  return {
    id: row.id as string,
    subject: row.subject as string,
    kid: row.kid as string,
    thumbprint: (row.thumbprint as string | null) ?? undefined,
    grants: (row.grants as string | null) ?? undefined,
    contentKey: (row.content_key as string | null) ?? undefined,
    authenticatedAt: row.authenticated_at as number,
  };
}

function toApiKey(row: Row): StoredApiKey {
  return {
    id: row.id as string,
    digest: row.digest as string,
    name: row.name as string,
    owner: row.owner as string,
    subject: row.subject as string,
    grants: (row.grants as string | null) ?? undefined,
    createdAt: row.created_at as number,
    expiresAt: (row.expires_at as number | null) ?? undefined,
  };
}
