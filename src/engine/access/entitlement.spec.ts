import { describe, expect, it } from 'vitest';
import { type Attributes, ItemState } from '../state/model.js';
import type { Subject } from '../subject.js';
import type { PoolGrant } from './grant.js';
import { PoolPolicy } from './pool-policy.js';

const ANN = 'https://id.example/ann';
const BOB = 'https://other.example/bob';

function subject(id = ANN, ...restrictions: (readonly PoolGrant[])[]): Subject {
  return { id, host: new URL(id).host, isUnbound: false, restrictions };
}

function state(attributes: object): ItemState {
  return new ItemState(undefined, 1, 1, attributes as Attributes);
}

const rule = (members: object) => ({
  effect: 'allow',
  who: { anyone: true },
  collections: ['rooms'],
  actions: ['read', 'create', 'write', 'delete'],
  ...members,
});

function policyOf(rules: readonly object[], roles: object = {}): PoolPolicy {
  return new PoolPolicy('home', new Map([['p', state({ rules, roles })]]));
}

describe('what is seen of {name: n, pay: 1, owner: ann, team: staff} under the key a/1', () => {
  it.each<[says: string, rules: object[], seen: string[] | undefined, who?: Subject]>([
    ['without a rule', [], undefined],
    ['a rule for anyone', [rule({})], ['name', 'pay', 'owner', 'team']],
    ['one for another', [rule({ who: { subjects: [BOB] } })], undefined],
    ['one for oneself', [rule({ who: { subjects: [ANN] } })], ['name', 'pay', 'owner', 'team']],
    ['one for the host', [rule({ who: { identityHosts: ['id.example'] } })], ['name', 'pay', 'owner', 'team']],
    ['one for another host', [rule({ who: { identityHosts: ['example'] } })], undefined],
    ['one for a role', [rule({ who: { roles: ['staff'] } })], ['name', 'pay', 'owner', 'team']],
    ['one for another role', [rule({ who: { roles: ['boss'] } })], undefined],
    ['one for another action', [rule({ actions: ['write'] })], undefined],
    ['one for another collection', [rule({ collections: ['halls'] })], undefined],
    ['one for names that begin so', [rule({ collections: ['roo*'] })], ['name', 'pay', 'owner', 'team']],
    ['one for all of the system', [rule({ collections: ['_*'] })], undefined],
    ['of some attributes', [rule({ attributes: ['name', 'size'] })], ['name']],
    ['of attributes that it hasn’t', [rule({ attributes: ['size'] })], []],
    ['of two rules both', [rule({ attributes: ['name'] }), rule({ attributes: ['pay'] })], ['name', 'pay']],
    ['with a prefix of keys', [rule({ keys: { prefix: 'a/' } })], ['name', 'pay', 'owner', 'team']],
    ['with another prefix', [rule({ keys: { prefix: 'b/' } })], undefined],
    ['with a pattern', [rule({ keys: { pattern: 'a/\\d' } })], ['name', 'pay', 'owner', 'team']],
    ['with a pattern of a part', [rule({ keys: { pattern: 'a' } })], undefined],
    ['of one’s own', [rule({ where: { owner: '$subject.id' } })], ['name', 'pay', 'owner', 'team']],
    ['of another’s own', [rule({ where: { owner: '$subject.id' } })], undefined, subject(BOB)],
    [
      'of what one’s roles are for',
      [rule({ where: { team: { in: '$subject.roles' } } })],
      ['name', 'pay', 'owner', 'team'],
    ],
    ['of another role’s', [rule({ where: { team: { nin: '$subject.roles' } } })], undefined],
    ['without a role', [rule({ where: { team: { in: '$subject.roles' } } })], undefined, subject(BOB)],
    ['with an attribute that is missing', [rule({ where: { level: { nin: ['x'] } } })], undefined],
    ['what is denied', [rule({}), rule({ effect: 'deny', attributes: ['pay'] })], ['name', 'owner', 'team']],
    ['what is denied first', [rule({ effect: 'deny', attributes: ['pay'] }), rule({})], ['name', 'owner', 'team']],
    ['what is denied whole', [rule({}), rule({ effect: 'deny' })], undefined],
    [
      'what is denied of others',
      [rule({}), rule({ effect: 'deny', where: { owner: { ne: '$subject.id' } } })],
      ['name', 'pay', 'owner', 'team'],
    ],
    [
      'what a token leaves',
      [rule({})],
      ['name'],
      subject(ANN, [{ actions: ['read'], collections: ['*'], attributes: ['name'] }]),
    ],
    [
      'what each link leaves',
      [rule({})],
      ['name'],
      subject(
        ANN,
        [{ actions: ['read'], collections: ['*'], attributes: ['name', 'pay'] }],
        [{ actions: ['read'], collections: ['rooms'], attributes: ['name', 'owner'] }],
      ),
    ],
    [
      'a token for another pool',
      [rule({})],
      undefined,
      subject(ANN, [{ pools: ['work'], actions: ['read'], collections: ['*'] }]),
    ],
    [
      'a token that says more',
      [rule({ attributes: ['name'] })],
      ['name'],
      subject(ANN, [{ actions: ['read'], collections: ['*'] }]),
    ],
    ['a token of nothing', [rule({})], undefined, subject(ANN, [])],
  ])('%s', (_says, rules, seen, who = subject()) => {
    const lens = policyOf(rules, { staff: [ANN] })
      .entitlementOf(who)
      .lens('read', 'rooms');
    const item = lens.see('a/1', state({ name: 'n', pay: 1, owner: ANN, team: 'staff' }));
    expect(item && Object.keys(item.attributes)).toEqual(seen);
  });

  it('is the item itself where nothing is hidden', () => {
    const whole = state({ name: 'n' });
    const lens = policyOf([rule({})])
      .entitlementOf(subject())
      .lens('read', 'rooms');
    expect([lens.kind, lens.see('a', whole) === whole]).toEqual(['everything', true]);
  });

  it('is nothing where a policy isn’t understood, though another allows it', () => {
    const policies = new Map([
      ['p', state({ rules: [rule({})] })],
      ['q', state({ rules: 7 })],
    ]);
    const entitlement = new PoolPolicy('home', policies).entitlementOf(subject());
    expect([entitlement.isEmpty, entitlement.lens('read', 'rooms').kind]).toEqual([true, 'nothing']);
  });

  it('knows names that objects have by themselves', () => {
    const attributes = JSON.parse('{"__proto__": 1, "constructor": 2, "toString": 3, "name": 4}') as Attributes;
    const lens = policyOf([rule({ attributes: ['__proto__', 'name'] })])
      .entitlementOf(subject())
      .lens('read', 'rooms');
    expect(JSON.stringify(lens.see('a', state(attributes))?.attributes)).toBe('{"__proto__":1,"name":4}');
  });
});

const MINE = { owner: ANN, name: 'n' };
const YOURS = { owner: BOB, name: 'n' };

describe('a write', () => {
  it.each<
    [
      says: string,
      rules: object[],
      before: object | undefined,
      after: object | undefined,
      names: string[],
      allow: boolean,
    ]
  >([
    ['without a rule', [], MINE, MINE, ['name'], false],
    ['of anything', [rule({})], MINE, { owner: ANN }, ['name'], true],
    ['of one’s own', [rule({ where: { owner: '$subject.id' } })], MINE, { ...MINE, name: 'm' }, ['name'], true],
    ['of another’s', [rule({ where: { owner: '$subject.id' } })], YOURS, { ...YOURS, name: 'm' }, ['name'], false],
    ['that gives away', [rule({ where: { owner: '$subject.id' } })], MINE, YOURS, ['owner'], false],
    [
      'that gives away where that is said',
      [rule({ where: { owner: '$subject.id' }, check: {} })],
      MINE,
      YOURS,
      ['owner'],
      true,
    ],
    ['that takes', [rule({ where: { owner: '$subject.id' } })], YOURS, MINE, ['owner'], false],
    ['that breaks the check', [rule({ check: { name: 'n' } })], MINE, { ...MINE, name: 'm' }, ['name'], false],
    ['that keeps the check', [rule({ check: { name: 'm' } })], MINE, { ...MINE, name: 'm' }, ['name'], true],
    ['of an attribute', [rule({ attributes: ['name'] })], MINE, { ...MINE, name: 'm' }, ['name'], true],
    ['of another attribute', [rule({ attributes: ['name'] })], MINE, YOURS, ['owner'], false],
    [
      'of both',
      [rule({ attributes: ['name'] }), rule({ attributes: ['owner'] })],
      MINE,
      YOURS,
      ['owner', 'name'],
      true,
    ],
    ['of what is denied', [rule({}), rule({ effect: 'deny', attributes: ['owner'] })], MINE, YOURS, ['owner'], false],
    [
      'beside what is denied',
      [rule({}), rule({ effect: 'deny', attributes: ['owner'] })],
      MINE,
      { ...MINE, name: 'm' },
      ['name'],
      true,
    ],
    ['of a new one', [rule({ where: { owner: '$subject.id' } })], undefined, MINE, ['owner', 'name'], true],
    [
      'of a new one of another’s',
      [rule({ where: { owner: '$subject.id' } })],
      undefined,
      YOURS,
      ['owner', 'name'],
      false,
    ],
    [
      'of a new one by its check',
      [rule({ where: { owner: 'nobody' }, check: { name: 'n' } })],
      undefined,
      MINE,
      ['owner', 'name'],
      true,
    ],
    ['of a new one without creating', [rule({ actions: ['write'] })], undefined, MINE, ['owner', 'name'], false],
    ['of one that is there by creating', [rule({ actions: ['create'] })], MINE, YOURS, ['owner'], false],
    ['that deletes', [rule({ where: { owner: '$subject.id' } })], MINE, undefined, [], true],
    ['that deletes another’s', [rule({ where: { owner: '$subject.id' } })], YOURS, undefined, [], false],
    ['that deletes some attributes', [rule({ attributes: ['name'] })], MINE, undefined, [], false],
    [
      'that deletes what is denied',
      [rule({}), rule({ effect: 'deny', actions: ['delete'] })],
      MINE,
      undefined,
      [],
      false,
    ],
  ])('%s', (_says, rules, before, after, names, allow) => {
    const decision = policyOf(rules)
      .entitlementOf(subject())
      .decideWrite({
        collection: 'rooms',
        key: 'a',
        before: before && state(before),
        after: after && state(after),
        names,
      });
    expect([decision.allow, decision.because !== '']).toEqual([allow, true]);
  });
});

const locks = (members: object = {}) => rule({ actions: ['lock'], ...members });

describe('a lock', () => {
  it.each<[says: string, rules: object[], part: object, allow: boolean]>([
    ['of a collection', [locks()], { collection: 'rooms' }, true],
    ['of the pool by a rule of a collection', [locks()], {}, false],
    ['of the pool', [locks({ collections: ['*'] })], {}, true],
    ['of another collection', [locks()], { collection: 'halls' }, false],
    [
      'of a prefix',
      [locks({ keys: { prefix: 'a' } })],
      { collection: 'rooms', range: { start: 'ab', end: 'ac' } },
      true,
    ],
    [
      'of more than the prefix',
      [locks({ keys: { prefix: 'a' } })],
      { collection: 'rooms', range: { start: 'a' } },
      false,
    ],
    [
      'of a key',
      [locks({ keys: { pattern: 'a.' } })],
      { collection: 'rooms', range: { start: 'ab', end: 'ab\0' } },
      true,
    ],
    ['of a range by a pattern', [locks({ keys: { pattern: '.*' } })], { collection: 'rooms' }, false],
    ['of attributes', [locks({ attributes: ['a', 'b'] })], { collection: 'rooms', attributes: ['a'] }, true],
    [
      'of attributes together',
      [locks({ attributes: ['a'] }), locks({ attributes: ['b'] })],
      { collection: 'rooms', attributes: ['a', 'b'] },
      true,
    ],
    ['of all attributes', [locks({ attributes: ['a', 'b'] })], { collection: 'rooms' }, false],
    ['of items that are one’s own', [locks({ where: { owner: '$subject.id' } })], { collection: 'rooms' }, false],
    [
      'of one’s own item',
      [locks({ where: { owner: '$subject.id' } })],
      { collection: 'rooms', item: { key: 'a', state: state(MINE) } },
      true,
    ],
    [
      'of another’s item',
      [locks({ where: { owner: '$subject.id' } })],
      { collection: 'rooms', item: { key: 'a', state: state(YOURS) } },
      false,
    ],
    [
      'where a part is denied',
      [locks(), locks({ effect: 'deny', keys: { prefix: 'x' } })],
      { collection: 'rooms' },
      false,
    ],
    [
      'beside what is denied',
      [locks(), locks({ effect: 'deny', keys: { prefix: 'x' } })],
      { collection: 'rooms', range: { start: 'a', end: 'b' } },
      true,
    ],
  ])('%s', (_says, rules, part, allow) => {
    const entitlement = policyOf(rules).entitlementOf(subject());
    expect(entitlement.decideLock({ range: {}, ...part }).allow).toBe(allow);
  });
});

describe('subjects with equal rules', () => {
  it('share what is worked out from them', () => {
    const policy = policyOf([rule({ attributes: ['name'] })]);
    expect(policy.entitlementOf(subject(ANN))).toBe(policy.entitlementOf(subject(BOB)));
  });

  it('see alike across policies that say the same', () => {
    const lensOf = (policy: PoolPolicy, id = ANN) => policy.entitlementOf(subject(id)).lens('read', 'rooms').id;
    const own = [rule({ where: { owner: '$subject.id' } })];
    expect(lensOf(policyOf([rule({ attributes: ['b', 'a'] })]))).toBe(
      lensOf(policyOf([rule({ attributes: ['a', 'b'], actions: ['read'] })])),
    );
    expect(lensOf(policyOf(own))).not.toBe(lensOf(policyOf(own), BOB));
  });
});

describe('who administers a pool', () => {
  it('sees and writes what is the system’s, and no items', () => {
    const entitlement = policyOf([rule({ actions: ['admin'], collections: ['*'] })]).entitlementOf(subject());
    expect([
      entitlement.decideAdmin().allow,
      entitlement.decideAdmin('rooms').allow,
      entitlement.mayEver('write', '_policies'),
      entitlement.lens('read', '_locks').kind,
      entitlement.lens('read', 'rooms').kind,
    ]).toEqual([true, true, true, 'everything', 'nothing']);
  });

  it('isn’t who administers a collection', () => {
    const entitlement = policyOf([rule({ actions: ['admin'] })]).entitlementOf(subject());
    expect([
      entitlement.decideAdmin().allow,
      entitlement.decideAdmin('rooms').allow,
      entitlement.mayEver('write', '_policies'),
    ]).toEqual([false, true, false]);
  });
});

describe('a rule that would take too long on an item', () => {
  const costly = { where: { list: { has: 'x' } } };
  const seen = (rules: object[], elements: number) => {
    const item = state({ list: [...Array(elements).fill('a'), 'x'] });
    return policyOf(rules).entitlementOf(subject()).lens('read', 'rooms').see('k', item);
  };
  const harmless = { effect: 'deny', where: { list: { has: 'y' } } };

  it('that allows doesn’t allow it', () => {
    expect(seen([rule(costly)], 1000)).toBeDefined();
    expect(seen([rule(costly)], 2_000_000)).toBeUndefined();
  });

  it('that denies denies it', () => {
    expect(seen([rule({}), rule(harmless)], 1000)).toBeDefined();
    expect(seen([rule({}), rule(harmless)], 2_000_000)).toBeUndefined();
  });
});
