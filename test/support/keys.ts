/** Keys, proofs and envelopes for tests about accounts: made by Node's crypto and jose, not by the code under test. */
import { createHash, generateKeyPairSync, type KeyObject, randomUUID } from 'node:crypto';
import { CompactSign, calculateJwkThumbprint, type JWK } from 'jose';

export interface TestKey {
  readonly privateKey: KeyObject;
  readonly jwk: JWK;
  readonly kid: string;
  readonly alg: 'EdDSA' | 'ES256' | 'PS256';
}

/** A new key pair. `bits` is for RSA. */
export async function newKey(alg: TestKey['alg'] = 'EdDSA', bits = 2048): Promise<TestKey> {
  const pair =
    alg === 'EdDSA'
      ? generateKeyPairSync('ed25519')
      : alg === 'ES256'
        ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
        : generateKeyPairSync('rsa', { modulusLength: bits });
  const jwk = pair.publicKey.export({ format: 'jwk' }) as JWK;
  return { privateKey: pair.privateKey, jwk, kid: await calculateJwkThumbprint(jwk), alg };
}

export type Members = Record<string, unknown>;

export function jws(key: TestKey, header: Members, claims: unknown): Promise<string> {
  return new CompactSign(Buffer.from(JSON.stringify(claims)))
    .setProtectedHeader({ alg: key.alg, kid: key.kid, ...header })
    .sign(key.privateKey);
}

/** A proof as docs/IDENTITIES.md has it; `claims` and `header` replace what it would have. */
export function proof(
  key: TestKey,
  deed: { account: string; audience: string; act: string; about: string },
  { claims = {}, header = {} }: { claims?: Members; header?: Members } = {},
): Promise<string> {
  const { account, audience, act, about } = deed;
  return jws(
    key,
    { typ: 'stargus-proof+jwt', ...header },
    { iss: account, aud: audience, act, about, iat: Math.floor(Date.now() / 1000), jti: randomUUID(), ...claims },
  );
}

export function rotation(key: TestKey, account: string, next: JWK, claims: Members = {}): Promise<string> {
  const iat = Math.floor(Date.now() / 1000);
  return jws(key, { typ: 'stargus-rotation+jwt' }, { iss: account, jwk: next, iat, ...claims });
}

/** The digest that a proof for an envelope is about. */
export function digestOf(envelope: string, verifiers: Readonly<Record<string, string>>): string {
  const lines = Object.entries(verifiers).map(([way, verifier]) => `${way} ${verifier}`);
  return createHash('sha256')
    .update([envelope, ...lines.sort()].join('\n'))
    .digest('base64url');
}
