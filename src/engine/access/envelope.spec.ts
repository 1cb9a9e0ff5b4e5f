import { createHash, hkdfSync } from 'node:crypto';
import { generalDecrypt } from 'jose';
import { beforeAll, describe, expect, it } from 'vitest';
import { derive, EnvelopeFault, newDerivation, open, readEnvelope, type Sealed, seal, verifierOf } from './envelope.js';

const ACCOUNT = 'https://alice.example/me';
const KEY = { kty: 'OKP', crv: 'Ed25519', x: 'AAAA', d: 'a private number' };
const secrets = { passphrase: 'six random words or more', recovery: 'ABCD-EFGH' };

type Members = Record<string, unknown>;
type Jwe = Members & { protected: string; ciphertext: string; iv: string; tag: string; recipients: Recipient[] };
type Recipient = Members & { encrypted_key: string; header: Members & { kdf: Members } };

describe('an envelope', () => {
  let sealed: Sealed;
  let keys: ReturnType<typeof derive> | undefined;
  beforeAll(async () => {
    sealed = await seal(ACCOUNT, KEY, secrets);
  });

  async function opened(text: string, way: 'passphrase' | 'recovery', secret: string, account = ACCOUNT) {
    const derivation = readEnvelope(text).derivations.get(way) ?? newDerivation();
    return open(text, account, way, (await derive(account, way, secret, derivation)).opening);
  }

  it.each(['passphrase', 'recovery'] as const)('opens by its %s', async (way) => {
    expect(await opened(sealed.text, way, secrets[way])).toEqual(KEY);
  });

  it('shows nothing of the key, and no secret', () => {
    for (const hidden of ['private number', KEY.d, secrets.passphrase, secrets.recovery])
      for (const form of [hidden, Buffer.from(hidden).toString('base64url')]) {
        expect(sealed.text).not.toContain(form);
        expect(JSON.stringify(sealed.verifiers)).not.toContain(form);
      }
  });

  it('is another one each time', async () => {
    const again = await seal(ACCOUNT, KEY, secrets);
    for (const part of ['protected', 'iv', 'ciphertext'] as const)
      expect(part === 'protected').toBe(JSON.parse(again.text)[part] === JSON.parse(sealed.text)[part]);
    expect(again.verifiers.passphrase).not.toBe(sealed.verifiers.passphrase);
  });

  it('opens by the passphrase however its letters are composed', async () => {
    const { text } = await seal(ACCOUNT, KEY, { passphrase: 'caf\u00e9 au lait' });
    expect(await opened(text, 'passphrase', 'cafe\u0301 au lait')).toEqual(KEY);
  });

  it.each([
    ['a wrong passphrase', 'passphrase', 'six random words or mode'],
    ['an empty passphrase', 'passphrase', ''],
    ['the recovery code in place of the passphrase', 'passphrase', secrets.recovery],
    ['the passphrase in place of the recovery code', 'recovery', secrets.passphrase],
  ] as const)('does not open by %s', async (_says, way, secret) => {
    await expect(opened(sealed.text, way, secret)).rejects.toThrow(/does not open/);
  });

  it('is its account’s alone', async () => {
    await expect(opened(sealed.text, 'passphrase', secrets.passphrase, `${ACCOUNT}2`)).rejects.toThrow(
      /another account/,
    );
    // Nor does it open once it says that it is another one’s.
    const jwe = JSON.parse(sealed.text) as Jwe;
    const head = JSON.parse(Buffer.from(jwe.protected, 'base64url').toString());
    jwe.protected = Buffer.from(JSON.stringify({ ...head, account: `${ACCOUNT}2` })).toString('base64url');
    await expect(opened(JSON.stringify(jwe), 'passphrase', secrets.passphrase, `${ACCOUNT}2`)).rejects.toThrow(
      /does not open/,
    );
  });

  it('has proofs that are worth nothing for opening it', async () => {
    const derivation = readEnvelope(sealed.text).derivations.get('passphrase') ?? newDerivation();
    const { proof, opening } = await derive(ACCOUNT, 'passphrase', secrets.passphrase, derivation);
    expect(verifierOf(proof)).toBe(sealed.verifiers.passphrase);
    expect(createHash('sha256').update(proof).digest('base64url')).toBe(sealed.verifiers.passphrase);
    expect(proof).not.toBe(opening.toString('base64url'));
    const byProof = open(sealed.text, ACCOUNT, 'passphrase', Buffer.from(proof, 'base64url'));
    await expect(byProof).rejects.toThrow(/does not open/);
  });

  it('derives its keys as it is written down', async () => {
    const { argon2Sync } = await import('node:crypto');
    const salt = Buffer.alloc(16, 7);
    const { opening, proof } = await derive(ACCOUNT, 'recovery', 'x', newDerivation(salt));
    const parameters = { message: 'x', nonce: salt, memory: 65536, passes: 3, parallelism: 1, tagLength: 64 };
    const seed = argon2Sync('argon2id', parameters);
    const part = (use: string) => hkdfSync('sha256', seed, '', `stargus envelope ${use} recovery ${ACCOUNT}`, 32);
    expect(opening).toEqual(Buffer.from(part('open')));
    expect(proof).toBe(Buffer.from(part('prove')).toString('base64url'));
  });

  it('is a JWE that others open as well', async () => {
    for (const secret of [{ passphrase: 'x' }, { passphrase: 'x', recovery: 'y' }]) {
      const { text } = await seal(ACCOUNT, KEY, secret);
      const derivation = readEnvelope(text).derivations.get('passphrase') ?? newDerivation();
      const { opening } = await derive(ACCOUNT, 'passphrase', 'x', derivation);
      const { plaintext } = await generalDecrypt(JSON.parse(text), opening);
      expect(JSON.parse(Buffer.from(plaintext).toString())).toEqual(KEY);
    }
  });

  const flip = (text: unknown) => (String(text).startsWith('A') ? 'B' : 'A') + String(text).slice(1);
  type Alter = (jwe: Jwe, own: Recipient, other: Recipient) => void;

  it.each<[string, Alter]>([
    ['its content', (jwe) => Object.assign(jwe, { ciphertext: flip(jwe.ciphertext) })],
    ['its tag', (jwe) => Object.assign(jwe, { tag: flip(jwe.tag) })],
    ['its nonce', (jwe) => Object.assign(jwe, { iv: flip(jwe.iv) })],
    ['its wrapped key', (_jwe, own) => Object.assign(own, { encrypted_key: flip(own.encrypted_key) })],
    ['the nonce of its wrapped key', (_jwe, { header }) => Object.assign(header, { iv: flip(header.iv) })],
    ['the tag of its wrapped key', (_jwe, { header }) => Object.assign(header, { tag: flip(header.tag) })],
    ['the key of the other way', (_jwe, own, other) => Object.assign(own, { encrypted_key: other.encrypted_key })],
    [
      'the header of the other way',
      (_jwe, own, other) => Object.assign(own, { ...other, header: { ...other.header, kid: 'passphrase' } }),
    ],
    ['its protected header', (jwe) => Object.assign(jwe, { protected: spaced(jwe.protected) })],
  ])('does not open when %s was altered', async (_says, alter) => {
    const derivation = readEnvelope(sealed.text).derivations.get('passphrase') ?? newDerivation();
    keys ??= derive(ACCOUNT, 'passphrase', secrets.passphrase, derivation);
    const { opening } = await keys;
    await expect(open(altered(alter), ACCOUNT, 'passphrase', opening)).rejects.toThrow(/does not open/);
    expect(await open(sealed.text, ACCOUNT, 'passphrase', opening)).toEqual(KEY);
  });

  it.each<[string, Alter]>([
    ['its salt', (_jwe, { header }) => Object.assign(header.kdf, { salt: flip(header.kdf.salt) })],
    ['its passes', (_jwe, { header }) => Object.assign(header.kdf, { passes: 4 })],
    ['its memory', (_jwe, { header }) => Object.assign(header.kdf, { memoryKiB: 65537 })],
    ['its parallelism', (_jwe, { header }) => Object.assign(header.kdf, { parallelism: 2 })],
    ['the names of its ways', (_jwe, own, other) => ([own.header.kid, other.header.kid] = ['recovery', 'passphrase'])],
  ])('does not open when %s was altered, by what the secret derives then', async (_says, alter) => {
    await expect(opened(altered(alter), 'passphrase', secrets.passphrase)).rejects.toThrow(/does not open/);
  });

  function altered(alter: Alter): string {
    const jwe = JSON.parse(sealed.text) as Jwe;
    const [own, other] = jwe.recipients as [Recipient, Recipient];
    alter(jwe, own, other);
    return JSON.stringify(jwe);
  }

  const spaced = (text: string) =>
    Buffer.from(Buffer.from(text, 'base64url').toString().replace('}', ' }')).toString('base64url');

  const header = (members: Members) => (jwe: Jwe) => {
    const head = JSON.parse(Buffer.from(jwe.protected, 'base64url').toString());
    jwe.protected = Buffer.from(JSON.stringify({ ...head, ...members })).toString('base64url');
  };
  const kdf = (members: Members) => (jwe: Jwe) =>
    void Object.assign((jwe.recipients[0] as Recipient).header.kdf, members);
  const recipient = (members: Members) => (jwe: Jwe) =>
    void Object.assign((jwe.recipients[0] as Recipient).header, members);
  it.each<[string, (jwe: Jwe) => void, RegExp]>([
    ['16 GiB of memory', kdf({ memoryKiB: 16 * 1024 * 1024 }), /memoryKiB must be/],
    ['a little more memory than is allowed', kdf({ memoryKiB: 256 * 1024 + 1 }), /memoryKiB must be/],
    ['little memory', kdf({ memoryKiB: 8 }), /memoryKiB must be/],
    ['a little less memory than is needed', kdf({ memoryKiB: 64 * 1024 - 1 }), /memoryKiB must be/],
    ['half a kibibyte', kdf({ memoryKiB: 65536.5 }), /memoryKiB must be/],
    ['memory as text', kdf({ memoryKiB: '65536' }), /memoryKiB must be/],
    ['a million passes', kdf({ passes: 1e6 }), /passes must be/],
    ['one pass', kdf({ passes: 1 }), /passes must be/],
    ['no passes', kdf({ passes: undefined }), /passes must be/],
    ['a thousand threads', kdf({ parallelism: 1000 }), /parallelism must be/],
    ['no thread', kdf({ parallelism: 0 }), /parallelism must be/],
    ['no salt', kdf({ salt: '' }), /salt must be/],
    ['a short salt', kdf({ salt: 'AAAA' }), /salt must be/],
    ['a long salt', kdf({ salt: 'A'.repeat(100) }), /salt must be/],
    ['another derivation', kdf({ name: 'pbkdf2' }), /argon2id/],
    ['an unknown member of the derivation', kdf({ x: 1 }), /unknown member/],
    [
      'PBES2, which has its own derivation',
      recipient({ alg: 'PBES2-HS256+A128KW', p2c: 1e9, p2s: 'AAAA' }),
      /unknown member|alg must be/,
    ],
    ['the key as it is', recipient({ alg: 'dir' }), /alg must be/],
    ['another wrapping', recipient({ alg: 'A128KW' }), /alg must be/],
    ['an unknown way', recipient({ kid: 'fingerprint' }), /its way/],
    ['a way twice', recipient({ kid: 'recovery' }), /twice/],
    ['another encryption', header({ enc: 'A128CBC-HS256' }), /A256GCM/],
    ['compression', header({ zip: 'DEF' }), /unknown member/],
    ['a critical extension', header({ crit: ['exp'] }), /unknown member/],
    ['another type', header({ typ: 'JOSE' }), /typ must be/],
    ['no account', header({ account: undefined }), /name its account/],
    ['no recipients', (jwe) => (jwe.recipients = []), /1 to 2 recipients/],
    [
      'a hundred recipients',
      (jwe) => (jwe.recipients = Array(100).fill(jwe.recipients[0])),
      /1 to 2 recipients|at most 16384/,
    ],
    ['a recipient that is null', (jwe) => (jwe.recipients = [null as never]), /must be an object/],
    ['an unprotected header', (jwe) => (jwe.unprotected = { alg: 'dir' }), /unknown member/],
    ['additional data', (jwe) => (jwe.aad = 'AAAA'), /unknown member/],
    ['16 KiB of content', (jwe) => (jwe.ciphertext = 'A'.repeat(16 * 1024)), /at most 16384 bytes/],
  ])('that asks for %s is refused before anything is derived', (_says, alter, message) => {
    const jwe = JSON.parse(sealed.text) as Jwe;
    alter(jwe);
    expect(() => readEnvelope(JSON.stringify(jwe))).toThrow(message);
    expect(() => readEnvelope(JSON.stringify(jwe))).toThrow(EnvelopeFault);
  });

  it.each(['', 'x', '[]', 'null', '{}', '{"protected":1}', '{"protected":"e30","recipients":[]}'])(
    'is not %j',
    (text) => {
      expect(() => readEnvelope(text)).toThrow(EnvelopeFault);
    },
  );
});
