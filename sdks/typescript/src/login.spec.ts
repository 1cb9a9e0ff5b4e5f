/** The parts of a login that can be judged without a server. */
import { describe, expect, test } from 'vitest';
import { newDerivation, seal, verifierOf } from '../../../src/engine/access/envelope.js';
import { derivationOf, deriveKeys, openEnvelope } from './envelope.js';
import { isProblem, ProblemError } from './errors.js';
import { isSame } from './json.js';
import { renewAt, ServerTime } from './token-life.js';

describe('envelopes', () => {
  const account = 'https://stargus.example/id/ann';
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: 'x', d: 'd' };

  test('one that the server’s own tools sealed opens, by proof and by key', { timeout: 60_000 }, async () => {
    const { text, verifiers } = await seal(account, jwk, { passphrase: 'Ångström ﬁsh' });
    const [recipient] = (JSON.parse(text) as { recipients: { header: { kdf: unknown } }[] }).recipients;
    // The same letters, composed otherwise.
    const { opening, proof } = await deriveKeys(
      account,
      'passphrase',
      'A\u030angstro\u0308m fish',
      derivationOf(recipient?.header.kdf),
    );
    expect(verifierOf(proof)).toBe(verifiers.passphrase);
    const opened = await openEnvelope(text, account, 'passphrase', opening);
    expect(isSame(opened, { account, jwk })).toBe(true);
    for (const [what, otherAccount, otherKey] of [
      [text, 'https://stargus.example/id/bob', opening],
      [text, account, new Uint8Array(32)],
      [text.replace('"ciphertext":"', '"ciphertext":"A'), account, opening],
      ['{}', account, opening],
      [undefined, account, opening],
    ] as const)
      await expect(openEnvelope(what, otherAccount, 'passphrase', otherKey)).rejects.toMatchObject({
        code: 'loginFailed',
      });
  });

  test.each([
    ['cheaper memory', { memoryKiB: 8 }],
    ['fewer passes', { passes: 1 }],
    ['more than this machine should bear', { memoryKiB: 1 << 20 }],
    ['too many passes', { passes: 11 }],
    ['too parallel', { parallelism: 5 }],
    ['half a number', { passes: 3.5 }],
    ['another derivation', { name: 'scrypt' }],
    ['a short salt', { salt: 'AAAA' }],
    ['no salt', { salt: undefined }],
  ])('%s is refused', (_, altered) => {
    expect(() => derivationOf({ ...newDerivation(), ...altered })).toThrow(
      expect.objectContaining({ code: 'loginFailed' }),
    );
  });
});

describe('time', () => {
  test('a token is renewed when nine tenths of its life are over, whatever time it is', () => {
    expect(renewAt(5_000, 600_000)).toBe(545_000);
    expect(renewAt(5_000, -1)).toBe(5_000);
  });

  test('the server’s time goes on by our clock, and a year’s error of ours harms nothing', () => {
    const time = new ServerTime('Thu, 01 Jan 2026 00:00:00 GMT', 1_000, Date.parse('2027-01-01T00:00:00Z'));
    expect(time.seconds(1_000)).toBe(Date.parse('2026-01-01T00:00:00Z') / 1000);
    expect(time.seconds(31_000)).toBe(Date.parse('2026-01-01T00:00:30Z') / 1000);
  });

  test('where the answer’s date is hidden, ours must do', () => {
    expect(new ServerTime(undefined, 0, 7_000).seconds(1_000)).toBe(8);
    expect(new ServerTime('yesterday', 0, 7_000).seconds(1_000)).toBe(8);
  });
});

test('errors are told apart by their codes', () => {
  const problem = new ProblemError(
    { code: 'quotaOfMoons', detail: 'The moon is full.', retryable: false, moons: 1 },
    418,
  );
  expect(isProblem(problem, 'quotaOfMoons', 'other')).toBe(true);
  expect(isProblem(problem, 'locked')).toBe(false);
  expect(isProblem(problem)).toBe(true);
  expect(isProblem(new Error('x'))).toBe(false);
  expect(problem).toMatchObject({ message: 'The moon is full.', status: 418, problem: { moons: 1 } });
});
