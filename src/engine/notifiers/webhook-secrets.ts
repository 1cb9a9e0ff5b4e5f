/**
 * What a webhook is signed with, by Standard Webhooks 1.0: a secret that its receiver shares (`whsec_…`, HMAC-SHA256, `v1`), and a key
 * of which the receiver has the public half (`whpk_…`, Ed25519, `v1a`). After a rotation the former ones sign beside the new ones
 * for a while, so that receivers can change over without losing an event. At rest they are encrypted where there is a secret.
 */
import { createHmac, createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { fault } from '../access/grant.js';
import type { Seal } from '../access/secrets.js';
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import type { NotifierRef, NotifierStore, StoredNotifier } from './notifier-store.js';

/** Signs one way and the other. */
interface Pair {
  /** `whsec_` and base64. */
  readonly secret: string;
  /** The private key, PKCS #8 in base64. */
  readonly privateKey: string;
}

interface Kept {
  readonly current: Pair;
  /** What was replaced, with the time until which it signs, in ms since 1970 by the database's clock. */
  readonly former?: Pair & { readonly until: number };
}

const SECRET = /^whsec_([A-Za-z0-9+/]+={0,2})$/;

export class WebhookSecrets {
  constructor(
    private readonly store: NotifierStore,
    private readonly seal: Seal,
  ) {}

  /** The secrets of a notifier; they are made when they are needed first. Undefined: they were encrypted under another secret. */
  async of(notifier: Pick<StoredNotifier, 'poolId' | 'name' | 'secrets'>): Promise<Signer | undefined> {
    let { secrets } = notifier;
    if (secrets === undefined) {
      const made = this.seal.close(JSON.stringify({ current: newPair() } satisfies Kept));
      if (await this.store.replaceSecrets(notifier, undefined, made)) secrets = made;
      // Somebody else was quicker; or it is gone, and nobody has to know.
      else secrets = (await this.store.state(notifier))?.notifier.secrets ?? made;
    }
    const text = this.seal.open(secrets);
    return text === undefined ? undefined : new Signer(JSON.parse(text) as Kept);
  }

  /**
   * Replaces the secret, by a given one or a new one, and the key. What was there signs for `overlapMs` more.
   *
   * @throws Problem `invalid` for a secret that is in use or isn't one, `conflict` where somebody else rotates at the same time
   */
  async rotate(
    ref: NotifierRef,
    { secret, overlapMs }: { secret: string | undefined; overlapMs: number },
  ): Promise<{ signer: Signer; until: number }> {
    const state = await this.store.state(ref);
    if (!state) throw new Problem('notFound', `There is no notifier ${JSON.stringify(ref.name)}.`);
    const { notifier, now } = state;
    const text = notifier.secrets === undefined ? undefined : this.seal.open(notifier.secrets);
    const kept = text === undefined ? undefined : (JSON.parse(text) as Kept);
    if (secret !== undefined) checkSecret(secret, kept, now);
    const until = now + overlapMs;
    const next: Kept = {
      current: { ...newPair(), ...(secret !== undefined && { secret }) },
      ...(kept && overlapMs > 0 && { former: { ...kept.current, until } }),
    };
    if (!(await this.store.replaceSecrets(ref, notifier.secrets, this.seal.close(JSON.stringify(next)))))
      throw new Problem('conflict', 'The secret was replaced by somebody else meanwhile.');
    return { signer: new Signer(next), until };
  }
}

export class Signer {
  constructor(private readonly kept: Kept) {}

  get secret(): string {
    return this.kept.current.secret;
  }

  /** `whpk_` and the key's 32 bytes in base64. */
  get publicKey(): string {
    return publicKeyOf(this.kept.current);
  }

  /** The key that was replaced, while it signs. */
  formerPublicKey(now: number): string | undefined {
    const { former } = this.kept;
    return former && former.until > now ? publicKeyOf(former) : undefined;
  }

  /** The headers of an event. `now` is the database's clock, in ms since 1970. */
  headers(id: string, body: string, now: number): Record<string, string> {
    const { current, former } = this.kept;
    const timestamp = String(Math.floor(now / 1000));
    const content = `${id}.${timestamp}.${body}`;
    const pairs: Pair[] = former && former.until > now ? [current, former] : [current];
    const signatures = [
      ...pairs.map(({ secret }) => `v1,${createHmac('sha256', bytesOf(secret)).update(content).digest('base64')}`),
      ...pairs.map((pair) => `v1a,${sign(null, Buffer.from(content), privateKeyOf(pair)).toString('base64')}`),
    ];
    return {
      'webhook-id': id,
      'webhook-timestamp': timestamp,
      'webhook-signature': signatures.join(' '),
    };
  }
}

function newPair(): Pair {
  const { privateKey } = generateKeyPairSync('ed25519');
  return {
    secret: `whsec_${randomBytes(32).toString('base64')}`,
    privateKey: privateKey.export({ type: 'pkcs8', format: 'der' }).toString('base64'),
  };
}

function checkSecret(secret: string, kept: Kept | undefined, now: number): void {
  const { webhookSecretBytesMin: min, webhookSecretBytesMax: max } = limits;
  const bytes = bytesOf(secret);
  if (bytes.length < min || bytes.length > max || `whsec_${bytes.toString('base64')}` !== secret)
    throw fault('/secret', `must be whsec_ and the base64 of ${min} to ${max} random bytes.`);
  const isFormer = kept?.former?.secret === secret && kept.former.until > now;
  if (kept?.current.secret === secret || isFormer)
    throw fault('/secret', 'is in use already: a rotation is to another one.');
}

function bytesOf(secret: string): Buffer {
  return Buffer.from(SECRET.exec(secret)?.[1] ?? '', 'base64');
}

function privateKeyOf({ privateKey }: Pair) {
  return createPrivateKey({ key: Buffer.from(privateKey, 'base64'), type: 'pkcs8', format: 'der' });
}

/** An Ed25519 key as SubjectPublicKeyInfo ends with its 32 bytes. */
function publicKeyOf(pair: Pair): string {
  const spki = createPublicKey(privateKeyOf(pair)).export({ type: 'spki', format: 'der' });
  return `whpk_${spki.subarray(-32).toString('base64')}`;
}
