/** Signatures in the manner of Project Wycheproof: what a lax verifier would take, by key kind; and the strict reading of texts. */
import { constants, createPrivateKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { publicKeyOf, thumbprintOf } from './jwk.js';
import { checkSigned, hasDuplicates, type Purpose, readSigned } from './jws.js';
import type { PublicJwk } from './keys.js';

const PURPOSE: Purpose = { name: 'The text', typ: 't', header: [], lengthMax: 8192 };
const base64 = (bytes: string | Buffer) => Buffer.from(bytes).toString('base64url');
const inputOf = (alg: string) => `${base64(JSON.stringify({ typ: 't', alg }))}.${base64('{"x":1}')}`;

async function accepts(alg: string, jwk: object, signature: Buffer): Promise<boolean> {
  try {
    const key = publicKeyOf(jwk as never);
    if (!key) return false;
    await checkSigned(readSigned(`${inputOf(alg)}.${base64(signature)}`, PURPOSE), key, PURPOSE.name);
    return true;
  } catch (error) {
    expect((error as { code: string }).code).toBe('unauthenticated');
    return false;
  }
}

const jwkOf = (key: KeyObject) => key.export({ format: 'jwk' }) as unknown as PublicJwk;
const big = (bytes: Buffer) => BigInt(`0x${bytes.toString('hex')}`);
const bytesOf = (value: bigint, length = 32) => Buffer.from(value.toString(16).padStart(length * 2, '0'), 'hex');

describe('ES256', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwk = jwkOf(publicKey);
  const make = (dsaEncoding: 'ieee-p1363' | 'der', hash = 'sha256') =>
    sign(hash, Buffer.from(inputOf('ES256')), { key: privateKey, dsaEncoding });
  const right = make('ieee-p1363');
  const r = right.subarray(0, 32);
  const s = right.subarray(32);
  const n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
  const max = Buffer.alloc(32, 0xff);
  const zero = Buffer.alloc(32);

  it('takes what is right', async () => expect(await accepts('ES256', jwk, right)).toBe(true));

  const wrong: [says: string, signature: Buffer][] = [
    ['r and s are zero', Buffer.alloc(64)],
    ['r is zero', Buffer.concat([zero, s])],
    ['s is zero', Buffer.concat([r, zero])],
    ['r is the order', Buffer.concat([bytesOf(n), s])],
    ['s is the order', Buffer.concat([r, bytesOf(n)])],
    ['r and s are the order', Buffer.concat([bytesOf(n), bytesOf(n)])],
    ['r is one, s is zero', Buffer.concat([bytesOf(1n), zero])],
    ['r and s are one', Buffer.concat([bytesOf(1n), bytesOf(1n)])],
    ['s is all ones', Buffer.concat([r, max])],
    ['s is above the order', Buffer.concat([r, bytesOf((big(s) + n) & ((1n << 256n) - 1n))])],
    ['r and s are exchanged', Buffer.concat([s, r])],
    ['it is DER', make('der')],
    ['it is truncated', right.subarray(0, 63)],
    ['it has one byte more', Buffer.concat([right, Buffer.alloc(1)])],
    ['it has a zero before each half', Buffer.concat([Buffer.alloc(1), r, Buffer.alloc(1), s])],
    ['it is of another hash', make('ieee-p1363', 'sha384')],
    ['it is empty but for a zero', Buffer.alloc(1)],
  ];
  it.each(wrong)('refuses a signature where %s', async (_says, signature) => {
    expect(await accepts('ES256', jwk, signature)).toBe(false);
  });

  const keys: [says: string, jwk: object][] = [
    ['a point that isn’t on the curve', { ...jwk, y: jwk.x }],
    ['the point at infinity', { ...jwk, x: base64(zero), y: base64(zero) }],
    ['a coordinate beyond the field', { ...jwk, x: base64(max) }],
    ['another curve’s name', { ...jwk, crv: 'P-384' }],
    ['secp256k1', { ...jwk, crv: 'secp256k1' }],
    ['a private member', jwkOf(privateKey)],
    ['a short coordinate', { ...jwk, x: 'AA' }],
    ['no coordinate', { kty: 'EC', crv: 'P-256', x: jwk.x }],
  ];
  it.each(keys)('refuses a key with %s', async (_says, key) => expect(await accepts('ES256', key, right)).toBe(false));
});

describe('Ed25519', () => {
  // The key of RFC 8032, 7.1, test 1.
  const seed = Buffer.from('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60', 'hex');
  const x = Buffer.from('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a', 'hex');
  const privateKey = createPrivateKey({
    key: { kty: 'OKP', crv: 'Ed25519', d: base64(seed), x: base64(x) },
    format: 'jwk',
  });
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: base64(x) };
  const right = sign(null, Buffer.from(inputOf('EdDSA')), privateKey);
  const L = 2n ** 252n + 27742317777372353535851937790883648493n;
  const R = right.subarray(0, 32);
  const S = right.subarray(32);
  const little = (value: bigint) => Buffer.from(bytesOf(value)).reverse();
  const scalar = big(Buffer.from(S).reverse());

  it('takes what is right, under both of its names', async () => {
    expect(await accepts('EdDSA', jwk, right)).toBe(true);
    const renamed = sign(null, Buffer.from(inputOf('Ed25519')), privateKey);
    expect(await accepts('Ed25519', jwk, renamed)).toBe(true);
  });

  const wrong: [says: string, signature: Buffer][] = [
    ['all is zero', Buffer.alloc(64)],
    ['S is zero', Buffer.concat([R, Buffer.alloc(32)])],
    ['S is the order', Buffer.concat([R, little(L)])],
    ['S is the order less one', Buffer.concat([R, little(L - 1n)])],
    ['S has the order added', Buffer.concat([R, little(scalar + L)])],
    ['S has twice the order added', Buffer.concat([R, little(scalar + 2n * L)])],
    ['S is all ones', Buffer.concat([R, Buffer.alloc(32, 0xff)])],
    ['R is zero', Buffer.concat([Buffer.alloc(32), S])],
    ['R is the identity', Buffer.concat([little(1n), S])],
    ['R is not canonical', Buffer.concat([Buffer.alloc(32, 0xff), S])],
    ['R has another sign', Buffer.concat([R.subarray(0, 31), Buffer.from([(R[31] as number) ^ 0x80]), S])],
    ['it is truncated', right.subarray(0, 63)],
    ['it has one byte more', Buffer.concat([right, Buffer.alloc(1)])],
    ['it is of another text', sign(null, Buffer.from('other'), privateKey)],
  ];
  it.each(wrong)('refuses a signature where %s', async (_says, signature) => {
    expect(await accepts('EdDSA', jwk, signature)).toBe(false);
  });

  const weak = [
    '0100000000000000000000000000000000000000000000000000000000000000',
    'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    '0000000000000000000000000000000000000000000000000000000000000000',
    '0000000000000000000000000000000000000000000000000000000000000080',
    '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
    '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
    'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
  ];
  it.each(weak)('refuses the weak key %s, whatever is signed', async (hex) => {
    const key = { ...jwk, x: base64(Buffer.from(hex, 'hex')) };
    // The identity as R and nothing as S: what fits any text where the key is the identity.
    const signature = Buffer.concat([little(1n), Buffer.alloc(32)]);
    expect(await accepts('EdDSA', key, signature)).toBe(false);
    expect(publicKeyOf(key)).toBeUndefined();
  });

  it('is not Ed448, nor X25519', async () => {
    for (const crv of ['Ed448', 'X25519']) expect(await accepts('EdDSA', { ...jwk, crv }, right)).toBe(false);
  });
});

describe('PS256', () => {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const jwk = jwkOf(publicKey);
  const data = Buffer.from(inputOf('PS256'));
  const pss = (saltLength: number, hash = 'sha256') =>
    sign(hash, data, { key: privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength });
  const right = pss(32);

  it('takes what is right', async () => expect(await accepts('PS256', jwk, right)).toBe(true));

  const modulus = big(Buffer.from(jwk.n as string, 'base64url'));
  const wrong: [says: string, signature: Buffer][] = [
    ['the padding is PKCS #1', sign('sha256', data, privateKey)],
    ['the salt is empty', pss(0)],
    ['the salt is of 20 bytes', pss(20)],
    ['the salt is as long as can be', pss(222)],
    ['the hash is SHA-384', pss(32, 'sha384')],
    ['the hash is SHA-1', pss(20, 'sha1')],
    ['all is zero', Buffer.alloc(256)],
    ['it is one', bytesOf(1n, 256)],
    ['it is the modulus', bytesOf(modulus, 256)],
    ['it is the modulus less one', bytesOf(modulus - 1n, 256)],
    ['it is truncated', right.subarray(1)],
    ['it has a zero before it', Buffer.concat([Buffer.alloc(1), right])],
    ['it has a byte more', Buffer.concat([right, Buffer.alloc(1)])],
  ];
  it.each(wrong)('refuses a signature where %s', async (_says, signature) => {
    expect(await accepts('PS256', jwk, signature)).toBe(false);
  });

  it('refuses PKCS #1 by its own name, and other hashes', async () => {
    for (const alg of ['RS256', 'PS384', 'PS512', 'RSA-OAEP']) expect(await accepts(alg, jwk, right)).toBe(false);
  });

  it('refuses small, huge and forgeable keys', () => {
    const small = jwkOf(generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey);
    for (const key of [
      small,
      { ...jwk, e: 'AQ' },
      { ...jwk, e: 'Aw' },
      { ...jwk, n: 'A'.repeat(1400) },
      { ...jwk, e: 'A'.repeat(300) },
    ])
      expect(publicKeyOf(key as never)).toBeUndefined();
  });
});

describe('keys', () => {
  it('what is no public key of a kind that is taken is none', () => {
    const others = [
      null,
      undefined,
      'x',
      [],
      {},
      { kty: 'oct', k: 'AA' },
      { kty: 'EC' },
      { kty: 'OKP', crv: 'Ed25519', x: 'AA' },
      { kty: 'AKP' },
    ];
    for (const other of others) expect(publicKeyOf(other as never)).toBeUndefined();
  });

  it('nothing but what makes the key is kept, and its thumbprint is that of RFC 8037', async () => {
    const key = publicKeyOf({
      kty: 'OKP',
      crv: 'Ed25519',
      x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo',
      kid: 'x',
      alg: 'EdDSA',
    });
    expect(Object.keys(key?.jwk ?? {}).sort()).toEqual(['crv', 'kty', 'x']);
    expect(await thumbprintOf(key?.jwk as PublicJwk)).toBe('kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k');
  });
});

describe('members that are named twice', () => {
  it.each([
    '{"a":1,"a":2}',
    '{"a":1,"\\u0061":2}',
    '{"x":{"a":1,"b":2,"a":3}}',
    '{"x":[{"a":1,"a":1}]}',
    '{"a":"}","a":1}',
    '{"__proto__":1,"__proto__":2}',
  ])('are found: %s', (text) => expect(hasDuplicates(text)).toBe(true));
  it.each([
    '{"a":{"a":1}}',
    '{"a":["a","a"]}',
    '{"a":"\\"a\\":1","b":1}',
    '[{"a":1},{"a":1}]',
    '{}',
    '{"a":"x,y","b":"a"}',
  ])('are not seen where there are none: %s', (text) => expect(hasDuplicates(text)).toBe(false));
});
