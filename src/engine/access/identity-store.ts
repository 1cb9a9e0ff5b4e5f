/**
 * What identities ask of the database. Accounts are those that this server hosts, by their names, and foreign ones, by their
 * URLs; an account is there while it has a key. All nodes share it, so a key that is pinned, or a wrong unlock that is
 * counted, counts everywhere.
 */
import type { AccountKey } from './keys.js';

export interface AccountRef {
  /** The name of one that is hosted here, the URL of a foreign one. */
  readonly account: string;
  readonly isHosted: boolean;
}

/** Whose word brought a key in: the operator's, a proof by a key that was there, the document when it was first read, or a rotation. */
export type KeySourceName = 'operator' | 'proof' | 'first' | 'rotation';

export interface StoredKey extends AccountKey {
  readonly source: KeySourceName;
  /** In ms since 1970. */
  readonly addedAt: number;
}

export interface StoredPin extends StoredKey {
  /** The URL. */
  readonly account: string;
}

export interface StoredEnvelope {
  /** The text of the envelope. */
  readonly text: string;
  /** By way: the SHA-256 of what unlocks it, base64url. */
  readonly verifiers: Readonly<Record<string, string>>;
  readonly sealedAt: number;
}

export interface IdentityStore {
  /** The keys of an account, oldest first; none where there is no such account. */
  keys(account: AccountRef): Promise<StoredKey[]>;
  /** How many accounts are known: hosted here and foreign. */
  countAccounts(): Promise<number>;
  envelope(name: string): Promise<StoredEnvelope | undefined>;
  /** The keys of foreign accounts in the order of account and kid, those after the place given; `account` narrows to one. */
  pins(request: { after: PinPlace | undefined; limit: number; account?: string | undefined }): Promise<StoredPin[]>;
  /**
   * Work on one account, in a transaction that all nodes take turns in, and which is done or not done as a whole.
   * Refuses with `StoreUnavailable`, with `RetryTransaction` where others were in the way again and again, and with `OutcomeUnknown`
   * where the connection broke while it was committed.
   */
  transact<T>(account: AccountRef, work: (tx: IdentityTransaction) => Promise<T>): Promise<T>;
  /** The wrong unlocks that are counted in a place, inside a transaction in which all nodes take turns for that place. */
  count<T>(bucket: number, work: (count: UnlockCount, now: number) => { result: T; count: UnlockCount }): Promise<T>;
  /** A secret that all nodes share and that stays the same, 32 bytes; made when it is asked for first. */
  secret(): Promise<Buffer>;
}

export interface PinPlace {
  readonly account: string;
  readonly kid: string;
}

export interface UnlockCount {
  readonly failures: number;
  /** When the last of them was, in ms since 1970. */
  readonly failedAt: number;
}

export interface IdentityTransaction {
  /** The database's clock, in ms since 1970. */
  readonly now: number;
  /** The account's keys as the transaction found them. */
  readonly keys: readonly StoredKey[];
  addKey(key: AccountKey, source: KeySourceName): Promise<void>;
  deleteKey(kid: string): Promise<void>;
  /** False when a proof with this id has been used by the account before. It is remembered until `expiresAt`. */
  useProof(id: string, expiresAt: number): Promise<boolean>;
  putEnvelope(envelope: Omit<StoredEnvelope, 'sealedAt'>): Promise<void>;
  /** Whether there was one. */
  deleteEnvelope(): Promise<boolean>;
}
