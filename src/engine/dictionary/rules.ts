/**
 * The rules of a definition: conditions on an item that a schema can't say, as Kubernetes has them for its resources. A rule
 * that names `old` is a rule of transitions, and only evaluated when the item existed before.
 */
import { limits } from '../limits.js';
import { getMember, isObject, type Json } from '../state/json.js';
import type { Attributes } from '../state/model.js';
import { compileExpression, type Expression, ExpressionFailure } from './expression.js';
import { toExpression } from './expression-values.js';
import type { Faults } from './faults.js';
import { type Meter, OVERSPENT } from './meter.js';

interface Rule {
  readonly source: string;
  readonly expression: Expression;
  readonly message: string | undefined;
  readonly messageExpression: Expression | undefined;
  /** Leads into the attributes; empty for the item as a whole. */
  readonly pointer: string;
}

export interface Rules {
  readonly sources: readonly string[];
  /** Every rule that doesn't hold. `old` is undefined for a new item. */
  broken(attributes: Attributes, old: Attributes | undefined): { pointer: string; detail: string }[];
}

const MESSAGE_LENGTH_MAX = 2000;

export function readRules(value: Json | undefined, meter: Meter, faults: Faults): Rules {
  const rules = faults
    .list(value, '/rules', limits.rulesMax)
    .map((declared, i) => readRule(declared, `/rules/${i}`, meter, faults))
    .filter((rule) => rule !== undefined);
  return {
    sources: rules.map(({ source }) => source),
    broken(attributes, old) {
      const found: { pointer: string; detail: string }[] = [];
      const self = toExpression(attributes, meter);
      const before = old === undefined ? null : toExpression(old, meter);
      for (const rule of rules) {
        if (found.length >= limits.violationsMax) break;
        if (rule.expression.namesOld && old === undefined) continue;
        const detail = breachOf(rule, self, before, meter);
        if (detail !== undefined) found.push({ pointer: rule.pointer, detail });
        if (meter.spent) break;
      }
      return found;
    },
  };
}

function breachOf(rule: Rule, self: unknown, old: unknown, meter: Meter): string | undefined {
  try {
    const value = rule.expression.evaluate(self, old);
    if (value === true) return undefined;
    if (value !== false) return `the rule \`${rule.source}\` is neither true nor false`;
    return said(rule, self, old);
  } catch (error) {
    if (error === OVERSPENT) {
      return `the rule \`${rule.source}\` costs more than the ${meter.allowance} steps that an item may take to check`;
    }
    if (!(error instanceof Error)) throw error;
    return `the rule \`${rule.source}\` can't be evaluated: ${error.message}`;
  }
}

function said({ source, message, messageExpression }: Rule, self: unknown, old: unknown): string {
  const plain = message ?? `breaks the rule \`${source}\``;
  if (!messageExpression) return plain;
  try {
    const made = messageExpression.evaluate(self, old);
    return typeof made === 'string' && made.trim() !== '' && made.isWellFormed()
      ? made.slice(0, MESSAGE_LENGTH_MAX).toWellFormed()
      : plain;
  } catch {
    return plain;
  }
}

function readRule(declared: Json, at: string, meter: Meter, faults: Faults): Rule | undefined {
  if (!isObject(declared)) {
    faults.add(at, 'A rule is an object with a member `rule`.');
    return undefined;
  }
  faults.unknownMembers(declared, at, ['rule', 'message', 'messageExpression', 'pointer']);
  const message = faults.text(getMember(declared, 'message'), `${at}/message`, MESSAGE_LENGTH_MAX);
  const pointer = faults.text(getMember(declared, 'pointer'), `${at}/pointer`, 1000) ?? '';
  if (!/^(?:\/(?:[^~/]|~[01])*)*$/.test(pointer)) {
    faults.add(`${at}/pointer`, 'It must be a JSON Pointer into the attributes, such as /end.');
  }
  const wanted = { meter, old: true } as const;
  const source = getMember(declared, 'rule');
  const expression = readExpression(source, `${at}/rule`, { ...wanted, result: 'bool' }, faults);
  const messageSource = getMember(declared, 'messageExpression');
  const messageExpression =
    messageSource === undefined
      ? undefined
      : readExpression(messageSource, `${at}/messageExpression`, { ...wanted, result: 'string' }, faults);
  return expression && { source: source as string, expression, message, messageExpression, pointer };
}

/** Compiles an expression, or adds a fault. */
export function readExpression(
  source: Json | undefined,
  at: string,
  options: Parameters<typeof compileExpression>[1],
  faults: Faults,
): Expression | undefined {
  if (typeof source !== 'string') {
    faults.add(at, 'It must be an expression, as a string.');
    return undefined;
  }
  try {
    return compileExpression(source, options);
  } catch (error) {
    if (!(error instanceof ExpressionFailure)) throw error;
    faults.add(at, error.message);
    return undefined;
  }
}
