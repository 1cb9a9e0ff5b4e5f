/**
 * A rule or a grant as it holds for one subject: `$subject` replaced by who asks, filters and keys compiled. Equal texts are one
 * object, whomever they are for, so that subjects with equal rules share what is worked out from them. Pure but for that memory.
 */

import { OVERSPENT } from '../dictionary/meter.js';
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import { type Matcher, type Meter, matcherOf } from '../query/evaluate.js';
import { type Filter, type FilterNode, parseFilter } from '../query/filter.js';
import { isSystemName } from '../state/collections.js';
import { isObject, type Json, type JsonObject, setMember } from '../state/json.js';
import type { Action, Grant } from './grant.js';
import { type KeyTest, keyTestOf } from './keys-match.js';

/** Where a rule stands: a policy's name and the rule's place in it; or what else allows or denies. */
export interface RuleSource {
  readonly policy?: string;
  readonly rule?: number;
}

export interface BoundRule {
  /** Equal for rules that say the same of items. */
  readonly text: string;
  readonly denies: boolean;
  readonly grant: Grant;
  readonly matchesKey: KeyTest | undefined;
  /** Absent: all attributes. */
  readonly attributes: ReadonlySet<string> | undefined;
  /** Absent: all items. */
  readonly where: BoundFilter | undefined;
  /** What an item must be after a write. */
  readonly check: BoundFilter | undefined;
}

export interface BoundFilter {
  readonly filter: Filter;
  readonly matches: Matcher;
}

/** What a rule may say of who asks. */
export interface Asker {
  readonly id: string;
  readonly host: string | undefined;
  readonly roles: readonly string[];
}

interface RuleLike extends Grant {
  readonly effect?: 'allow' | 'deny';
  readonly check?: JsonObject | undefined;
}

/** Rules that are kept compiled; the oldest goes first. */
const KEPT = 5000;
const compiled = new Map<string, BoundRule>();

/** The rule for who asks; undefined where it allows nothing to them, since it asks for what they haven't. */
export function bind(rule: RuleLike, asker: Asker): BoundRule | undefined {
  const denies = rule.effect === 'deny';
  const { actions, collections, keys, attributes, where, check } = rule;
  let bound: RuleLike;
  try {
    bound = {
      actions,
      collections,
      ...(keys && { keys }),
      ...(attributes && { attributes }),
      ...(where && { where: substituted(where, asker) as JsonObject }),
      ...(check && { check: substituted(check, asker) as JsonObject }),
    };
    return interned(bound, denies);
  } catch (error) {
    if (!(error instanceof Unknown || error instanceof Problem)) throw error;
    // What can't be judged is not allowed: such a rule allows nothing and denies all that it is about.
    return denies
      ? interned({ actions, collections, ...(keys && { keys }), ...(attributes && { attributes }) }, true)
      : undefined;
  }
}

function interned(rule: RuleLike, denies: boolean): BoundRule {
  const { actions, collections, ...items } = rule;
  const text = `${denies ? '-' : '+'}${JSON.stringify([[...actions].sort(), [...collections].sort(), items])}`;
  const known = compiled.get(text);
  if (known) return known;
  const bound: BoundRule = {
    text: `${denies ? '-' : '+'}${JSON.stringify({ ...items, ...(items.attributes && { attributes: [...items.attributes].sort() }) })}`,
    denies,
    grant: rule,
    matchesKey: keyTestOf(rule.keys),
    attributes: rule.attributes && new Set(rule.attributes),
    where: rule.where && compileFilter(rule.where, denies),
    check: rule.check && compileFilter(rule.check, denies),
  };
  compiled.set(text, bound);
  const [oldest] = compiled.keys();
  if (compiled.size > KEPT) compiled.delete(oldest as string);
  return bound;
}

/**
 * A rule is asked about each item that is looked at, and about each change: so judging one item may take it only so many steps. What
 * takes more isn't allowed.
 */
function compileFilter(where: JsonObject, denies: boolean): BoundFilter {
  const filter = parseFilter(where, '/where');
  const meter: Meter = {
    steps: 0,
    check: () => {
      if (meter.steps > limits.ruleStepsMax) throw OVERSPENT;
    },
  };
  const judge = matcherOf(filter, meter);
  const matches: Matcher = (item) => {
    meter.steps = 0;
    try {
      return judge(item);
    } catch (error) {
      if (error !== OVERSPENT) throw error;
      return denies;
    }
  };
  return { filter, matches };
}

/** Whether the rule is about the action on something of the collection. */
export function isAbout({ grant }: BoundRule, action: Action, collection: string): boolean {
  return grant.actions.includes(action) && grant.collections.some((name) => namesCollection(name, collection));
}

/** `*` at a name's end stands for any rest; the system's collections are meant only by a name that begins as theirs do. */
export function namesCollection(name: string, collection: string): boolean {
  if (!name.endsWith('*')) return name === collection;
  const stem = name.slice(0, -1);
  return collection.startsWith(stem) && isSystemName(collection) === isSystemName(stem);
}

/** The filter that all items meet which the rule is about, as far as a filter can say it; undefined: it can't. */
export function narrowingOf({ grant: { keys }, where }: BoundRule): FilterNode | undefined {
  const parts: FilterNode[] = [];
  if (keys && 'prefix' in keys)
    parts.push({
      kind: 'test',
      path: { text: '/@key', of: 'key', tokens: [] },
      operator: 'prefix',
      operand: keys.prefix,
    });
  if (where) parts.push(where.filter.root);
  return parts.length > 1 ? { kind: 'all', parts } : parts[0];
}

/** Who asks has no such thing. */
class Unknown extends Error {}

/** The filter with what `$subject…` stands for. Only operands are looked at, never names. */
function substituted(value: Json, asker: Asker): Json {
  if (typeof value === 'string') return value.startsWith('$subject') ? operandOf(value, asker) : value;
  if (Array.isArray(value)) return value.map((element) => substituted(element, asker));
  if (!isObject(value)) return value;
  const copy: JsonObject = {};
  for (const [name, member] of Object.entries(value)) setMember(copy, name, substituted(member, asker));
  return copy;
}

function operandOf(name: string, { id, host, roles }: Asker): Json {
  switch (name) {
    case '$subject.id':
      return id;
    case '$subject.host':
      if (host === undefined) throw new Unknown();
      return host;
    case '$subject.roles':
      return [...roles];
    default:
      throw new Unknown();
  }
}
