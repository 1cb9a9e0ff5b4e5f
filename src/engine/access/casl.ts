/**
 * Rules in the form in which CASL (casl.js.org) takes them, so that a client can ask the same questions of its copy: `can` of an
 * object that has the item's attributes and its key as `@key`. The last rule that is about something decides there, so those
 * that deny come last. Conditions are a MongoDB query, which says less exactly than a filter what it means: a client that asks for
 * more than a hint asks the server. Pure.
 */
import type { FilterNode, Test } from '../query/filter.js';
import type { Json, JsonObject } from '../state/json.js';
import { narrowingOf } from './bound-rule.js';
import type { Entitlement, Layer, PlacedRule } from './entitlement.js';

export interface CaslRule {
  readonly action: readonly string[];
  readonly subject: readonly string[];
  readonly fields?: readonly string[];
  readonly conditions?: JsonObject;
  readonly inverted?: boolean;
  /** The policy and the place of the rule in it. */
  readonly reason?: string;
}

/** What a subject may do: by policy, and what each link of its token leaves of that. */
export interface CaslRules {
  readonly rules: readonly CaslRule[];
  readonly restrictions: readonly (readonly CaslRule[])[];
}

const EVERYTHING: readonly CaslRule[] = [{ action: ['manage'], subject: ['all'] }];

/** `collections` are those that there are: a rule for names that begin alike is told with the ones that it is for now. */
export function caslRulesOf(
  { rules: layers }: Entitlement,
  isUnbound: boolean,
  collections: readonly string[],
): CaslRules {
  const told = layers.map((layer) => rulesOfLayer(layer, collections));
  return isUnbound ? { rules: EVERYTHING, restrictions: told } : { rules: told[0] ?? [], restrictions: told.slice(1) };
}

function rulesOfLayer(layer: Layer, collections: readonly string[]): CaslRule[] {
  const told = (denies: boolean) =>
    layer.filter(({ rule }) => rule.denies === denies).flatMap((placed) => ruleOf(placed, collections));
  return [...told(false), ...told(true)];
}

/** One for each case of its conditions. What a query can't say is told on the safe side: a rule that allows is left out. */
function ruleOf({ rule, source }: PlacedRule, collections: readonly string[]): CaslRule[] {
  const { grant, denies } = rule;
  const node = narrowingOf(rule);
  const isExact = !grant.keys || 'prefix' in grant.keys;
  const cases = isExact && node ? casesOf(node, false) : isExact ? [{}] : undefined;
  const told: CaslRule = {
    action: grant.actions,
    subject: subjectsOf(grant.collections, collections),
    ...(grant.attributes && { fields: grant.attributes }),
    ...(denies && { inverted: true }),
    ...(source.policy !== undefined && { reason: `${source.policy}/rules/${source.rule}` }),
  };
  if (!cases) return denies ? [told] : [];
  return cases.map((conditions) => (Object.keys(conditions).length > 0 ? { ...told, conditions } : told));
}

function subjectsOf(names: readonly string[], collections: readonly string[]): string[] {
  const subjects = new Set<string>();
  for (const name of names) {
    if (name === '*') subjects.add('all');
    else if (!name.endsWith('*')) subjects.add(name);
    else for (const collection of collections) if (collection.startsWith(name.slice(0, -1))) subjects.add(collection);
  }
  return [...subjects];
}

/** Conditions of which all must hold. */
type Case = { readonly [field: string]: JsonObject };

/** Cases that are told of one rule. */
const CASES_MAX = 32;

/**
 * The filter, or that it doesn't hold, as cases of which one must be met: what CASL takes knows neither `or` nor `and`. Undefined
 * where a query can't say it.
 */
function casesOf(node: FilterNode, negated: boolean): Case[] | undefined {
  switch (node.kind) {
    case 'test':
      return casesOfTest(node, negated);
    case 'not':
      return casesOf(node.part, !negated);
    default: {
      const parts = node.parts.map((part) => casesOf(part, negated));
      if (parts.includes(undefined)) return undefined;
      const isAll = (node.kind === 'all') !== negated;
      const cases = isAll ? (parts as Case[][]).reduce<Case[] | undefined>(product, [{}]) : (parts as Case[][]).flat();
      return cases && cases.length <= CASES_MAX ? cases : undefined;
    }
  }
}

function product(some: Case[] | undefined, others: Case[]): Case[] | undefined {
  if (!some || some.length * others.length > CASES_MAX) return undefined;
  const joined = some.flatMap((one) => others.map((other) => merged(one, other)));
  return joined.includes(undefined) ? undefined : (joined as Case[]);
}

/** Both; undefined where they ask the same of one field with different operands. */
function merged(one: Case, other: Case): Case | undefined {
  const both: { [field: string]: JsonObject } = { ...one };
  for (const [field, conditions] of Object.entries(other)) {
    const known = both[field] ?? {};
    if (Object.keys(conditions).some((operator) => Object.hasOwn(known, operator))) return undefined;
    both[field] = { ...known, ...conditions };
  }
  return both;
}

function casesOfTest({ path, operator, operand }: Test, negated: boolean): Case[] | undefined {
  const field = path.of === 'attribute' ? fieldOf(path.tokens) : `@${path.of}`;
  const conditions =
    field === undefined ? undefined : negated ? negationOf(operator, operand) : conditionOf(operator, operand);
  return conditions?.map((condition) => ({ [field as string]: condition }));
}

/** A dot leads into an attribute there, and a dollar begins an operator. */
function fieldOf(tokens: readonly string[]): string | undefined {
  return tokens.some((token) => token === '' || token.includes('.') || token.startsWith('$') || token === '__proto__')
    ? undefined
    : tokens.join('.');
}

function conditionOf(operator: Test['operator'], operand: Json): JsonObject[] {
  switch (operator) {
    case 'ne':
    case 'nin':
      return [{ $exists: true, [`$${operator}`]: operand }];
    case 'prefix':
      return [{ $regex: `^${(operand as string).replace(/[.*+?^${}()|[\]\\/]/g, '\\$&')}` }];
    case 'has':
      return [{ $all: [operand] }];
    case 'lt':
    case 'lte':
    case 'gt':
    case 'gte':
      // What is absent would come before everything there.
      return [{ $exists: true, [`$${operator}`]: operand }];
    default:
      return [{ [`$${operator}`]: operand }];
  }
}

/** What holds where the test doesn't: an absent attribute meets no test but that it is absent. */
function negationOf(operator: Test['operator'], operand: Json): JsonObject[] | undefined {
  switch (operator) {
    case 'eq':
      return [{ $ne: operand }];
    case 'in':
      return [{ $nin: operand }];
    case 'ne':
      return [{ $exists: false }, { $eq: operand }];
    case 'nin':
      return [{ $exists: false }, { $in: operand }];
    case 'exists':
      return [{ $exists: !operand }];
    default:
      return undefined;
  }
}
