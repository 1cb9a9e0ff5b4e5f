/**
 * The rows of accounts: public keys, envelopes, proofs that were used, wrong unlocks. Whoever alters an account locks its row,
 * which is made for that where there is none, so that two nodes that meet an account for the first time take turns as well.
 */
import { randomBytes } from 'node:crypto';
import type {
  AccountRef,
  IdentityStore,
  IdentityTransaction,
  KeySourceName,
  PinPlace,
  StoredEnvelope,
  StoredKey,
  StoredPin,
  UnlockCount,
} from '../engine/access/identity-store.js';
import type { AccountKey } from '../engine/access/keys.js';
import { parsePublicKey } from '../engine/access/public-key.js';
import { writeAttempted } from './attempts.js';
import type { Database, Row, Session, Value } from './dialect.js';
import { clockOf } from './reads.js';

const KEY = 'kid, jwk, source, added_at';
const SECRET = 'decoys';

export class SqlIdentityStore implements IdentityStore {
  constructor(private readonly database: Database) {}

  keys(account: AccountRef): Promise<StoredKey[]> {
    return this.database.read((session) => readKeys(session, account));
  }

  countAccounts(): Promise<number> {
    return this.database.read(async (session) =>
      Number((await session.all('SELECT COUNT(*) AS n FROM identity_account', []))[0]?.n),
    );
  }

  envelope(name: string): Promise<StoredEnvelope | undefined> {
    return this.database.read(async (session) => {
      const sql = 'SELECT envelope, verifiers, sealed_at FROM identity_envelope WHERE account = ?';
      const [row] = await session.all(sql, [name]);
      return (
        row && {
          text: row.envelope as string,
          verifiers: JSON.parse(row.verifiers as string),
          sealedAt: row.sealed_at as number,
        }
      );
    });
  }

  pins({ after, limit, account }: { after: PinPlace | undefined; limit: number; account?: string | undefined }) {
    const terms = ['hosted = 0'];
    const parameters: Value[] = [];
    if (account !== undefined) {
      terms.push('account = ?');
      parameters.push(account);
    }
    if (after) {
      terms.push('(account > ? OR (account = ? AND kid > ?))');
      parameters.push(after.account, after.account, after.kid);
    }
    const sql = `SELECT account, ${KEY} FROM identity_key WHERE ${terms.join(' AND ')} ORDER BY account, kid LIMIT ?`;
    return this.database.read(async (session) => {
      const rows = await session.all(sql, [...parameters, limit]);
      return rows.map((row): StoredPin => ({ account: row.account as string, ...toKey(row) }));
    });
  }

  transact<T>(account: AccountRef, work: (tx: IdentityTransaction) => Promise<T>): Promise<T> {
    return this.#write(async (session) => {
      const ref = refOf(account);
      const columns = ['hosted', 'account', 'created_at'];
      await session.insertNew('identity_account', columns, [[...ref, await clockOf(session)]]);
      const lock = `SELECT account FROM identity_account WHERE hosted = ? AND account = ?${session.forUpdate}`;
      await session.all(lock, ref);
      // Whoever alters one key has decided by all of them.
      await session.claim('identity_account', 'created_at', 'hosted = ? AND account = ?', ref);
      // The clock once it is our turn: by an older one, a proof that others forgot meanwhile would still be good.
      const now = await clockOf(session);
      const result = await work(new SqlIdentityTransaction(session, account, now, await readKeys(session, account)));
      if ((await readKeys(session, account)).length === 0) await removeAccount(session, account);
      return result;
    });
  }

  count<T>(bucket: number, work: (count: UnlockCount, now: number) => { result: T; count: UnlockCount }): Promise<T> {
    return this.#write(async (session) => {
      const now = await clockOf(session);
      await session.insertNew('identity_unlock', ['bucket', 'failures', 'failed_at'], [[bucket, 0, now]]);
      const select = `SELECT failures, failed_at FROM identity_unlock WHERE bucket = ?${session.forUpdate}`;
      const [row] = await session.all(select, [bucket]);
      const before = { failures: row?.failures as number, failedAt: row?.failed_at as number };
      // Whoever waited for the row comes after the one who had it.
      const { result, count } = work(before, Math.max(now, await clockOf(session)));
      const update = 'UPDATE identity_unlock SET failures = ?, failed_at = ? WHERE bucket = ?';
      if (count.failures === 0) await session.write('DELETE FROM identity_unlock WHERE bucket = ?', [bucket]);
      else await session.write(update, [count.failures, count.failedAt, bucket]);
      return result;
    });
  }

  secret(): Promise<Buffer> {
    return this.#write(async (session) => {
      const fresh = randomBytes(32).toString('base64url');
      // Of several nodes that make one, the first one's stays.
      await session.insertNew('identity_secret', ['name', 'secret'], [[SECRET, fresh]]);
      const [row] = await session.all('SELECT secret FROM identity_secret WHERE name = ?', [SECRET]);
      return Buffer.from(row?.secret as string, 'base64url');
    });
  }

  #write<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return writeAttempted(this.database, work);
  }
}

class SqlIdentityTransaction implements IdentityTransaction {
  constructor(
    private readonly session: Session,
    private readonly ref: AccountRef,
    readonly now: number,
    readonly keys: readonly StoredKey[],
  ) {}

  addKey({ kid, jwk }: AccountKey, source: KeySourceName): Promise<void> {
    const columns = ['hosted', 'account', 'kid', 'jwk', 'source', 'added_at'];
    const row = [...refOf(this.ref), kid, JSON.stringify(jwk), source, this.now];
    return this.session.insertNew('identity_key', columns, [row]);
  }

  deleteKey(kid: string): Promise<void> {
    return this.session.deleteEach('identity_key', ['hosted', 'account', 'kid'], [[...refOf(this.ref), kid]]);
  }

  async useProof(id: string, expiresAt: number): Promise<boolean> {
    const { account } = this.ref;
    await this.session.write('DELETE FROM identity_proof WHERE account = ? AND expires_at <= ?', [account, this.now]);
    const sql = 'SELECT proof FROM identity_proof WHERE account = ? AND proof = ?';
    if ((await this.session.all(sql, [account, id])).length > 0) return false;
    await this.session.insert('identity_proof', ['account', 'proof', 'expires_at'], [[account, id, expiresAt]]);
    return true;
  }

  putEnvelope({ text, verifiers }: Omit<StoredEnvelope, 'sealedAt'>): Promise<void> {
    const columns = ['account', 'envelope', 'verifiers', 'sealed_at'];
    const row = [this.ref.account, text, JSON.stringify(verifiers), this.now];
    return this.session.insert('identity_envelope', columns, [row], { key: ['account'], columns: columns.slice(1) });
  }

  async deleteEnvelope(): Promise<boolean> {
    return (await this.session.run('DELETE FROM identity_envelope WHERE account = ?', [this.ref.account])) > 0;
  }
}

async function readKeys(session: Session, ref: AccountRef): Promise<StoredKey[]> {
  const sql = `SELECT ${KEY} FROM identity_key WHERE hosted = ? AND account = ? ORDER BY added_at, kid`;
  return (await session.all(sql, refOf(ref))).map(toKey);
}

/** An account ends with its last key; proofs that were used are remembered all the same, should it come back. */
async function removeAccount(session: Session, ref: AccountRef): Promise<void> {
  await session.deleteEach('identity_account', ['hosted', 'account'], [refOf(ref)]);
  if (ref.isHosted) await session.deleteEach('identity_envelope', ['account'], [[ref.account]]);
}

function refOf({ isHosted, account }: AccountRef): Value[] {
  return [isHosted ? 1 : 0, account];
}

function toKey(row: Row): StoredKey {
  const key = parsePublicKey(JSON.parse(row.jwk as string));
  return { ...key, source: row.source as KeySourceName, addedAt: row.added_at as number };
}
