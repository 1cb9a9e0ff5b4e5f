/** Where the public keys of an account are found: what logging in needs to know of identities. */

/** A public key as a JWK (RFC 7517): RSA, Ed25519 or P-256, without anything private. */
export interface PublicJwk {
  readonly kty: string;
  readonly [member: string]: unknown;
}

/** The algorithms that a signature by a key may have: by the key's kind, never by what the signature says of itself. */
export type SigningAlgorithm = 'PS256' | 'EdDSA' | 'ES256';

export interface AccountKey {
  readonly jwk: PublicJwk;
  /** The RFC 7638 thumbprint (SHA-256, base64url). */
  readonly kid: string;
  readonly algorithm: SigningAlgorithm;
}

export interface KeySource {
  /**
   * The key of an account with this thumbprint: of one that this server hosts from its database, of a foreign one from its
   * document. Undefined where the account has no such key, or there is no such account. Refuses with `unauthenticated` what
   * can't be read or is no longer what was pinned, and says why.
   */
  keyOf(account: string, kid: string): Promise<AccountKey | undefined>;
  /**
   * The same once somebody has shown that they hold the key: what the account's document says of its keys is kept from now on. Only
   * this writes, so that nobody brings keys in, or takes them out, for an account that isn't theirs.
   */
  settle(account: string, kid: string): Promise<AccountKey | undefined>;
}
