/**
 * Rules of `GET P/policy/effective`, in CASL's form, judged here. The last rule that is about something decides; where none is, it isn't allowed.
 * A condition that this version doesn't know counts as not met by a rule that allows and as met by one that denies. Pure, and a hint only: the
 * server decides.
 */
import { compareValues } from './filter-match.js';
import { isJsonObject, isSame, type Json, type JsonObject } from './json.js';

export interface PolicyRule {
  readonly action: readonly string[];
  readonly subject: readonly string[];
  readonly fields?: readonly string[];
  readonly conditions?: JsonObject;
  readonly inverted?: boolean;
}

export interface EffectivePolicy {
  readonly rules: readonly PolicyRule[];
  /** Of a weaker token: each must allow as well. */
  readonly restrictions: readonly (readonly PolicyRule[])[];
}

export const EVERYTHING: EffectivePolicy = { rules: [{ action: ['manage'], subject: ['all'] }], restrictions: [] };

export interface Question {
  readonly action: 'create' | 'write' | 'delete';
  readonly collection: string;
  readonly key: string;
  readonly attributes: JsonObject;
  /** What is set or removed. */
  readonly names: readonly string[];
}

export function allows(policy: EffectivePolicy, question: Question): boolean {
  return [policy.rules, ...policy.restrictions].every((layer) =>
    question.names.length === 0
      ? layerAllows(layer, question, undefined)
      : question.names.every((name) => layerAllows(layer, question, name)),
  );
}

function layerAllows(rules: readonly PolicyRule[], question: Question, name: string | undefined): boolean {
  const about = rules.findLast((rule) => isAbout(rule, question, name));
  return about !== undefined && about.inverted !== true;
}

function isAbout(
  rule: PolicyRule,
  { action, collection, key, attributes }: Question,
  name: string | undefined,
): boolean {
  if (!rule.action.includes('manage') && !rule.action.includes(action)) return false;
  if (!rule.subject.includes('all') && !rule.subject.includes(collection)) return false;
  // Without a name it is asked whether any attribute may be; a denial of some doesn't answer that.
  if (rule.fields && (name === undefined ? rule.inverted === true : !rule.fields.includes(name))) return false;
  if (!rule.conditions) return true;
  const object = { ...attributes, '@key': key };
  const holds = Object.entries(rule.conditions).map(([field, condition]) =>
    holdsFor(condition, valueAt(object, field)),
  );
  if (holds.includes(false)) return false;
  return holds.includes(undefined) ? rule.inverted === true : true;
}

function valueAt(object: JsonObject, field: string): Json | undefined {
  let value: Json | undefined = object;
  for (const token of field.split('.')) {
    if (Array.isArray(value)) value = /^\d+$/.test(token) ? value[Number(token)] : undefined;
    else value = isJsonObject(value) && Object.hasOwn(value, token) ? value[token] : undefined;
  }
  return value;
}

function holdsFor(condition: Json, value: Json | undefined): boolean | undefined {
  const operators = isJsonObject(condition) && Object.keys(condition).some((name) => name.startsWith('$'));
  if (!operators) return isSame(value, condition);
  let result: boolean | undefined = true;
  for (const [operator, operand] of Object.entries(condition as JsonObject)) {
    const holds = operatorHolds(operator, operand, value);
    if (holds === false) return false;
    if (holds === undefined) result = undefined;
  }
  return result;
}

function operatorHolds(operator: string, operand: Json, value: Json | undefined): boolean | undefined {
  switch (operator) {
    case '$eq':
      return isSame(value, operand);
    case '$ne':
      return !isSame(value, operand);
    case '$in':
      return Array.isArray(operand) ? operand.some((element) => isSame(value, element)) : undefined;
    case '$nin':
      return Array.isArray(operand) ? !operand.some((element) => isSame(value, element)) : undefined;
    case '$exists':
      return (value !== undefined) === operand;
    case '$all':
      return Array.isArray(operand)
        ? Array.isArray(value) && operand.every((wanted) => value.some((element) => isSame(element, wanted)))
        : undefined;
    case '$lt':
    case '$lte':
    case '$gt':
    case '$gte': {
      if (value === undefined || typeof value !== typeof operand) return false;
      const order = compareValues(value, operand);
      if (operator === '$lt') return order < 0;
      if (operator === '$lte') return order <= 0;
      return operator === '$gt' ? order > 0 : order >= 0;
    }
    default:
      // $regex too: a prefix that the server quoted could be read, but any other could keep us busy for ever.
      return undefined;
  }
}
