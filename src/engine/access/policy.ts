/**
 * A policy: an item of `_policies`. Its rules say who may do what with which items and attributes; its roles say who has them. What
 * holds in a pool is what the rules of all its policies say together: a rule that denies beats one that allows, and what no rule
 * allows is denied. Parsing refuses everything that isn't understood, with a pointer to the place.
 */
import { limits } from '../limits.js';
import { isObject, type Json, type JsonObject, pointerToken } from '../state/json.js';
import type { Attributes } from '../state/model.js';
import { checkName } from '../state/names.js';
import { checkWhole, fault, GRANT_MEMBERS, type Grant, parseCondition, parseGrant, parseNames } from './grant.js';
import { checkKeys } from './keys-match.js';

export const POLICIES = '_policies';

/** Whom a rule is for: any of these. */
export interface Who {
  readonly subjects?: readonly string[] | undefined;
  readonly roles?: readonly string[] | undefined;
  /** Hosts of identities' URLs. */
  readonly identityHosts?: readonly string[] | undefined;
  /** Everybody who is known. */
  readonly anyone?: true | undefined;
}

export interface Rule extends Grant {
  readonly effect: 'allow' | 'deny';
  readonly who: Who;
  /** What an item must be after a write; where it is absent, `where` must hold then too. */
  readonly check?: JsonObject | undefined;
}

export interface Policy {
  readonly rules: readonly Rule[];
  /** Who has a role. */
  readonly roles: ReadonlyMap<string, ReadonlySet<string>>;
  /** Whether the pool is for tokens that are bound to a key. */
  readonly requireBound: boolean;
}

const MEMBERS = ['description', 'requireBound', 'roles', 'rules'];
const RULE_MEMBERS = ['effect', 'who', 'check', 'description', ...GRANT_MEMBERS];
const WHO_MEMBERS = ['subjects', 'roles', 'identityHosts', 'anyone'];

/** The policy that an item's attributes are. Throws `invalid` with a pointer to the fault. */
export function parsePolicy(attributes: Attributes): Policy {
  checkMembers(attributes, MEMBERS, '/attributes');
  checkDescription(attributes.description, '/attributes');
  const { rules = [], roles = {}, requireBound = false } = attributes;
  if (typeof requireBound !== 'boolean') throw fault('/attributes/requireBound', 'must be true or false.');
  if (!Array.isArray(rules)) throw fault('/attributes/rules', 'must be a list of rules.');
  if (rules.length > limits.policyRulesMax)
    throw fault(
      '/attributes/rules',
      `must have at most ${limits.policyRulesMax} rules; a pool may have several policies.`,
    );
  const patterns = rules.filter((rule) => isObject(rule) && isObject(rule.keys) && rule.keys.pattern !== undefined);
  if (patterns.length > limits.policyPatternsMax)
    throw fault(
      '/attributes/rules',
      `must have at most ${limits.policyPatternsMax} patterns of keys; prefixes have no such bound.`,
    );
  return {
    rules: rules.map((rule, i) => parseRule(rule, `/attributes/rules/${i}`)),
    roles: parseRoles(roles, '/attributes/roles'),
    requireBound,
  };
}

function parseRule(rule: Json, place: string): Rule {
  if (!isObject(rule)) throw fault(place, 'must be an object.');
  checkMembers(rule, RULE_MEMBERS, place);
  checkDescription(rule.description, place);
  const { effect, who, check } = rule;
  if (effect !== 'allow' && effect !== 'deny') throw fault(`${place}/effect`, 'must be "allow" or "deny".');
  const grant = parseGrant(rule, place);
  checkKeys(grant.keys, `${place}/keys`);
  const parsed: Rule = {
    ...grant,
    effect,
    who: parseWho(who, `${place}/who`),
    ...(check !== undefined && { check: parseCondition(check, `${place}/check`) }),
  };
  checkWhole(parsed, place, { check });
  return parsed;
}

function parseWho(who: Json | undefined, place: string): Who {
  if (!isObject(who) || Object.keys(who).length === 0)
    throw fault(
      place,
      'must say whom the rule is for, such as {"roles": ["editor"]}, {"subjects": ["https://…"]} or {"anyone": true}.',
    );
  checkMembers(who, WHO_MEMBERS, place);
  const { subjects, roles, identityHosts, anyone } = who;
  if (anyone !== undefined && anyone !== true) throw fault(`${place}/anyone`, 'must be true, or be left out.');
  return {
    ...(subjects !== undefined && { subjects: parseNames(subjects, `${place}/subjects`, checkSubject) }),
    ...(roles !== undefined && { roles: parseNames(roles, `${place}/roles`, checkRole) }),
    ...(identityHosts !== undefined && {
      identityHosts: parseNames(identityHosts, `${place}/identityHosts`, checkHost),
    }),
    ...(anyone === true && { anyone }),
  };
}

function parseRoles(roles: Json, place: string): Map<string, Set<string>> {
  if (!isObject(roles)) throw fault(place, 'must be an object of roles and lists of those who have them.');
  const parsed = new Map<string, Set<string>>();
  for (const [name, subjects] of Object.entries(roles)) {
    const at = `${place}/${pointerToken(name)}`;
    try {
      checkRole(name);
    } catch (error) {
      throw fault(at, (error as Error).message);
    }
    if (!Array.isArray(subjects) || subjects.length > limits.roleSubjectsMax)
      throw fault(at, `must be a list of at most ${limits.roleSubjectsMax} subjects.`);
    // A role that nobody has yet is no mistake.
    parsed.set(
      name,
      new Set(subjects.length === 0 ? [] : parseNames(subjects, at, checkSubject, limits.roleSubjectsMax)),
    );
  }
  return parsed;
}

function checkSubject(name: string): string {
  if (name === '' || Buffer.byteLength(name) > limits.subjectBytesMax)
    throw new Error(`must be 1 to ${limits.subjectBytesMax} bytes: the URL of an identity, or the name of an API key.`);
  return name;
}

function checkRole(name: string): string {
  return checkName('role', name);
}

function checkHost(name: string): string {
  if (!/^[a-z0-9.-]+(:\d+)?$|^\[[0-9a-f:.]+\](:\d+)?$/.test(name))
    throw new Error('must be a host as it stands in an identity’s URL, in lower case, such as "id.example.org".');
  return name;
}

function checkDescription(description: Json | undefined, place: string): void {
  if (description === undefined) return;
  if (typeof description !== 'string' || description.length > limits.descriptionLengthMax)
    throw fault(`${place}/description`, `must be a string of at most ${limits.descriptionLengthMax} characters.`);
}

function checkMembers(value: JsonObject, known: readonly string[], place: string): void {
  for (const name of Object.keys(value))
    if (!known.includes(name))
      throw fault(`${place}/${pointerToken(name)}`, `is unknown; there are ${known.join(', ')}.`);
}
