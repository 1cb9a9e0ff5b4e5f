import { createMongoAbility, subject } from '@casl/ability';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { allows, type PolicyRule, type Question } from './policy-rules.js';

const question: Question = {
  action: 'write',
  collection: 'rooms',
  key: 'hall',
  attributes: { n: 1, owner: 'ann' },
  names: ['n'],
};
const policy = (...rules: PolicyRule[]) => ({ rules, restrictions: [] });
const allow = (given: Partial<PolicyRule> = {}): PolicyRule => ({ action: ['write'], subject: ['rooms'], ...given });
const deny = (given: Partial<PolicyRule> = {}): PolicyRule => ({ ...allow(given), inverted: true });

test.each<[string, PolicyRule[], boolean]>([
  ['nothing', [], false],
  ['an allowance', [allow()], true],
  ['of everything', [{ action: ['manage'], subject: ['all'] }], true],
  ['of another action', [allow({ action: ['read'] })], false],
  ['of another collection', [allow({ subject: ['dens'] })], false],
  ['of another attribute', [allow({ fields: ['m'] })], false],
  ['a denial after it', [allow(), deny()], false],
  ['a denial of another attribute', [allow(), deny({ fields: ['m'] })], true],
  ['a condition that holds', [allow({ conditions: { owner: { $eq: 'ann' } } })], true],
  ['one of the key', [allow({ conditions: { '@key': { $in: ['hall'] } } })], true],
  ['one that doesn’t hold', [allow({ conditions: { owner: { $eq: 'bob' } } })], false],
  ['an allowance under a condition that isn’t known', [allow({ conditions: { owner: { $like: 'a' } } })], false],
  ['a denial under one', [allow(), deny({ conditions: { owner: { $like: 'a' } } })], false],
  ['a denial under one that doesn’t hold', [allow(), deny({ conditions: { owner: { $ne: 'ann' } } })], true],
])('%s', (_, rules, is) => {
  expect(allows(policy(...rules), question)).toBe(is);
});

test('each attribute that is written must be allowed', () => {
  expect(allows(policy(allow({ fields: ['n'] })), { ...question, names: ['n', 'm'] })).toBe(false);
});

test('what a token is narrowed to must allow as well', () => {
  expect(allows({ rules: [allow()], restrictions: [[allow({ fields: ['m'] })]] }, question)).toBe(false);
});

describe('as CASL has it', () => {
  const conditions = fc.constantFrom<PolicyRule['conditions']>(
    undefined,
    { n: { $eq: 1 } },
    { n: { $ne: 1 } },
    { n: { $in: [1, 2] } },
    { n: { $nin: [2] } },
    { n: { $exists: true, $gte: 1 } },
    { n: { $exists: true, $lt: 1 } },
    { 'at.x': { $eq: 1 } },
    { m: { $exists: false } },
    { '@key': { $eq: 'hall' } },
  );
  const rule = fc.record({
    action: fc.constantFrom(['write'], ['read'], ['write', 'delete'], ['manage']),
    subject: fc.constantFrom(['rooms'], ['all'], ['dens']),
    fields: fc.constantFrom(undefined, ['n'], ['m', 'n']),
    conditions,
    inverted: fc.boolean(),
  });
  test('an attribute may be written or not', () => {
    fc.assert(
      fc.property(fc.array(rule, { maxLength: 4 }), fc.integer({ min: 0, max: 2 }), fc.boolean(), (rules, n, hasM) => {
        const attributes = { n, at: { x: n }, ...(hasM && { m: 1 }) };
        const told = rules.map((each) => JSON.parse(JSON.stringify(each)) as PolicyRule);
        const ability = createMongoAbility(told as never);
        const expected = ability.can('write', subject('rooms', { ...attributes, '@key': 'hall' }) as never, 'n');
        expect(allows(policy(...told), { ...question, attributes })).toBe(expected);
      }),
    );
  });
});
