import { createMongoAbility, subject as typed } from '@casl/ability';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { matcherOf } from '../query/evaluate.js';
import { parseFilter } from '../query/filter.js';
import type { JsonObject } from '../state/json.js';
import { ItemState } from '../state/model.js';
import { caslRulesOf } from './casl.js';
import { searchFilter } from './lens.js';
import { PoolPolicy } from './pool-policy.js';

const ME = 'https://id.example/me';
const subject = () => ({ id: ME, host: 'id.example', isUnbound: false, restrictions: [] });

const value = fc.constantFrom('x', 'y', 'z', ME);
const number = fc.constantFrom(0, 1, 2);
const attributes = fc.record({ a: value, b: value, c: number }, { requiredKeys: [], noNullPrototype: true });
const name = fc.constantFrom('a', 'b', 'c');
/** CASL compares numbers with texts as well: so that they agree, each attribute has values of one type. */
const testOf = (operand: fc.Arbitrary<string | number>, ordered: fc.Arbitrary<object>) =>
  fc.oneof(
    operand,
    fc.record({ ne: operand }),
    fc.record({ in: fc.array(operand, { maxLength: 2 }) }),
    fc.record({ nin: fc.array(operand, { maxLength: 2 }) }),
    fc.record({ exists: fc.boolean() }),
    ordered,
  );
const test = fc
  .oneof(
    fc.tuple(fc.constantFrom('a', 'b'), testOf(value, fc.record({ prefix: fc.constantFrom('x', 'https') }))),
    fc.tuple(fc.constant('c'), testOf(number, fc.record({ lt: fc.constantFrom(1, 2) }))),
  )
  .map(([key, operand]) => ({ [key]: operand }) as JsonObject);
const { filter } = fc.letrec<{ filter: JsonObject }>((tie) => ({
  filter: fc.oneof(
    { maxDepth: 2, withCrossShrink: true },
    test,
    fc.tuple(test, test).map(([one, other]) => ({ ...one, ...other })),
    fc.array(tie('filter'), { maxLength: 2 }).map((or) => ({ or })),
    tie('filter').map((not) => ({ not })),
  ),
}));
const rule = fc.record({
  effect: fc.constantFrom('allow', 'allow', 'deny'),
  actions: fc.constant(['read']),
  who: fc.constant({ anyone: true }),
  collections: fc.constant(['rooms']),
  keys: fc.constantFrom(undefined, undefined, { prefix: 'k' }),
  attributes: fc.option(fc.uniqueArray(name, { minLength: 1 }), { nil: undefined }),
  where: fc.option(filter, { nil: undefined }),
});
const rules = fc.array(rule, { maxLength: 4 });

function entitlementOf(all: readonly object[]) {
  const state = new ItemState(JSON.stringify({ rules: all }), 1, 1);
  return new PoolPolicy('home', new Map([['p', state]])).entitlementOf(subject());
}

it('what one sees of a state is not what another saw of it before', () => {
  const you = { ...subject(), id: 'https://id.example/you' };
  const mine = { effect: 'allow', actions: ['read'], who: { anyone: true }, collections: ['rooms'] };
  const all = [
    { ...mine, attributes: ['a', 'owner'], where: { owner: '$subject.id' } },
    { ...mine, who: { subjects: [you.id] }, attributes: ['b'] },
  ];
  const policy = new PoolPolicy(
    'p',
    new Map([['main', new ItemState(undefined, 1, 1, { rules: all } as unknown as JsonObject)]]),
  );
  const [myLens, yourLens] = [subject(), you].map((who) => policy.entitlementOf(who).lens('read', 'rooms'));
  const state = new ItemState(undefined, 1, 1, { owner: ME, a: 1, b: 2 });
  for (let i = 0; i < 2; i++) {
    expect(myLens?.see('k', state)?.attributes).toEqual({ owner: ME, a: 1 });
    expect(yourLens?.see('k', state)?.attributes).toEqual({ b: 2 });
    expect([myLens?.shows('k', state, 'b'), yourLens?.shows('k', state, 'b')]).toEqual([false, true]);
  }
});

it('what is searched for holds all that a filter finds through the lens', () => {
  fc.assert(
    fc.property(
      rules,
      fc.option(filter, { nil: undefined }),
      attributes,
      fc.constantFrom('k1', 'm1'),
      (all, where, item, key) => {
        const lens = entitlementOf(all).lens('read', 'rooms');
        const state = new ItemState(undefined, 1, 1, item as JsonObject);
        const seen = lens.see(key, state);
        const asked = where && parseFilter(where, '');
        const isFound = seen !== undefined && matcherOf(asked)({ key, revision: 1, attributes: seen.attributes });
        const isLookedAt = matcherOf(searchFilter(lens, asked))({ key, revision: 1, attributes: state.attributes });
        return !isFound || isLookedAt;
      },
    ),
    { numRuns: 3000 },
  );
});

it('an attribute is steady only where it is shown of every item that is seen', () => {
  fc.assert(
    fc.property(rules, attributes, name, (all, item, asked) => {
      const lens = entitlementOf(all).lens('read', 'rooms');
      const state = new ItemState(undefined, 1, 1, item as JsonObject);
      return lens.see('k1', state) === undefined || !lens.isSteady(asked) || lens.shows('k1', state, asked);
    }),
    { numRuns: 3000 },
  );
});

it('CASL never allows what the server hides, and allows what it shows where its queries can say it', () => {
  let [shown, said] = [0, 0];
  fc.assert(
    fc.property(rules, attributes, fc.constantFrom('k1', 'm1'), name, (all, item, key, asked) => {
      const entitlement = entitlementOf(all);
      const state = new ItemState(undefined, 1, 1, item as JsonObject);
      const told = caslRulesOf(entitlement, false, ['rooms']).rules;
      // biome-ignore lint/suspicious/noExplicitAny: the rules are as they come over the wire.
      const ability = createMongoAbility(JSON.parse(JSON.stringify(told)) as any);
      const isAllowed = ability.can('read', typed('rooms', { ...item, '@key': key }) as never, asked);
      const isShown = entitlement.lens('read', 'rooms').shows(key, state, asked);
      if (isShown) shown++;
      if (isShown && isAllowed) said++;
      return isShown || !isAllowed;
    }),
    { numRuns: 5000 },
  );
  expect(shown).toBeGreaterThan(300);
  expect(said / shown).toBeGreaterThan(0.9);
});
