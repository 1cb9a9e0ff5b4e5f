/** An account's own key, and the assertion by which it logs in (docs/API.md#logging-in). */
import { calculateJwkThumbprint, importJWK, type JWK, SignJWT } from 'jose';
import { StargusError } from './errors.js';
import type { KeyFile } from './platform.js';
import { randomName } from './random-name.js';

/** The longest that the server takes. */
const ASSERTION_S = 60;

export interface Challenge {
  readonly nonce: string;
  readonly audience: string;
}

export class AccountKey {
  readonly account: string;
  readonly #key: CryptoKey;
  readonly #algorithm: string;
  readonly #kid: string;

  private constructor(account: string, key: CryptoKey, algorithm: string, kid: string) {
    this.account = account;
    this.#key = key;
    this.#algorithm = algorithm;
    this.#kid = kid;
  }

  /** @throws StargusError `loginFailed` */
  static async from({ account, jwk }: KeyFile): Promise<AccountKey> {
    try {
      const algorithm = algorithmOf(jwk as JWK);
      const { kty, crv, x, y, n, e } = jwk as JWK;
      const kid = await calculateJwkThumbprint({ kty, crv, x, y, n, e } as JWK);
      const key = (await importJWK({ ...(jwk as JWK), alg: algorithm }, algorithm)) as CryptoKey;
      return new AccountKey(account, key, algorithm, kid);
    } catch (cause) {
      throw new StargusError(
        'loginFailed',
        'That is no private key which accounts have: Ed25519, P-256, or RSA of 2048 bits or more, as a JWK.',
        { cause },
      );
    }
  }

  /** @param iat seconds since 1970, the server's @param thumbprint of the key that the tokens are to be bound to */
  async assertion({ nonce, audience }: Challenge, iat: number, thumbprint: string | undefined): Promise<string> {
    return new SignJWT({
      iss: this.account,
      sub: this.account,
      aud: audience,
      nonce,
      jti: randomName(),
      iat,
      exp: iat + ASSERTION_S,
      ...(thumbprint !== undefined && { cnf: { jkt: thumbprint } }),
    })
      .setProtectedHeader({ typ: 'stargus-login+jwt', alg: this.#algorithm, kid: this.#kid })
      .sign(this.#key);
  }
}

/** What a key is made for follows from its kind. */
function algorithmOf({ kty, crv, d }: JWK): string {
  if (typeof d !== 'string') throw new TypeError('The key has no private half.');
  if (kty === 'OKP' && crv === 'Ed25519') return 'EdDSA';
  if (kty === 'EC' && crv === 'P-256') return 'ES256';
  if (kty === 'RSA') return 'PS256';
  throw new TypeError('No key of this kind is taken.');
}
