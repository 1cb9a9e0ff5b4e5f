/**
 * Accounts that this server hosts: their public keys, and who may alter them. The operator brings in the first key; whoever
 * holds a key brings in others and takes them out, by a proof. A token isn't enough: one that is stolen must not become a key,
 * which lasts.
 */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import { checkOwnName } from '../state/names.js';
import { isFree, nobody, type Subject } from '../subject.js';
import { fault } from './grant.js';
import type { IdentityStore, IdentityTransaction, StoredKey } from './identity-store.js';
import { type Deed, ProofFault, verifyProof } from './key-proof.js';
import type { AccountKey } from './keys.js';
import { KeyFault, parsePublicKey, THUMBPRINT } from './public-key.js';
import type { PublicUrl } from './public-url.js';

/** Who asks for a change of an account, and what they prove. */
export interface Claim {
  readonly subject: Subject;
  readonly proof: string | undefined;
}

export class HostedAccounts {
  /** Hears that an account, by its URL, has lost its last key. */
  ended: (account: string) => Promise<void> = async () => {};

  constructor(
    private readonly store: IdentityStore,
    private readonly publicUrl: PublicUrl,
  ) {}

  /** The account's keys, oldest first; none where there is no such account. */
  keys(name: string): Promise<StoredKey[]> {
    return this.store.keys({ account: checkOwnName('account', name), isHosted: true });
  }

  /** Adds a key. `isNew` is false when the account has it already. */
  async addKey(name: string, kid: string, jwk: unknown, claim: Claim): Promise<{ key: StoredKey; isNew: boolean }> {
    checkOwnName('account', name);
    const url = this.publicUrl.accountOf(name);
    if (Buffer.byteLength(url) > limits.subjectBytesMax)
      throw new Problem(
        'invalidName',
        `The account would be ${url}, which is longer than the ${limits.subjectBytesMax} bytes of a subject.`,
      );
    const key = parseJwk(jwk);
    if (key.kid !== kid)
      throw fault('/jwk', `is the key ${key.kid}, not that of the path: a key’s kid is its RFC 7638 thumbprint.`);
    return this.#transact(name, async (tx) => {
      await this.#authorize(tx, name, { act: 'addKey', about: kid }, claim);
      const present = tx.keys.find((known) => known.kid === kid);
      if (present) return { key: present, isNew: false };
      if (tx.keys.length >= limits.accountKeysMax)
        throw new Problem('invalid', `An account has at most ${limits.accountKeysMax} keys; take one out first.`);
      const source = isFree(claim.subject) ? 'operator' : 'proof';
      await tx.addKey(key, source);
      return { key: { ...key, source, addedAt: tx.now }, isNew: true };
    });
  }

  /** Takes a key out. The last one only the operator can: the account ends with it, and all that it had. */
  async deleteKey(name: string, kid: string, claim: Claim): Promise<{ existed: boolean }> {
    checkOwnName('account', name);
    if (!THUMBPRINT.test(kid)) throw new Problem('invalidName', 'A kid is an RFC 7638 thumbprint, 43 characters.');
    const { existed, left } = await this.#transact(name, async (tx) => {
      await this.#authorize(tx, name, { act: 'deleteKey', about: kid }, claim);
      if (!tx.keys.some((known) => known.kid === kid)) return { existed: false, left: tx.keys.length };
      if (tx.keys.length === 1 && !isFree(claim.subject))
        throw new Problem(
          'conflict',
          'This is the last key, and the account would end with it: only the operator can do that.',
        );
      await tx.deleteKey(kid);
      return { existed: true, left: tx.keys.length - 1 };
    });
    // Also where it was gone already: somebody may repeat what failed halfway.
    if (left === 0) await this.ended(this.publicUrl.accountOf(name));
    return { existed };
  }

  /** Work on an account that whoever holds one of its keys may do, and the operator. */
  asOwner<T>(
    name: string,
    deed: Omit<Deed, 'account' | 'audience'>,
    claim: Claim,
    work: (tx: IdentityTransaction) => Promise<T>,
  ): Promise<T> {
    checkOwnName('account', name);
    return this.#transact(name, async (tx) => {
      await this.#authorize(tx, name, deed, claim);
      if (tx.keys.length === 0) throw noAccount(name);
      return work(tx);
    });
  }

  async #authorize(
    tx: IdentityTransaction,
    name: string,
    { act, about }: Omit<Deed, 'account' | 'audience'>,
    { subject, proof }: Claim,
  ): Promise<void> {
    if (isFree(subject)) return;
    if (proof === undefined) throw refusal(subject, act);
    const deed = { account: this.publicUrl.accountOf(name), audience: this.publicUrl.href, act, about };
    let proven: { id: string; expiresAt: number };
    try {
      proven = await verifyProof(proof, deed, tx.keys, tx.now);
    } catch (error) {
      if (error instanceof ProofFault)
        throw new Problem('unauthenticated', `The proof is not accepted. ${error.message}`);
      throw error;
    }
    if (!(await tx.useProof(proven.id, proven.expiresAt)))
      throw new Problem('unauthenticated', 'The proof has been used before: sign a new one for each request.');
  }

  #transact<T>(name: string, work: (tx: IdentityTransaction) => Promise<T>): Promise<T> {
    return this.store.transact({ account: name, isHosted: true }, work);
  }
}

/** The server's answer to who names an account that isn't there. */
export function noAccount(name: string): Problem {
  return new Problem('notFound', `There is no account ${name} here.`);
}

function parseJwk(jwk: unknown): AccountKey {
  try {
    return parsePublicKey(jwk, { strict: true });
  } catch (error) {
    if (error instanceof KeyFault)
      throw fault(error.member === undefined ? '/jwk' : `/jwk/${error.member}`, error.message);
    throw error;
  }
}

function refusal(subject: Subject, act: string): Problem {
  const how = `${act} needs the operator, or a proof signed by a key that the account has`;
  return subject === nobody
    ? new Problem('unauthenticated', `Send the operator’s key as a bearer token, or a proof: ${how}.`)
    : new Problem('forbidden', `${how}; a token of the account is not enough.`);
}
