import { expect, it } from 'vitest';
import { digestOf, isSealed, newSecret, Seal } from './secrets.js';

it('secrets are random, and their digests tell nothing twice', () => {
  const secrets = Array.from({ length: 100 }, newSecret);
  expect(new Set(secrets).size).toBe(100);
  for (const secret of secrets) expect(secret).toMatch(/^[\w-]{43}$/);
  expect(digestOf('abc')).toBe('ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0');
});

it('what is sealed is opened by the same secret for the same purpose, and by nothing else', () => {
  const seal = new Seal('a secret of the operator', 'test');
  const kept = seal.close('{"d":"é"}');
  expect([seal.tight, isSealed(kept), kept.includes('d":')]).toEqual([true, true, false]);
  expect(seal.close('{"d":"é"}')).not.toBe(kept);
  expect(new Seal('a secret of the operator', 'test').open(kept)).toBe('{"d":"é"}');
  for (const other of [
    new Seal('another secret', 'test'),
    new Seal('a secret of the operator', 'other'),
    new Seal('', 'test'),
  ])
    expect(other.open(kept)).toBeUndefined();
  const bytes = Buffer.from(kept.slice('sealed:'.length), 'base64url');
  for (const at of [0, 12, bytes.length - 1]) {
    const tampered = Buffer.from(bytes);
    tampered[at] = (tampered[at] as number) ^ 1;
    expect(seal.open(`sealed:${tampered.toString('base64url')}`)).toBeUndefined();
  }
});

it('without a secret texts are kept as they are, and can be read later under one', () => {
  const open = new Seal('', 'test');
  expect([open.tight, open.close('{}'), open.open('{}')]).toEqual([false, '{}', '{}']);
  expect(new Seal('a secret', 'test').open('{}')).toBe('{}');
});
