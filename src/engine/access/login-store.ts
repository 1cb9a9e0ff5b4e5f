/**
 * What logging in asks of the database, as one port; src/store/logins.ts has it for SQLite and MySQL/MariaDB. Secrets come as
 * digests only. All times are the database's, in ms since 1970; what is over counts as not there, whether or not it has been swept.
 * Every call that writes is durable when it resolves, and is repeated by the store where the database asks for that.
 */

/** A login: what its refresh tokens are good for. */
export interface StoredLogin {
  readonly id: string;
  /** The account's URL. */
  readonly subject: string;
  /** The account's key that signed the assertion. */
  readonly kid: string;
  /** The RFC 7638 thumbprint of the key that its tokens are bound to. */
  readonly thumbprint: string | undefined;
  /** JSON: the restriction that the login began with. */
  readonly grants: string | undefined;
  /** What its requests and answers are encrypted under, as it is kept at rest. */
  readonly contentKey: string | undefined;
  readonly authenticatedAt: number;
}

export interface StoredApiKey {
  readonly id: string;
  readonly digest: string;
  readonly name: string;
  /** The subject that made it, and may list and delete it. */
  readonly owner: string;
  readonly subject: string;
  /** JSON: the restriction that it is narrowed to. */
  readonly grants: string | undefined;
  readonly createdAt: number;
  readonly expiresAt: number | undefined;
}

export interface StoredSigningKey {
  /** Rises by one with each key; the highest signs. */
  readonly serial: number;
  readonly kid: string;
  /** JSON. */
  readonly publicJwk: string;
  /** As it is kept at rest; see signing-keys.ts. */
  readonly privateJwk: string;
  readonly createdAt: number;
}

export interface Revoked {
  readonly id: string;
  readonly revokedAt: number;
}

export interface LoginStore {
  /** Whether no other process writes to this database. */
  readonly exclusive: boolean;
  now(): Promise<number>;

  addNonce(digest: string, lifeMs: number): Promise<void>;
  /** Takes a nonce away. True for exactly one caller, on whichever node, and only while it lives. */
  takeNonce(digest: string): Promise<boolean>;
  /** Of each proof whether it is used for the first time; true for exactly one caller while the proof is remembered. */
  useProofs(digests: readonly string[], lifeMs: number): Promise<boolean[]>;

  beginLogin(login: Omit<StoredLogin, 'authenticatedAt'>, refreshDigest: string, lifeMs: number): Promise<StoredLogin>;
  /** What the requests of a login are encrypted under; undefined where there is no such login, or it isn't encrypted. */
  contentKeyOf(login: string): Promise<string | undefined>;
  /** The login of a refresh token, used or not; undefined where there is none (any more). */
  loginOf(refreshDigest: string): Promise<StoredLogin | undefined>;
  /**
   * Exchanges a refresh token for the next. `reused`: it had been exchanged before, and its login is now revoked, for somebody
   * else has its tokens. `over`: there is no such token any more.
   */
  rotate(
    refreshDigest: string,
    next: string,
    lifeMs: number,
    revocationMs: number,
  ): Promise<'rotated' | 'reused' | 'over'>;
  /** At most so many logins of a subject, by their ids. */
  loginsOf(subject: string, limit: number): Promise<string[]>;
  /** Notes that what was made under these ids is void, and forgets logins of that name. Remembered for `keepMs`. */
  revoke(ids: readonly string[], keepMs: number): Promise<void>;
  /** What was revoked since then, that moment included; and the present time. */
  revokedSince(time: number): Promise<{ revoked: Revoked[]; now: number }>;
  /** Whether any of them was revoked. */
  anyRevoked(ids: readonly string[]): Promise<boolean>;

  /** False where there is a key with this id already; then nothing is stored. */
  addApiKey(key: Omit<StoredApiKey, 'createdAt' | 'expiresAt'>, lifeMs: number | undefined): Promise<boolean>;
  /** The key with this digest, unless it is over. */
  apiKey(digest: string): Promise<{ key: StoredApiKey; now: number } | undefined>;
  /** Keys in the order of their ids, after the given one; all owners' where none is named. */
  apiKeys(owner: string | undefined, after: string, limit: number): Promise<{ keys: StoredApiKey[]; now: number }>;
  /** The key with this id, unless it is over; only of this owner, where one is named. */
  apiKeyById(id: string, owner: string | undefined): Promise<{ key: StoredApiKey; now: number } | undefined>;
  /** How many there are, of all owners where none is named. */
  countApiKeys(owner?: string): Promise<number>;
  /** At most so many keys that the subject made or that act as it. */
  apiKeysOf(subject: string, limit: number): Promise<StoredApiKey[]>;
  /** Deletes a key, and revokes what is known under the name. Answers whether there was one. */
  deleteApiKey(id: string, revocation: string, keepMs: number): Promise<boolean>;

  signingKeys(): Promise<StoredSigningKey[]>;
  /** False where another node has made the key with this serial; then nothing is stored. */
  addSigningKey(key: Omit<StoredSigningKey, 'createdAt'>): Promise<boolean>;
  /** Deletes keys that were followed by another one longer ago than this. */
  deleteSigningKeys(followedMs: number): Promise<void>;

  /** Deletes at most so many rows of what is over; answers how many. */
  sweepLogins(limit: number): Promise<number>;
}
