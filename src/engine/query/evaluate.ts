/**
 * What a filter means: a parsed filter as a function of an item. Pure. Indexes only narrow what is looked at; this judges.
 */
import { getMember, type Json, jsonEqual } from '../state/json.js';
import type { Filter, FilterNode, Test } from './filter.js';
import { type Readable, readPath } from './path.js';
import { compareValues, rankOf } from './value-order.js';

export type Matcher = (item: Readable) => boolean;

export function matcherOf(filter: Filter | undefined): Matcher {
  return filter ? compile(filter.root) : () => true;
}

function compile(node: FilterNode): Matcher {
  switch (node.kind) {
    case 'all': {
      const parts = node.parts.map(compile);
      return (item) => parts.every((part) => part(item));
    }
    case 'any': {
      const parts = node.parts.map(compile);
      return (item) => parts.some((part) => part(item));
    }
    case 'not': {
      const part = compile(node.part);
      return (item) => !part(item);
    }
    case 'test':
      return compileTest(node);
  }
}

function compileTest(test: Test): Matcher {
  const { path, operator, operand } = test;
  const holds = valueTest(test);
  if (operator === 'exists') return (item) => (readPath(path, item) !== undefined) === operand;
  const [name] = path.tokens;
  if (path.of === 'attribute' && path.tokens.length === 1) {
    return ({ attributes }) => {
      const value = getMember(attributes, name as string);
      return value !== undefined && holds(value);
    };
  }
  return (item) => {
    const value = readPath(path, item);
    return value !== undefined && holds(value);
  };
}

/** The test of a value that is there. */
function valueTest({ operator, operand }: Test): (value: Json) => boolean {
  const isScalar = typeof operand !== 'object' || operand === null;
  switch (operator) {
    case 'eq':
      return isScalar ? (value) => value === operand : (value) => jsonEqual(value, operand);
    case 'ne':
      return (value) => !jsonEqual(value, operand);
    case 'lt':
      return ordered(operand, (order) => order < 0);
    case 'lte':
      return ordered(operand, (order) => order <= 0);
    case 'gt':
      return ordered(operand, (order) => order > 0);
    case 'gte':
      return ordered(operand, (order) => order >= 0);
    case 'in':
      return memberOf(operand as Json[]);
    case 'nin': {
      const isMember = memberOf(operand as Json[]);
      return (value) => !isMember(value);
    }
    case 'prefix':
      return (value) => typeof value === 'string' && value.startsWith(operand as string);
    case 'has':
      return (value) => Array.isArray(value) && value.some((element) => jsonEqual(element, operand));
    case 'exists':
      return () => operand === true;
  }
}

/** false and true are of one JSON type, whatever their places in the order across types. */
function ordered(operand: Json, judge: (order: number) => boolean): (value: Json) => boolean {
  const rank = rankOf(operand);
  return (value) => rankOf(value) === rank && judge(compareValues(value, operand));
}

function memberOf(operands: readonly Json[]): (value: Json) => boolean {
  const scalars = new Set<Json>(operands.filter((operand) => typeof operand !== 'object' || operand === null));
  const others = operands.filter((operand) => typeof operand === 'object' && operand !== null);
  return (value) => scalars.has(value) || others.some((operand) => jsonEqual(operand, value));
}
