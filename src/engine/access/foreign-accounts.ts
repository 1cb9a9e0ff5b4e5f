/**
 * Accounts elsewhere: their keys are read from the account's URL, and **pinned** when one of them has logged in first. From then on only
 * what is pinned lets anybody in, so that whoever comes to command the name or the site of an account doesn't command the
 * account here. A new key is pinned when a rotation says so, signed by a key that was pinned, or when the operator says so. A
 * key that is no longer published is out of use at once, and loses its pin as soon as another one has logged in in its place:
 * an old key must not bring in new ones for ever.
 *
 * Documents are remembered for some minutes by each node; pins are the database's, the same for all.
 */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import type { Clock } from '../ports.js';
import { AccountFault, documentsOf, parseAccountUrl } from './account-url.js';
import { fault } from './grant.js';
import { DocumentFault, type IdentityDocument, parseDidDocument, parseJwks } from './identity-document.js';
import type { IdentityStore, IdentityTransaction, StoredKey, StoredPin } from './identity-store.js';
import { ProofFault, verifyRotation } from './key-proof.js';
import type { AccountKey } from './keys.js';

/** Reads a document from the network, within the limits for identities. */
export interface DocumentReader {
  /** The text; undefined where there is none (404, 410). Throws an Error whose message says what is wrong. */
  read(url: string): Promise<string | undefined>;
}

type Reading = { readonly document: IdentityDocument } | { readonly fault: string };

interface Remembered {
  readonly at: number;
  readonly reading: Reading;
}

export interface ForeignOptions {
  /** Accounts at http on a loopback address are taken as well. */
  readonly isPrivateAllowed: boolean;
  /** Hears of keys that are published and not taken. */
  warn(message: string, details: Record<string, unknown>): void;
}

export class ForeignAccounts {
  /** Hears that an account has lost its last pin. */
  ended: (account: string) => Promise<void> = async () => {};
  readonly #remembered = new Map<string, Remembered>();
  readonly #reading = new Map<string, Promise<Reading>>();

  constructor(
    private readonly store: IdentityStore,
    private readonly reader: DocumentReader,
    private readonly clock: Clock,
    private readonly options: ForeignOptions,
  ) {}

  /** See `KeySource`. */
  async keyOf(account: string, kid: string): Promise<AccountKey | undefined> {
    this.#check(account, (message) => unauthenticated(account, message));
    const document = await this.#document(account, kid);
    const key = document.keys.find((published) => published.kid === kid);
    if (!key) return undefined;
    const pins = await this.store.keys({ account, isHosted: false });
    if (pins.length === 0 || pins.some((pin) => pin.kid === kid)) return key;
    if ((await successors(account, document, pins)).some((next) => next.kid === kid)) return key;
    throw this.#notPinned(account, kid);
  }

  /** See `KeySource`. */
  async settle(account: string, kid: string): Promise<AccountKey | undefined> {
    this.#check(account, (message) => unauthenticated(account, message));
    const document = await this.#document(account, kid);
    const key = document.keys.find((published) => published.kid === kid);
    // Also for a key that isn't published any more: that is how its pin is lost.
    const pins = await this.#pin(account, document, key !== undefined);
    if (!key || pins.some((pin) => pin.kid === kid)) return key;
    throw this.#notPinned(account, kid);
  }

  #notPinned(account: string, kid: string): Problem {
    this.options.warn('an account publishes a key that is not pinned', { account, kid });
    return unauthenticated(
      account,
      `publishes keys that this server has not seen before (${kid}), and no key that it knows has signed the change. ` +
        'Publish a rotation signed by a former key, or let the operator of this server approve the new key.',
    );
  }

  pins(request: Parameters<IdentityStore['pins']>[0]): Promise<StoredPin[]> {
    return this.store.pins(request);
  }

  /** Pins a key that the account publishes now, on the operator's word. */
  async approve(account: string, kid: string): Promise<{ pin: StoredPin; isNew: boolean }> {
    this.#check(account, (message) => fault('/account', message));
    const reading = await this.#read(account);
    if ('fault' in reading) throw new Problem('invalid', `${account} ${reading.fault}`);
    const key = reading.document.keys.find((published) => published.kid === kid);
    if (!key) {
      const there = reading.document.keys.map((published) => published.kid).join(', ') || 'none';
      throw new Problem('invalid', `${account} does not publish the key ${kid} now; the keys there are: ${there}.`);
    }
    return this.#transact(account, async (tx) => {
      const present = tx.keys.find((pin) => pin.kid === kid);
      if (present) return { pin: { account, ...present }, isNew: false };
      const pin: StoredPin = { account, ...key, source: 'operator', addedAt: tx.now };
      await tx.addKey(key, 'operator');
      await retire(tx, reading.document, [...tx.keys, pin]);
      return { pin, isNew: true };
    });
  }

  /** Takes a pin away. Without any, the account is as one that was never met, and nothing that it had lets anybody in. */
  async unpin(account: string, kid: string): Promise<{ existed: boolean }> {
    this.#check(account, (message) => fault('?account', message));
    const { existed, left } = await this.#transact(account, async (tx) => {
      await tx.deleteKey(kid);
      const left = tx.keys.filter((pin) => pin.kid !== kid).length;
      return { existed: left < tx.keys.length, left };
    });
    // Also where it was gone already: somebody may repeat what failed halfway.
    if (left === 0) await this.ended(account);
    return { existed };
  }

  #check(account: string, refusal: (message: string) => Problem): void {
    try {
      parseAccountUrl(account, this.options.isPrivateAllowed);
    } catch (error) {
      throw error instanceof AccountFault ? refusal(error.message) : error;
    }
  }

  /** The pins of the account once its document has been judged by them. `isMeeting`: an account without any is pinned now. */
  async #pin(account: string, document: IdentityDocument, isMeeting: boolean): Promise<readonly StoredKey[]> {
    const pins = await this.store.keys({ account, isHosted: false });
    if (isSettled(pins, document) || (pins.length === 0 && !isMeeting)) return pins;
    return this.#transact(account, async (tx) => {
      // Somebody else may have been faster.
      const isFirst = tx.keys.length === 0;
      if (isSettled(tx.keys, document) || (isFirst && !isMeeting)) return tx.keys;
      const added = isFirst ? document.keys : await successors(account, document, tx.keys);
      const source = isFirst ? 'first' : 'rotation';
      for (const key of added) await tx.addKey(key, source);
      const all = [...tx.keys, ...added.map((key): StoredKey => ({ ...key, source, addedAt: tx.now }))];
      await retire(tx, document, all);
      return all;
    });
  }

  async #document(account: string, kid: string): Promise<IdentityDocument> {
    const now = this.clock.now();
    const known = this.#remembered.get(account);
    const age = known ? now - known.at : Number.POSITIVE_INFINITY;
    // A key that isn't there may have come since: somebody who has just published it needn't wait for as long as the others.
    const isThere = known && 'document' in known.reading && known.reading.document.keys.some((key) => key.kid === kid);
    const keptMs = isThere ? limits.identityCacheMs : limits.identityRetryMs;
    const reading = known && age >= 0 && age < keptMs ? known.reading : await this.#read(account);
    if ('fault' in reading) throw unauthenticated(account, reading.fault);
    return reading.document;
  }

  /** Reads the document anew, once for all who want it at the same time. */
  #read(account: string): Promise<Reading> {
    const running = this.#reading.get(account);
    if (running !== undefined) return running;
    if (this.#reading.size >= limits.identityReadsMax)
      throw new Problem('unavailable', 'Too many identities are being read now.', { headers: { 'retry-after': '1' } });
    const reading = this.#fetch(account)
      .then((result) => {
        this.#remember(account, result);
        return result;
      })
      .finally(() => this.#reading.delete(account));
    this.#reading.set(account, reading);
    return reading;
  }

  #remember(account: string, reading: Reading): void {
    this.#remembered.delete(account);
    this.#remembered.set(account, { at: this.clock.now(), reading });
    const [oldest] = this.#remembered.keys();
    if (this.#remembered.size > limits.identitiesCachedMax) this.#remembered.delete(oldest as string);
  }

  async #fetch(account: string): Promise<Reading> {
    const { jwks, did } = documentsOf(account);
    let url = jwks;
    try {
      const set = await this.reader.read(jwks);
      if (set !== undefined) return { document: parseJwks(set) };
      url = did;
      const text = await this.reader.read(did);
      if (text !== undefined) return { document: parseDidDocument(text, account) };
      return { fault: `publishes no keys: there is neither ${jwks} nor ${did}.` };
    } catch (error) {
      if (error instanceof DocumentFault) return { fault: `publishes what can’t be used: ${url} ${error.message}` };
      return { fault: `can’t be read: ${url} ${(error as Error).message}` };
    }
  }

  #transact<T>(account: string, work: (tx: IdentityTransaction) => Promise<T>): Promise<T> {
    return this.store.transact({ account, isHosted: false }, work);
  }
}

/** Nothing would change: all that is published is pinned, and all that is pinned is published. */
function isSettled(pins: readonly StoredKey[], { keys }: IdentityDocument): boolean {
  return pins.length === keys.length && keys.every(({ kid }) => pins.some((pin) => pin.kid === kid));
}

/** The published keys that rotations lead to from the pinned ones; also over keys that were never seen here. */
async function successors(
  account: string,
  { keys, rotations }: IdentityDocument,
  pins: readonly StoredKey[],
): Promise<AccountKey[]> {
  const trusted = new Map(pins.map((pin): [string, AccountKey] => [pin.kid, pin]));
  const left = new Set(rotations);
  for (let before = -1; before !== trusted.size; ) {
    before = trusted.size;
    for (const rotation of left) {
      const key = await verifyRotation(rotation, account, [...trusted.values()]).catch((error: unknown) => {
        if (error instanceof ProofFault) return undefined;
        throw error;
      });
      if (!key) continue;
      left.delete(rotation);
      trusted.set(key.kid, key);
    }
  }
  return keys.filter(({ kid }) => trusted.has(kid) && !pins.some((pin) => pin.kid === kid));
}

/** Takes away the pins of keys that are no longer published, if one that is pinned still is. */
async function retire(tx: IdentityTransaction, { keys }: IdentityDocument, pins: readonly StoredKey[]): Promise<void> {
  const isPublished = ({ kid }: StoredKey) => keys.some((key) => key.kid === kid);
  if (!pins.some(isPublished)) return;
  for (const pin of pins) if (!isPublished(pin)) await tx.deleteKey(pin.kid);
}

function unauthenticated(account: string, message: string): Problem {
  return new Problem('unauthenticated', `The account ${JSON.stringify(account.slice(0, 300))} ${message}`);
}
