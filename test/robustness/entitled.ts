/**
 * What a policy lets a subject see, said once more and as simply as possible: every rule is asked about every item and every
 * attribute. Knows as much of the language as the tests use, and shares no code with src.
 */
import type { Attributes, Item, Json } from './client.js';
import { matches, type Where } from './filtering.js';

export interface PolicyRule {
  readonly effect: 'allow' | 'deny';
  readonly actions: readonly string[];
  readonly who: { readonly subjects?: readonly string[]; readonly roles?: readonly string[]; readonly anyone?: true };
  readonly collections: readonly string[];
  readonly keys?: { readonly prefix: string };
  readonly attributes?: readonly string[];
  readonly where?: Where;
}

export interface PolicyItem {
  readonly rules?: readonly PolicyRule[];
  readonly roles?: Readonly<Record<string, readonly string[]>>;
}

/** The rules of all policies that are for a subject. */
export function rulesFor(policies: readonly PolicyItem[], subject: string): PolicyRule[] {
  const roles = policies.flatMap((policy) =>
    Object.entries(policy.roles ?? {}).flatMap(([role, subjects]) => (subjects.includes(subject) ? [role] : [])),
  );
  return policies
    .flatMap(({ rules = [] }) => rules)
    .filter(
      ({ who }) =>
        who.anyone || who.subjects?.includes(subject) || who.roles?.some((role) => roles.includes(role)) || false,
    )
    .map((rule) => ({ ...rule, ...(rule.where && { where: substituted(rule.where as Json, subject) as Where }) }));
}

function substituted(value: Json, subject: string): Json {
  return JSON.parse(JSON.stringify(value).replaceAll('"$subject.id"', JSON.stringify(subject))) as Json;
}

/** The item with the attributes that the rules show of it; undefined where they don't show it. */
export function visible(item: Item, action: string, rules: readonly PolicyRule[]): Item | undefined {
  const about = rules.filter(
    (rule) =>
      rule.actions.includes(action) &&
      rule.collections.some((name) => name === item.collection || (name === '*' && !item.collection.startsWith('_'))) &&
      item.key.startsWith(rule.keys?.prefix ?? '') &&
      (!rule.where || matches(rule.where, item)),
  );
  const allows = about.filter(({ effect }) => effect === 'allow');
  const denies = about.filter(({ effect }) => effect === 'deny');
  if (allows.length === 0 || denies.some(({ attributes }) => !attributes)) return undefined;
  const isShown = (name: string) =>
    allows.some(({ attributes }) => !attributes || attributes.includes(name)) &&
    !denies.some(({ attributes }) => attributes?.includes(name));
  const attributes = Object.fromEntries(Object.entries(item.attributes).filter(([name]) => isShown(name)));
  return { ...item, attributes: attributes as Attributes };
}

/** Whether the rules show the attribute of the item. */
export function shows(item: Item, name: string, action: string, rules: readonly PolicyRule[]): boolean {
  const probe = { ...item, attributes: { ...item.attributes, [name]: item.attributes[name] ?? null } };
  const seen = visible(item, action, rules);
  return (
    seen !== undefined &&
    (name in seen.attributes ||
      (!(name in item.attributes) && name in (visible(probe, action, rules)?.attributes ?? {})))
  );
}
