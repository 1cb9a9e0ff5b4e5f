/** A key pair for one login, and the proofs of possession that it signs (DPoP, RFC 9449): one for each request. The private half can't be read. */
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import { toBase64Url } from './base64url.js';
import { randomName } from './random-name.js';

export class OneTimeKey {
  readonly #privateKey: CryptoKey;
  readonly #jwk: JWK;
  /** The public half's RFC 7638 thumbprint. */
  readonly thumbprint: string;

  private constructor(privateKey: CryptoKey, jwk: JWK, thumbprint: string) {
    this.#privateKey = privateKey;
    this.#jwk = jwk;
    this.thumbprint = thumbprint;
  }

  static async make(): Promise<OneTimeKey> {
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: false });
    const { kty, crv, x, y } = await exportJWK(publicKey);
    const jwk = { kty, crv, x, y } as JWK;
    return new OneTimeKey(privateKey, jwk, await calculateJwkThumbprint(jwk));
  }

  /** @param url without query @param iat seconds since 1970, the server's @param digest of the access token that goes along */
  async proof(method: string, url: string, iat: number, digest?: string): Promise<string> {
    return new SignJWT({ jti: randomName(), htm: method, htu: url, iat, ...(digest !== undefined && { ath: digest }) })
      .setProtectedHeader({ typ: 'dpop+jwt', alg: 'ES256', jwk: this.#jwk })
      .sign(this.#privateKey);
  }
}

/** base64url of a text's SHA-256. */
export async function digestOf(text: string): Promise<string> {
  return toBase64Url(new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text))));
}
