/**
 * What a filter means: a parsed filter as a function of an item. Pure. Indexes only narrow what is looked at; this judges.
 * Tests whose cost grows with the item count their steps, and a judgement may be made in portions.
 */
import { getMember, type Json } from '../state/json.js';
import type { Filter, FilterNode, Test } from './filter.js';
import { type Readable, readPath } from './path.js';
import { compareValues, equalValues, rankOf, type Work } from './value-order.js';

export type Matcher = (item: Readable) => boolean;

/** Where the steps of tests are counted. */
export interface Meter extends Work {
  /** Called after every test that may have taken many; throws where they are too many. */
  check(): void;
}

/** A filter that judges an item test by test: between two of them `rest` is awaited, if there is need to. */
export type PatientMatcher = (item: Readable, rest: () => Promise<void> | undefined) => Promise<boolean>;

export interface Matchers {
  readonly matches: Matcher;
  /** The same for items whose tests may take long each. */
  readonly matchesPatiently: PatientMatcher;
}

/** A judge whose items are few, or whose filter was measured before. */
const unmetered: Meter = { steps: 0, check: () => undefined };

const ALL: Matchers = { matches: () => true, matchesPatiently: async () => true };

export function matcherOf(filter: Filter | undefined, meter: Meter = unmetered): Matcher {
  return matchersOf(filter, meter).matches;
}

export function matchersOf(filter: Filter | undefined, meter: Meter): Matchers {
  return filter ? compile(filter.root, meter) : ALL;
}

function compile(node: FilterNode, meter: Meter): Matchers {
  switch (node.kind) {
    case 'all':
    case 'any':
      return compileParts(node.parts, node.kind === 'any', meter);
    case 'not': {
      const { matches, matchesPatiently } = compile(node.part, meter);
      return {
        matches: (item) => !matches(item),
        matchesPatiently: async (item, rest) => !(await matchesPatiently(item, rest)),
      };
    }
    case 'test': {
      const matches = compileTest(node, meter);
      const matchesPatiently: PatientMatcher = async (item, rest) => {
        const holds = matches(item);
        await rest();
        return holds;
      };
      return { matches, matchesPatiently };
    }
  }
}

/** Parts of which the first that answers `decisive` decides. */
function compileParts(nodes: readonly FilterNode[], decisive: boolean, meter: Meter): Matchers {
  const compiled = nodes.map((node) => compile(node, meter));
  const parts = compiled.map(({ matches }) => matches);
  return {
    matches: decisive ? (item) => parts.some((part) => part(item)) : (item) => parts.every((part) => part(item)),
    matchesPatiently: async (item, rest) => {
      for (const { matchesPatiently } of compiled) {
        if ((await matchesPatiently(item, rest)) === decisive) return decisive;
      }
      return !decisive;
    },
  };
}

function compileTest(test: Test, meter: Meter): Matcher {
  const { path, operator, operand } = test;
  const holds = valueTest(test, meter);
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

type ValueTest = (value: Json) => boolean;

/** The test of a value that is there. */
function valueTest({ operator, operand }: Test, meter: Meter): ValueTest {
  switch (operator) {
    case 'eq':
      return equalTo(operand, meter);
    case 'ne': {
      const isEqual = equalTo(operand, meter);
      return (value) => !isEqual(value);
    }
    case 'lt':
      return ordered(operand, (order) => order < 0, meter);
    case 'lte':
      return ordered(operand, (order) => order <= 0, meter);
    case 'gt':
      return ordered(operand, (order) => order > 0, meter);
    case 'gte':
      return ordered(operand, (order) => order >= 0, meter);
    case 'in':
      return memberOf(operand as Json[], meter);
    case 'nin': {
      const isMember = memberOf(operand as Json[], meter);
      return (value) => !isMember(value);
    }
    case 'prefix':
      return (value) => typeof value === 'string' && value.startsWith(operand as string);
    case 'has':
      return having(operand, meter);
    case 'exists':
      return () => operand === true;
  }
}

function isScalar(value: Json): boolean {
  return typeof value !== 'object' || value === null;
}

/** A test whose steps are looked at. */
function metered(holds: ValueTest, meter: Meter): ValueTest {
  return (value) => {
    const answer = holds(value);
    meter.check();
    return answer;
  };
}

function equalTo(operand: Json, meter: Meter): ValueTest {
  if (isScalar(operand)) return (value) => value === operand;
  return metered((value) => equalValues(operand, value, meter), meter);
}

/** false and true are of one JSON type, whatever their places in the order across types. */
function ordered(operand: Json, judge: (order: number) => boolean, meter: Meter): ValueTest {
  const rank = rankOf(operand);
  if (isScalar(operand)) return (value) => rankOf(value) === rank && judge(compareValues(value, operand));
  return metered((value) => rankOf(value) === rank && judge(compareValues(value, operand, meter)), meter);
}

function memberOf(operands: readonly Json[], meter: Meter): ValueTest {
  const scalars = new Set<Json>(operands.filter(isScalar));
  const others = operands.filter((operand) => !isScalar(operand));
  if (others.length === 0) return (value) => scalars.has(value);
  const isOther = metered((value) => others.some((operand) => equalWithin(operand, value, meter)), meter);
  return (value) => (isScalar(value) ? scalars.has(value) : isOther(value));
}

/** Elements of an array that a search for a scalar passes in the time of a step. */
const STEP_ELEMENTS = 8;

function having(operand: Json, meter: Meter): ValueTest {
  return metered((value) => {
    if (!Array.isArray(value)) return false;
    if (!isScalar(operand)) return value.some((element) => equalWithin(operand, element, meter));
    meter.steps += value.length / STEP_ELEMENTS;
    return value.includes(operand);
  }, meter);
}

/** One equality of many. */
function equalWithin(operand: Json, value: Json, meter: Meter): boolean {
  meter.steps++;
  return equalValues(operand, value, meter);
}
