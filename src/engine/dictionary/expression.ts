/**
 * Expressions of the dictionary: CEL over `self` and `old`, compiled once and evaluated synchronously.
 *
 * The library finds out types and unknown names when an expression is compiled, and evaluates by walking its tree. CEL has
 * no recursion and no loop but over a value, so an expression takes time only in its comprehensions and in operations on
 * large values; these charge the meter before they work (`meterTree`), and once too much is spent every loop ends at its next
 * turn. `matches` runs on a linear-time engine. Numbers of attributes are doubles, and operators take doubles and
 * integers mixed, so `self.n + 1` is what it looks like.
 */
import { createRequire } from 'node:module';
import type { ASTNode, Environment } from '@marcbachmann/cel-js';
import { limits } from '../limits.js';
import { isAscii, ownFunction } from './expression-functions.js';
import { type Meter, OVERSPENT, TEXT_PER_STEP } from './meter.js';
import { compilePattern, type Pattern, PatternFault } from './pattern.js';

export interface Expression {
  /** Whether it names `old`. */
  readonly namesOld: boolean;
  /** @throws ExpressionFailure; OVERSPENT */
  evaluate(self: unknown, old: unknown): unknown;
}

/** Says why an expression can't be used (when it is compiled) or has no value (when it is evaluated). */
export class ExpressionFailure extends Error {}

export interface ExpressionOptions {
  readonly meter: Meter;
  /** What its value must be, where it must be something. */
  readonly result?: 'bool' | 'string';
  /** Whether `old` is there. */
  readonly old: boolean;
}

/** @throws ExpressionFailure with the parser's message */
export function compileExpression(source: string, { meter, result, old }: ExpressionOptions): Expression {
  if (source.length > limits.expressionLengthMax) {
    throw new ExpressionFailure(`The expression is longer than ${limits.expressionLengthMax} characters.`);
  }
  let parsed: ReturnType<Environment['parse']>;
  try {
    parsed = environment(old).parse(source);
  } catch (error) {
    throw new ExpressionFailure(said(error));
  }
  const namesOld = nodesOf(parsed.ast).some((node) => node.op === 'id' && (node.args as unknown) === 'old');
  const check = parsed.check();
  if (!check.valid) throw new ExpressionFailure(said(check.error));
  if (result && check.type !== result && check.type !== 'dyn') {
    throw new ExpressionFailure(`The expression must be a ${result}; it is of type ${check.type}.`);
  }
  try {
    meterTree(parsed.ast, meter);
  } catch (error) {
    if (error === OVERSPENT) throw new ExpressionFailure('With this one the patterns of the definition take too long.');
    if (!(error instanceof PatternFault)) throw error;
    throw new ExpressionFailure(error.message);
  }
  const cost = nodesOf(parsed.ast).length / NODES_PER_STEP;
  return {
    namesOld,
    evaluate(self, before) {
      let value: unknown;
      try {
        meter.charge(cost);
        value = parsed(old ? { self, old: before } : { self });
      } catch (error) {
        if (meter.spent) throw OVERSPENT;
        throw new ExpressionFailure(said(error));
      }
      // Errors inside a quantifier or an alternative may be forgiven, the cost is not.
      if (meter.spent) throw OVERSPENT;
      return value;
    },
  };
}

/** The message, without the drawing of the place over several lines. */
function said(error: unknown): string {
  const { message, range } = error as Error & { range?: { start: number } };
  if (error instanceof RangeError) return 'The expression nests too deeply, or makes a text too long.';
  // It may quote a value.
  const [line = ''] = message.slice(0, MESSAGE_LENGTH_MAX).toWellFormed().split('\n');
  return range ? `${line} (at character ${range.start + 1})` : line;
}

const MESSAGE_LENGTH_MAX = 500;

/** Expressions that one environment compiles: it remembers every type that it meets in them. */
const USES_MAX = 1000;
const environments = new Map<boolean, { readonly made: Environment; uses: number }>();

/** The environment is the same for all; it holds no state of its own. */
function environment(old: boolean): Environment {
  let known = environments.get(old);
  if (!known || ++known.uses > USES_MAX) {
    known = { made: makeEnvironment(old), uses: 1 };
    environments.set(old, known);
  }
  return known.made;
}

function makeEnvironment(old: boolean): Environment {
  const { Environment: Made } = createRequire(import.meta.url)('@marcbachmann/cel-js') as {
    Environment: typeof Environment;
  };
  const made = new Made({
    // [1, "a"] is a list like any other in JSON.
    homogeneousAggregateLiterals: false,
    limits: { maxAstNodes: limits.expressionNodesMax, maxDepth: limits.expressionNestingMax },
  }).registerVariable('self', 'dyn');
  if (old) made.registerVariable('old', 'dyn');
  const mixed: Record<string, (a: number, b: number) => number> = {
    '+': (a, b) => a + b,
    '-': (a, b) => a - b,
    '*': (a, b) => a * b,
    '/': (a, b) => a / b,
    '%': (a, b) => a % b,
  };
  for (const [operator, compute] of Object.entries(mixed)) {
    const handler = (a: unknown, b: unknown) => compute(Number(a), Number(b));
    made.registerOperator(`double ${operator} int: double`, handler);
    made.registerOperator(`int ${operator} double: double`, handler);
  }
  made.registerOperator('double % double: double', (a: number, b: number) => a % b);
  made.registerFunction('string.replace(string, string): string', (text: string, part: string, by: string) =>
    text.replaceAll(part, () => by),
  );
  made.registerFunction('string.charAt(int): string', (text: string, at: bigint) => text.charAt(Number(at)));
  simplifyTypes(made);
  return made;
}

/** The evaluator, as the library has it. */
interface Evaluator {
  debugType(value: unknown): unknown;
  debugTypeDeep(value: unknown): unknown;
  readonly registry: { getListType(element: unknown): unknown };
}

/** Levels of lists whose types are told apart; an item has hundreds. */
const TYPE_NESTING_MAX = 4;

/**
 * To choose an operator's overload the library finds out the type of each operand: of a list by its first element, of a map by
 * its first member, as deep as they nest. In a large object it goes through all names to find the first, and it keeps every
 * type that it ever met. Here a map is a map, and lists are told apart by some levels only.
 */
function simplifyTypes(made: Environment): void {
  const probe = made.parse('true');
  probe.check();
  (probe.ast as Node).evaluate = (found) => {
    const evaluator = found as Evaluator;
    const typeOf = (value: unknown, levels: number): unknown =>
      Array.isArray(value) && value.length > 0 && levels > 0
        ? evaluator.registry.getListType(typeOf(value[0], levels - 1))
        : evaluator.debugType(value);
    evaluator.debugTypeDeep = (value) => typeOf(value, TYPE_NESTING_MAX);
    return true;
  };
  probe({});
}

/** The parts of a node that the evaluator calls, as the library has them; a spec fails when a version has others. */
type Handler = (...operands: unknown[]) => unknown;
type Node = ASTNode & {
  handle?: Handler;
  evaluate: Handler;
  meta: { evaluate: Handler; alternate?: unknown; macro?: unknown };
};
interface Loop {
  condition?: (value: unknown) => boolean;
  step: Node;
}

/** Every node of a tree, with what its macros were written out to. */
function nodesOf(root: unknown): Node[] {
  const nodes: Node[] = [];
  const seen = new Set<unknown>();
  const go = (part: unknown): void => {
    if (typeof part !== 'object' || part === null || seen.has(part)) return;
    seen.add(part);
    if (Array.isArray(part)) part.forEach(go);
    else if (part.constructor === (root as Node).constructor) {
      const node = part as Node;
      nodes.push(node);
      go(node.args);
      go(node.meta.alternate);
      go(node.meta.macro);
    } else if (Object.getPrototypeOf(part) === Object.prototype) Object.values(part).forEach(go);
  };
  go(root);
  return nodes;
}

/**
 * Makes a checked tree charge the meter for what takes time in proportion to values.
 *
 * @throws PatternFault when a pattern that stands in the expression can't be used
 */
function meterTree(root: unknown, meter: Meter): void {
  const patterns = new Map<string, Pattern>();
  const nodes = nodesOf(root);
  for (const node of nodes) {
    const inner = node.handle;
    switch (node.op as string) {
      case '+':
        meterResult(node, inner as Handler, meter);
        break;
      case '==':
      case '!=':
      case 'in':
        node.handle = (left, right, ...rest) => {
          if (isLarge(left)) meter.chargeDeep(left);
          // A name is looked up in an object; what is in a list is searched for.
          if (isLarge(right) && (node.op !== 'in' || Array.isArray(right))) meter.chargeDeep(right);
          return (inner as Handler)(left, right, ...rest);
        };
        break;
      case '<':
      case '<=':
      case '>':
      case '>=':
        node.handle = (left, right, at, evaluator) => {
          if (typeof left === 'string' && typeof right === 'string') {
            meter.charge(Math.min(left.length, right.length) / TEXT_PER_STEP);
          }
          return (inner as Handler)(left, right, at, evaluator);
        };
        break;
      case 'comprehension':
        node.handle = (range, loop, evaluator, context) =>
          (inner as Handler)(namesOf(range, meter), loop, evaluator, context);
        break;
      case 'call':
      case 'rcall':
        meterCall(node, inner, meter, patterns);
        break;
      default:
    }
  }
  // After the operations, so that what a loop's errors cost is charged around them.
  const loops = nodes.filter((node) => (node.op as string) === 'comprehension');
  for (const loop of loops) meterLoop(loop.args as unknown as Loop, meter);
}

/** A loop over a map goes through its names, which are looked for each time. */
function namesOf(range: unknown, meter: Meter): unknown {
  if (typeof range !== 'object' || range === null || Array.isArray(range)) return range;
  const names = range instanceof Map ? [...range.keys()] : isPlain(range) ? Object.keys(range) : undefined;
  if (!names) return range;
  meter.charge(names.length);
  return names;
}

/** A turn costs what it looks at; a loop inside charges for its own turns. Past the allowance no loop goes on. */
function meterLoop(loop: Loop, meter: Meter): void {
  const cost = 1 + nodesOf(loop.step).length / NODES_PER_STEP;
  for (const node of nodesOf(loop.step)) meterErrors(node, meter);
  const condition = loop.condition;
  loop.condition = (value) => meter.spend(cost) && (condition === undefined || condition(value));
}

const NODES_PER_STEP = 2;

/** An error is forgiven by some loops and alternatives, and making one takes much longer than a value. */
const ERROR_COST = 100;

function meterErrors(node: Node, meter: Meter): void {
  const charged =
    (inner: Handler): Handler =>
    (...operands) => {
      try {
        return inner(...operands);
      } catch (error) {
        meter.spend(ERROR_COST + (error as Error).message.length / TEXT_PER_STEP);
        throw error;
      }
    };
  if (node.op === '||' || node.op === '&&') node.evaluate = charged(node.meta.evaluate);
  else if (node.handle && (node.op as string) !== 'comprehension') node.handle = charged(node.handle);
}

function meterResult(node: Node, inner: Handler, meter: Meter): void {
  node.handle = (left, right, ...rest) => {
    if (Array.isArray(left) && Array.isArray(right)) meter.charge(left.length + right.length);
    else if (left instanceof Uint8Array && right instanceof Uint8Array) {
      meter.charge((left.length + right.length) / TEXT_PER_STEP);
    }
    const sum = inner(left, right, ...rest);
    if (typeof sum === 'string') meter.charge(sum.length / TEXT_PER_STEP);
    return sum;
  };
}

function meterCall(node: Node, inner: Handler | undefined, meter: Meter, patterns: Map<string, Pattern>): void {
  // A macro such as has() has no handler: it is written out elsewhere, or works on names only.
  if (!inner) return;
  const [name, , [pattern] = []] = node.args as unknown as [string, unknown, Node[]?];
  if (name === 'matches' && (pattern?.op as string) === 'value' && typeof pattern?.args === 'string') {
    patternOf(pattern.args, patterns, meter);
  }
  node.handle = (operands, ...rest) => {
    const values = operands as unknown[];
    if (name === 'size' && isPlain(values[0])) return BigInt((namesOf(values[0], meter) as unknown[]).length);
    meter.charge(callCost(name, values));
    if (name === 'matches' && typeof values[0] === 'string' && typeof values[1] === 'string') {
      return patternOf(values[1], patterns, meter).test(values[0]);
    }
    const result = ownFunction(name, values) ?? inner(operands, ...rest);
    if (typeof result === 'string') meter.charge(result.length / TEXT_PER_STEP);
    else if (Array.isArray(result)) meter.charge(result.length);
    return result;
  };
}

/** An estimate from above of what a function does with its operands. */
function callCost(name: string, values: readonly unknown[]): number {
  const [text, part] = values;
  let cost = 1;
  for (const value of values) {
    if (typeof value === 'string' || value instanceof Uint8Array) cost += value.length / TEXT_PER_STEP;
    else if (isLarge(value) && name !== 'size') cost += Array.isArray(value) ? value.length : 1;
  }
  switch (name) {
    case 'contains':
    case 'indexOf':
    case 'lastIndexOf':
    case 'split':
    case 'replace':
      // The worst search looks at the whole part at every place of the text.
      if (typeof text !== 'string' || typeof part !== 'string') return cost;
      if (name !== 'split' && name !== 'replace') return cost + (text.length * part.length) / 256;
      return cost + (text.length * part.length) / 256 + found(text, part, values[2]);
    case 'size':
      // The characters of a text are counted one by one.
      return cost + (typeof text === 'string' ? text.length / 16 : 0);
    case 'json':
      return cost + (text instanceof Uint8Array ? text.length / 8 : 0);
    case 'lowerAscii':
    case 'upperAscii':
      return cost + (typeof text === 'string' && !isAscii(text) ? text.length / 2 : 0);
    case 'duration':
      return cost + 8;
    case 'join':
      return cost + (Array.isArray(text) ? joined(text, typeof part === 'string' ? part.length : 0) : 0);
    default:
      // A time in a time zone is worked out by formatting it.
      return name.startsWith('get') && values.length > 1 ? cost + 1500 : cost;
  }
}

function joined(pieces: readonly unknown[], separator: number): number {
  let length = 0;
  for (const piece of pieces) length += separator + (typeof piece === 'string' ? piece.length : 0);
  return length / TEXT_PER_STEP;
}

/** What splitting or replacing may make: a piece for every place where the part can stand. */
function found(text: string, part: string, by: unknown): number {
  const pieces = text.length / Math.max(1, part.length);
  return pieces / 4 + (typeof by === 'string' ? (pieces * by.length) / TEXT_PER_STEP : 0);
}

function patternOf(source: string, patterns: Map<string, Pattern>, meter: Meter): Pattern {
  const known = patterns.get(source);
  if (known) return known;
  // A pattern that is worked out from the item is compiled each time it is another one.
  const made = compilePattern(source, meter);
  if (patterns.size >= limits.patternsKeptMax) patterns.clear();
  patterns.set(source, made);
  return made;
}

function isPlain(value: unknown): value is object {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

function isLarge(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || (typeof value === 'string' && value.length > TEXT_PER_STEP);
}
