/**
 * Envelopes that this server guards: given out to who proves that they know a way to open them, without the server ever seeing
 * a passphrase. Wrong proofs are counted, and each makes the next wait longer.
 *
 * Nobody can see whether an account has an envelope, or is there: for one that isn't there are salts as well, made of a secret
 * and always the same, and what is counted is counted by a hash of the name. A right proof doesn't wipe out the count, for
 * it may be of another account in the same place; wrong ones are forgiven with time.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import { checkOwnName } from '../state/names.js';
import {
  checkAccount,
  type Derivation,
  digestOfSealed,
  EnvelopeFault,
  isStandard,
  newDerivation,
  readEnvelope,
  type Sealed,
  verifierOf,
  WAYS,
  type Way,
} from './envelope.js';
import { fault } from './grant.js';
import type { Claim, HostedAccounts } from './hosted-accounts.js';
import type { IdentityStore, UnlockCount } from './identity-store.js';
import type { PublicUrl } from './public-url.js';

/** Beyond this the delay is at its longest; more would only take longer to be forgiven. */
const FAILURES_MAX = 20;

export class GuardedEnvelopes {
  #secret: Promise<Buffer> | undefined;

  constructor(
    private readonly store: IdentityStore,
    private readonly accounts: HostedAccounts,
    private readonly publicUrl: PublicUrl,
  ) {}

  /** Puts an envelope under guard, in place of the one before. */
  async put(name: string, sealed: Sealed, claim: Claim): Promise<void> {
    checkOwnName('account', name);
    this.#check(name, sealed);
    await this.accounts.asOwner(name, { act: 'putEnvelope', about: digestOfSealed(sealed) }, claim, (tx) =>
      tx.putEnvelope(sealed),
    );
  }

  delete(name: string, claim: Claim): Promise<{ existed: boolean }> {
    const deed = { act: 'deleteEnvelope', about: name } as const;
    return this.accounts.asOwner(name, deed, claim, async (tx) => ({ existed: await tx.deleteEnvelope() }));
  }

  /** How the keys of each way are derived. The same for whoever asks, of all ways that there are, and for any name. */
  async derivations(name: string): Promise<{ way: Way; kdf: Derivation }[]> {
    checkOwnName('account', name);
    const [secret, envelope] = await Promise.all([this.#shared(), this.store.envelope(name)]);
    const known = envelope ? readEnvelope(envelope.text).derivations : new Map<Way, Derivation>();
    return WAYS.map((way) => {
      const decoy = newDerivation(hmac(secret, 'salt', way, name));
      return { way, kdf: known.get(way) ?? decoy };
    });
  }

  /**
   * The envelope's text, against the proof of a way.
   *
   * Refuses with `unauthenticated` where the proof is wrong or there is nothing to unlock, and with `tooManyRequests` while
   * former wrong ones have to be waited out.
   */
  async unlock(name: string, way: string, proof: string): Promise<string> {
    checkOwnName('account', name);
    const [secret, envelope] = await Promise.all([this.#shared(), this.store.envelope(name)]);
    const bucket = hmac(secret, 'count', way, name).readUInt32BE(0) % limits.unlockBuckets;
    const isRight = matches(proof, envelope?.verifiers[way]);
    const outcome = await this.store.count<{ waitMs: number }>(bucket, (count, now) => {
      const failures = forgiven(count, now);
      const waitMs = count.failedAt + delayAfter(failures) - now;
      // Also a right one waits its turn: else guesses would be answered while they have to wait.
      if (failures > 0 && waitMs > 0) return { result: { waitMs }, count };
      if (isRight) return { result: { waitMs: 0 }, count: failures === 0 ? { failures, failedAt: now } : count };
      return { result: { waitMs: 0 }, count: { failures: Math.min(failures + 1, FAILURES_MAX), failedAt: now } };
    });
    if (outcome.waitMs > 0) {
      const seconds = Math.ceil(outcome.waitMs / 1000);
      throw new Problem('tooManyRequests', `There were too many wrong attempts; the next one counts in ${seconds} s.`, {
        headers: { 'retry-after': String(seconds) },
      });
    }
    if (!isRight || !envelope)
      throw new Problem(
        'unauthenticated',
        'The proof opens nothing: the secret is another one, or there is no envelope.',
      );
    return envelope.text;
  }

  #check(name: string, { text, verifiers }: Sealed): void {
    let about: ReturnType<typeof readEnvelope>;
    try {
      about = readEnvelope(text);
      checkAccount(about, this.publicUrl.accountOf(name));
    } catch (error) {
      if (error instanceof EnvelopeFault) throw fault('/envelope', error.message);
      throw error;
    }
    // Any other would tell by its cost that the account has an envelope.
    if (![...about.derivations.values()].every(isStandard))
      throw fault(
        '/envelope',
        `must derive its keys with ${limits.kdfMemoryKiB} KiB, ${limits.kdfPasses} passes, parallelism ${limits.kdfParallelism} and a salt of 16 bytes, as all envelopes that this server guards.`,
      );
    const missing = [...about.derivations.keys()].find((way) => verifiers[way] === undefined);
    if (missing) throw fault('/ways', `has no verifier for ${missing}, which the envelope has.`);
    const foreign = Object.keys(verifiers).find((way) => !about.derivations.has(way as Way));
    if (foreign) throw fault('/ways', `has a verifier for ${foreign}, which the envelope doesn’t have.`);
  }

  /** Read once; a read that failed is tried again. */
  #shared(): Promise<Buffer> {
    this.#secret ??= this.store.secret().catch((error) => {
      this.#secret = undefined;
      throw error;
    });
    return this.#secret;
  }
}

/** What is left of the failures: one is forgiven after each hour without another. */
function forgiven({ failures, failedAt }: UnlockCount, now: number): number {
  return Math.max(0, failures - Math.floor(Math.max(0, now - failedAt) / limits.unlockForgivenessMs));
}

/** How long the next attempt waits, in ms: not at all at first, then twice as long each time. */
function delayAfter(failures: number): number {
  const beyond = failures - limits.unlockFailuresFree;
  return beyond < 0 ? 0 : Math.min(1000 * 2 ** beyond, limits.unlockDelayMsMax);
}

function matches(proof: string, verifier: string | undefined): boolean {
  const given = Buffer.from(verifierOf(proof));
  // Also where there is none to compare with, something is compared.
  return timingSafeEqual(given, Buffer.from(verifier ?? verifierOf(''))) && verifier !== undefined;
}

function hmac(secret: Buffer, ...parts: string[]): Buffer {
  return createHmac('sha256', secret).update(parts.join('\0')).digest();
}
