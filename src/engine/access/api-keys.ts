/**
 * API keys: secrets by which programs say who they are. A key begins with `sgk_` and ends with a checksum, so that scanners find it
 * in texts where it has no business, and a mistyped one is refused without a look at the database. It is shown once.
 *
 * It acts as a subject of its own, `apikey:<id>`, or as the account that made it or was named by the operator; narrowed to grants if
 * it is given any. One is the operator's: it is made at the first start of a server that requires authentication.
 */
import { randomUUID } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import type { Subject } from '../subject.js';
import { hostOf } from './access-tokens.js';
import { AccountFault, parseAccountUrl } from './account-url.js';
import { fault, type Restriction } from './grant.js';
import { refusal } from './jws.js';
import type { LoginStore, StoredApiKey } from './login-store.js';
import { checkUnrestricted, operator } from './operator.js';
import type { Revocations } from './revocations.js';
import { digestOf, newSecret } from './secrets.js';

const FORM = /^sgk_([\w-]{43})([\da-z]{7})$/;
/** The id of the operator's key. */
const OPERATOR = 'operator';

export interface ApiKeyRequest {
  readonly name: string;
  /** The account that it is to act as. */
  readonly subject?: string | undefined;
  readonly restriction?: Restriction | undefined;
  readonly lifeMs?: number | undefined;
}

export class ApiKeys {
  constructor(
    private readonly store: LoginStore,
    private readonly revocations: Revocations,
  ) {}

  /** Makes a key for who asks: the operator, or an account that has logged in. The secret is told here and never again. */
  async create(asker: Subject, request: ApiKeyRequest): Promise<{ id: string; subject: string; secret: string }> {
    checkMayHaveKeys(asker);
    const { name, restriction, lifeMs } = request;
    if (!asker.isUnbound && (await this.store.countApiKeys(asker.id)) >= limits.apiKeysPerOwnerMax)
      throw new Problem('invalid', `An account has at most ${limits.apiKeysPerOwnerMax} API keys; delete one first.`);
    const id = randomUUID();
    const subject = subjectFor(asker, request.subject) ?? `apikey:${id}`;
    const secret = newKey();
    const grants = restriction && JSON.stringify(restriction);
    const key = { id, digest: digestOf(secret), name, owner: asker.id, subject, grants };
    await this.store.addApiKey(key, lifeMs);
    // The login may have ended meanwhile, with its account and all keys of that; this one must not be left over.
    if (asker.login !== undefined && (await this.store.anyRevoked([asker.login]))) {
      await this.store.deleteApiKey(id, `apikey:${id}`, limits.revocationMs);
      throw refusal('The token was revoked.');
    }
    return { id, subject, secret };
  }

  /** Keys that who asks may see, in the order of their ids. */
  list(asker: Subject, after: string, limit: number): Promise<{ keys: StoredApiKey[]; now: number }> {
    checkMayHaveKeys(asker);
    return this.store.apiKeys(asker.isUnbound ? undefined : asker.id, after, limit);
  }

  /** A key that who asks may see. */
  async get(asker: Subject, id: string): Promise<{ key: StoredApiKey; now: number }> {
    checkMayHaveKeys(asker);
    const found = await this.store.apiKeyById(id, asker.isUnbound ? undefined : asker.id);
    if (!found) throw new Problem('notFound', 'There is no such API key.');
    return found;
  }

  /** Deletes a key that who asks may see; what is open under it ends. Answers whose it was, undefined where there was none. */
  async delete(asker: Subject, id: string): Promise<string | undefined> {
    checkMayHaveKeys(asker);
    const found = await this.store.apiKeyById(id, asker.isUnbound ? undefined : asker.id);
    return found && (await this.#delete(found.key)) ? found.key.subject : undefined;
  }

  /** Deletes the key with this secret; answers whose it was, undefined where there was none. */
  async revoke(secret: string): Promise<string | undefined> {
    const found = await this.#find(secret);
    return found && (await this.#delete(found)) ? found.subject : undefined;
  }

  /** Whether the key is there by which somebody came in under this login. */
  async lasts(login: string): Promise<boolean> {
    const name = login.slice('apikey:'.length);
    return ((await this.store.apiKeyById(name, undefined)) ?? (await this.store.apiKey(name))) !== undefined;
  }

  /** Deletes all keys that an account made or that act as it. */
  async endAccount(account: string): Promise<void> {
    for (;;) {
      const keys = await this.store.apiKeysOf(account, limits.accountEndBatch);
      for (const key of keys) await this.#delete(key);
      if (keys.length < limits.accountEndBatch) return;
    }
  }

  /** Who the key is; refuses one that isn't known. */
  async verify(secret: string): Promise<Subject> {
    const key = await this.#find(secret);
    if (!key) throw refusal('The API key is not valid here.');
    const { id, subject, grants, expiresAt } = key;
    if (id === OPERATOR) return { ...operator, login: loginOf(key) };
    return {
      id: subject,
      isUnbound: false,
      host: hostOf(subject),
      restrictions: grants === undefined ? [] : [JSON.parse(grants) as Restriction],
      expiresAt,
      login: loginOf(key),
    };
  }

  /** Makes the operator's key if there is none. Its secret is answered once, on one node; `others` is how many keys there were. */
  async createOperator(): Promise<{ secret: string; others: number } | undefined> {
    const secret = newKey();
    const key = { id: OPERATOR, digest: digestOf(secret), name: OPERATOR, owner: OPERATOR, subject: OPERATOR };
    const isNew = await this.store.addApiKey({ ...key, grants: undefined }, undefined);
    return isNew ? { secret, others: (await this.store.countApiKeys()) - 1 } : undefined;
  }

  async #find(secret: string): Promise<StoredApiKey | undefined> {
    return isWellFormed(secret) ? (await this.store.apiKey(digestOf(secret)))?.key : undefined;
  }

  async #delete(key: StoredApiKey): Promise<boolean> {
    const existed = await this.store.deleteApiKey(key.id, loginOf(key), limits.revocationMs);
    if (existed) this.revocations.note([loginOf(key)]);
    return existed;
  }
}

export function isApiKey(token: string): boolean {
  return token.startsWith('sgk_');
}

/** An id as logins have them. The operator's keys come and go under one id, so what is revoked is named by their digests. */
function loginOf({ id, digest }: StoredApiKey): string {
  return `apikey:${id === OPERATOR ? digest : id}`;
}

/** Who has only a part of a subject's rights, or is a program itself, can't make keys that outlive it. */
function checkMayHaveKeys(asker: Subject): void {
  checkUnrestricted(asker, 'API keys');
  const isLogin = asker.login !== undefined && !asker.login.startsWith('apikey:') && (asker.lineage ?? []).length === 0;
  if (!asker.isUnbound && !isLogin)
    throw new Problem('forbidden', 'Only the operator, and an account that has logged in itself, may have API keys.');
}

function subjectFor(asker: Subject, wanted: string | undefined): string | undefined {
  if (asker.isUnbound) {
    if (wanted !== undefined) checkAccountUrl(wanted);
    return wanted;
  }
  if (wanted !== undefined && wanted !== asker.id)
    throw new Problem('forbidden', 'An account can have keys that act as itself, and none that act as others.');
  return asker.id;
}

/** Two URLs that mean one account must not be two subjects; and http is for accounts of this machine's own servers. */
function checkAccountUrl(text: string): void {
  try {
    parseAccountUrl(text, true);
  } catch (error) {
    throw error instanceof AccountFault ? fault('/subject', error.message) : error;
  }
}

function newKey(): string {
  const secret = newSecret();
  return `sgk_${secret}${checksumOf(secret)}`;
}

function isWellFormed(key: string): boolean {
  const [, secret, checksum] = FORM.exec(key) ?? [];
  return secret !== undefined && checksum === checksumOf(secret);
}

/** CRC-32 in base 36. */
function checksumOf(secret: string): string {
  return crc32(secret).toString(36).padStart(7, '0');
}
