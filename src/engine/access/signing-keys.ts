/**
 * The server's own keys, by which its access tokens are known: Ed25519, kept in the database, so that all nodes have the same
 * ones. The first is made by the first node; each is followed by another after a time, and the newest signs. Several are published at
 * once: a token outlives the moment at which its key is followed.
 */
import type { webcrypto } from 'node:crypto';
import { exportJWK, generateKeyPair, importJWK, type JWK, SignJWT } from 'jose';
import { limits } from '../limits.js';
import type { JsonObject } from '../state/json.js';
import { thumbprintOf } from './jwk.js';
import type { PublicJwk } from './keys.js';
import type { LoginStore, StoredSigningKey } from './login-store.js';
import { isSealed, type Seal } from './secrets.js';

const ALGORITHM = 'EdDSA';
/** How often an unknown kid may send a node to the database. */
const LOOK_MS = 1000;

/** A key that signs, under its name: the two must not come apart when it is followed meanwhile. */
interface Signer {
  readonly key: webcrypto.CryptoKey;
  readonly kid: string;
}

export class SigningKeys {
  #keys: readonly StoredSigningKey[] = [];
  #signing: Promise<Signer> | undefined;
  #lookedAt = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly store: LoginStore,
    private readonly seal: Seal,
    private readonly now: () => number,
  ) {}

  /** Reads the keys, and makes the first where there is none. To be awaited before tokens are. */
  async open(): Promise<void> {
    await this.#read();
    const newest = this.#keys.at(-1);
    // A key that lay open is replaced as soon as there is something to close it with.
    if (!newest || (this.seal.tight && !isSealed(newest.privateJwk))) await this.#follow();
    await this.#signer();
  }

  /** Follows a key that is old, and forgets those that were followed long ago. */
  async sweep(): Promise<void> {
    await this.#read();
    const newest = this.#keys.at(-1);
    if (!newest || newest.createdAt < (await this.store.now()) - limits.signingKeyMs) await this.#follow();
    await this.store.deleteSigningKeys(limits.signingKeyFollowedMs);
    await this.#read();
  }

  async sign(claims: JsonObject, typ: string): Promise<string> {
    const { key, kid } = await this.#signer();
    return new SignJWT(claims).setProtectedHeader({ typ, alg: ALGORITHM, kid }).sign(key);
  }

  /** The public key with this thumbprint; undefined where it is none of ours. */
  async keyOf(kid: string): Promise<{ jwk: PublicJwk; algorithm: typeof ALGORITHM } | undefined> {
    let key = this.#keys.find((known) => known.kid === kid);
    // Another node may have made one.
    if (!key && this.now() >= this.#lookedAt + LOOK_MS) {
      await this.#read();
      key = this.#keys.find((known) => known.kid === kid);
    }
    return key && { jwk: JSON.parse(key.publicJwk) as PublicJwk, algorithm: ALGORITHM };
  }

  /** The JWK Set, the newest first. */
  get published(): JsonObject[] {
    return this.#keys
      .map(({ publicJwk, kid }) => ({ ...(JSON.parse(publicJwk) as JsonObject), kid, alg: ALGORITHM, use: 'sig' }))
      .reverse();
  }

  async #read(): Promise<void> {
    this.#lookedAt = this.now();
    const newest = this.#keys.at(-1)?.serial;
    this.#keys = await this.store.signingKeys();
    if (this.#keys.at(-1)?.serial !== newest) this.#signing = undefined;
  }

  /** Makes the next key, unless another node is quicker. */
  async #follow(): Promise<void> {
    const { publicKey, privateKey } = await generateKeyPair(ALGORITHM, { extractable: true });
    const jwk = await exportJWK(publicKey);
    await this.store.addSigningKey({
      serial: (this.#keys.at(-1)?.serial ?? 0) + 1,
      kid: await thumbprintOf(jwk as unknown as PublicJwk),
      publicJwk: JSON.stringify(jwk),
      privateJwk: this.seal.close(JSON.stringify(await exportJWK(privateKey))),
    });
    await this.#read();
  }

  /** The newest key. One that couldn't be opened is tried again. */
  #signer(): Promise<Signer> {
    if (this.#signing !== undefined) return this.#signing;
    const signing = this.#open(this.#keys.at(-1) as StoredSigningKey).catch((error: unknown) => {
      if (this.#signing === signing) this.#signing = undefined;
      throw error;
    });
    this.#signing = signing;
    return signing;
  }

  async #open({ privateJwk, kid }: StoredSigningKey): Promise<Signer> {
    const text = this.seal.open(privateJwk);
    if (text === undefined) {
      throw new Error(
        'STARGUS_SECRET is not the one that the key in the database, which signs tokens, was encrypted under. Set that one; or delete the rows of the table signing_key, and new keys are made (all access tokens are void then).',
      );
    }
    return { key: (await importJWK(JSON.parse(text) as JWK, ALGORITHM)) as webcrypto.CryptoKey, kid };
  }
}
