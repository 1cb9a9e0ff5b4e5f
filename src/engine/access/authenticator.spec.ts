import { beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../limits.js';
import type { AccessTokens, VerifiedToken } from './access-tokens.js';
import type { ApiKeys } from './api-keys.js';
import { Authenticator } from './authenticator.js';
import type { Proofs } from './proofs.js';
import type { Revocations } from './revocations.js';

const OPERATOR = 'operator-key-of-the-tests-0123456789';

describe('who sends a token', () => {
  let now: number;
  let verified: string[];
  let revoked: Set<string>;
  let authenticator: Authenticator;
  /** Tokens are named for their logins; `bound…` ones are bound to a key. */
  const tokenOf = (login: string): VerifiedToken => ({
    ...{ subject: `https://people.example/${login}`, login, lineage: [], authenticatedAt: 0, restrictions: [] },
    ...{ thumbprint: login.startsWith('bound') ? 'k' : undefined, application: undefined, publisher: undefined },
    ...{ assistants: [], channel: undefined, expiresAt: 1000 },
  });
  beforeEach(() => {
    [now, verified, revoked] = [0, [], new Set()];
    const tokens = {
      verify: async (token: string) => {
        verified.push(token);
        return tokenOf(token);
      },
    } as unknown as AccessTokens;
    const apiKeys = {
      verify: async (key: string) => {
        verified.push(key);
        return { id: key, isUnbound: false, restrictions: [], login: key };
      },
    } as unknown as ApiKeys;
    const proofs = { check: async (proof: string) => proof } as unknown as Proofs;
    const revocations = { covers: ({ login }: { login: string }) => revoked.has(login) } as unknown as Revocations;
    const noChannel = () => Promise.reject(new Error('There is none.'));
    authenticator = new Authenticator(tokens, apiKeys, proofs, revocations, noChannel, () => now, OPERATOR);
  });

  it('is verified once, and remembered until the token is over', async () => {
    expect(authenticator.known('a')).toBeUndefined();
    const subject = await authenticator.bearer('a');
    expect(authenticator.known('a')).toBe(subject);
    expect(await authenticator.bearer('a')).toBe(subject);
    expect(verified).toEqual(['a']);
    now = 999;
    expect(authenticator.known('a')).toBe(subject);
    now = 1000;
    expect(authenticator.known('a')).toBeUndefined();
    await authenticator.bearer('a').catch(() => undefined);
    expect(verified).toEqual(['a', 'a']);
  });

  it('is forgotten when the login is revoked, also while the token is being verified', async () => {
    await authenticator.bearer('a');
    revoked.add('a').add('b');
    expect(authenticator.known('a')).toBeUndefined();
    for (const token of ['a', 'b']) await expect(authenticator.bearer(token)).rejects.toThrow('revoked');
    expect(authenticator.known('b')).toBeUndefined();
  });

  it('is never known by a bound token alone, though that was taken with a proof', async () => {
    expect(await authenticator.proven('bound', 'k', { method: 'GET', target: '/' })).toMatchObject({ isBound: true });
    expect(authenticator.known('bound')).toBeUndefined();
    await expect(authenticator.bearer('bound')).rejects.toThrow('bound to a key');
    await expect(authenticator.proven('bound', 'other', { method: 'GET', target: '/' })).rejects.toThrow('another key');
    await expect(authenticator.proven('a', 'k', { method: 'GET', target: '/' })).rejects.toThrow('bound to no key');
  });

  it('of an API key is looked at again after a while', async () => {
    await authenticator.apiKey('sgk_a');
    now = limits.apiKeyCacheMs - 1;
    await authenticator.apiKey('sgk_a');
    expect(verified).toHaveLength(1);
    now = limits.apiKeyCacheMs;
    await authenticator.apiKey('sgk_a');
    expect(verified).toHaveLength(2);
  });

  it('is remembered for so many tokens; those that were used last stay', async () => {
    for (let i = 0; i < limits.verifiedTokensMax; i++) await authenticator.bearer(`t${i}`);
    expect(authenticator.known('t0')).toBeDefined();
    await authenticator.bearer('more');
    expect(authenticator.known('t1')).toBeUndefined();
    expect(authenticator.known('t0')).toBeDefined();
    expect(authenticator.known('more')).toBeDefined();
  });

  it('is the operator by the key of the configuration only', () => {
    expect(authenticator.operator(OPERATOR)).toMatchObject({ id: 'operator', isUnbound: true });
    for (const key of ['', 'x', `${OPERATOR}x`, OPERATOR.slice(1)]) {
      expect(authenticator.isOperator(key)).toBe(false);
      expect(() => authenticator.operator(key)).toThrow();
    }
  });
});
