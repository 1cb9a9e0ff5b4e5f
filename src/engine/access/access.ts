/**
 * Access as one object: who asks, and how they come to tokens. Built on the ports in wiring.ts, like the engine itself; what a subject
 * may do is not decided here.
 */
import { Problem } from '../errors.js';
import type { JsonObject } from '../state/json.js';
import type { Subject } from '../subject.js';
import { AccessTokens } from './access-tokens.js';
import { ApiKeys, isApiKey } from './api-keys.js';
import { Authenticator } from './authenticator.js';
import { Challenges } from './challenges.js';
import { isDelegation } from './delegation.js';
import { Exchange } from './exchange.js';
import type { KeySource } from './keys.js';
import type { LoginStore } from './login-store.js';
import { isRefreshToken, Logins } from './logins.js';
import { Proofs } from './proofs.js';
import type { PublicUrl } from './public-url.js';
import { Revocations } from './revocations.js';
import { Seal } from './secrets.js';
import { SigningKeys } from './signing-keys.js';

export interface AccessOptions {
  /** The operator's key of the configuration; empty where there is none. */
  readonly operatorKey: string;
  /** What the server's keys are encrypted under at rest; empty: not at all. */
  readonly secret: string;
  readonly now: () => number;
  readonly warn: (message: string, details: object) => void;
}

/** Rows of what is over that one transaction deletes. */
const SWEEP_ROWS = 500;

export class Access {
  readonly signingKeys: SigningKeys;
  readonly revocations: Revocations;
  readonly challenges: Challenges;
  readonly apiKeys: ApiKeys;
  readonly proofs: Proofs;
  readonly logins: Logins;
  readonly exchange: Exchange;
  readonly authenticator: Authenticator;
  /** What holds for a subject in a pool, in CASL's format: its rules, and what each restriction of its token leaves. */
  policyOf: (subject: Subject, pool: string) => Promise<{ rules: JsonObject[]; restrictions: JsonObject[][] }> =
    async () => ({ rules: [], restrictions: [] });
  readonly #tokens: AccessTokens;

  constructor(
    private readonly store: LoginStore,
    keys: KeySource,
    readonly url: PublicUrl,
    { operatorKey, secret, now, warn }: AccessOptions,
  ) {
    this.signingKeys = new SigningKeys(store, new Seal(secret, 'signing key'), now);
    this.revocations = new Revocations(store, now, warn);
    this.challenges = new Challenges(store, now);
    this.apiKeys = new ApiKeys(store, this.revocations);
    this.proofs = new Proofs(store, url, now);
    this.#tokens = new AccessTokens(this.signingKeys, url, now);
    const { apiKeys, revocations } = this;
    this.logins = new Logins(
      store,
      keys,
      this.challenges,
      this.#tokens,
      revocations,
      url,
      new Seal(secret, 'content key'),
      now,
    );
    this.exchange = new Exchange(store, keys, this.#tokens, apiKeys, revocations, url, now);
    const channelOf = (login: string) => this.logins.channelOf(login);
    this.authenticator = new Authenticator(
      this.#tokens,
      apiKeys,
      this.proofs,
      revocations,
      channelOf,
      now,
      operatorKey,
    );
  }

  async open(): Promise<void> {
    await this.signingKeys.open();
    await this.revocations.open();
  }

  close(): Promise<void> {
    return this.revocations.close();
  }

  /**
   * Revokes what the token stands for: of a refresh token or an access token its login, of a weaker token that token and what was
   * made of it, of a delegation its last link, an API key itself. Who has it may do so. Answers whose it was; undefined where it was
   * good for nothing.
   */
  async revoke(token: string): Promise<string | undefined> {
    try {
      if (isRefreshToken(token)) return await this.logins.revoke(token);
      if (isApiKey(token)) return await this.apiKeys.revoke(token);
      if (isDelegation(token)) return await this.exchange.revokeDelegation(token);
      const { login, subject } = await this.#tokens.verify(token);
      await this.revocations.revoke([login]);
      return subject;
    } catch (error) {
      // What isn't right is good for nothing; a database that doesn't answer is another matter.
      if (error instanceof Problem && error.status < 500) return undefined;
      throw error;
    }
  }

  /** Whether what the subject has shown was revoked since, however long ago (see `limits.revocationMs`). */
  async isRevoked(subject: Pick<Subject, 'login' | 'lineage'>): Promise<boolean> {
    if (this.revocations.covers(subject)) return true;
    const ids = [...(subject.login === undefined ? [] : [subject.login]), ...(subject.lineage ?? [])];
    return ids.length > 0 && this.store.anyRevoked(ids);
  }

  /** An account has lost its last key: nothing that it ever had lets anybody in. May be repeated. */
  async endAccount(account: string): Promise<void> {
    // In this order: who is making a key meanwhile looks afterwards whether the login is over.
    await this.logins.endAccount(account);
    await this.apiKeys.endAccount(account);
  }

  /** Follows keys of the server that are old, and deletes what is over. */
  async sweep(pause: () => Promise<boolean>): Promise<void> {
    await this.signingKeys.sweep();
    while (await pause()) if ((await this.store.sweepLogins(SWEEP_ROWS)) < SWEEP_ROWS) return;
  }
}
