/**
 * The filter language of docs/API.md: parsing, with a JSON Pointer to the place of every fault. One grammar serves queries,
 * watches, conditions and deletions. What a filter means is in evaluate.ts.
 */
import { type ErrorPlace, Problem } from '../errors.js';
import { limits } from '../limits.js';
import { isObject, type Json, nestingOf, parseJson, pointerToken } from '../state/json.js';
import { type Path, parsePath } from './path.js';

export type Operator = 'eq' | 'ne' | 'lt' | 'lte' | 'gt' | 'gte' | 'in' | 'nin' | 'prefix' | 'has' | 'exists';

export interface Test {
  readonly kind: 'test';
  readonly path: Path;
  readonly operator: Operator;
  readonly operand: Json;
}

export type FilterNode =
  | Test
  | { readonly kind: 'all' | 'any'; readonly parts: readonly FilterNode[] }
  | { readonly kind: 'not'; readonly part: FilterNode };

/** A parsed filter. `text` is equal for filters that were written alike. */
export interface Filter {
  readonly root: FilterNode;
  readonly text: string;
}

const ORDERING = new Set<string>(['lt', 'lte', 'gt', 'gte']);
const OPERATORS = new Set<string>(['eq', 'ne', ...ORDERING, 'in', 'nin', 'prefix', 'has', 'exists']);

/** Parses a filter that is a member of a body. `place` is the pointer to it. */
export function parseFilter(value: Json, place: string): Filter {
  const text = JSON.stringify(value);
  if (text.length > limits.filterBytesMax || Buffer.byteLength(text) > limits.filterBytesMax) {
    throw fault(place, `is ${Buffer.byteLength(text)} bytes of JSON; at most ${limits.filterBytesMax} are allowed.`);
  }
  return { root: new Parser().filter(value, place, 0), text };
}

/** Parses a filter that is a parameter of a query string. */
export function parseFilterText(text: string, place: string): Filter {
  if (Buffer.byteLength(text) > limits.filterTextBytesMax) {
    throw fault(
      place,
      `is ${Buffer.byteLength(text)} bytes; at most ${limits.filterTextBytesMax} are allowed in a query string. A query may have a longer one: POST …/query.`,
    );
  }
  let value: Json;
  try {
    value = parseJson(text);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const detail = error.detail.replace(/^The body/, 'it');
    if (error.code === 'numberOutOfRange') {
      const pointer = `${place}${error.extras.errors?.[0]?.pointer ?? ''}`;
      throw new Problem(error.code, error.detail, { errors: [{ pointer, code: error.code, detail }] });
    }
    throw fault(place, `must be a filter as JSON, such as {"status":"open"}: ${detail}`);
  }
  return parseFilter(value, place);
}

class Parser {
  #nodes = 0;

  filter(value: Json, pointer: string, depth: number): FilterNode {
    if (depth > limits.filterDepthMax) throw fault(pointer, `nests deeper than ${limits.filterDepthMax} levels.`);
    if (!isObject(value)) throw fault(pointer, 'must be an object of names and what they must be.');
    const parts = Object.entries(value).map(([name, operand]) =>
      this.#member(name, operand, `${pointer}/${pointerToken(name)}`, depth),
    );
    return parts.length === 1 ? (parts[0] as FilterNode) : { kind: 'all', parts };
  }

  #member(name: string, operand: Json, pointer: string, depth: number): FilterNode {
    this.#count(pointer);
    switch (name) {
      case 'and':
      case 'or':
        return { kind: name === 'and' ? 'all' : 'any', parts: this.#branches(operand, pointer, depth) };
      case 'not':
        return { kind: 'not', part: this.filter(operand, pointer, depth + 1) };
      default:
        return this.#tests(parseName(name, pointer), operand, pointer);
    }
  }

  #branches(operand: Json, pointer: string, depth: number): FilterNode[] {
    if (!Array.isArray(operand)) throw fault(pointer, 'must be an array of filters.');
    return operand.map((branch, i) => {
      this.#count(`${pointer}/${i}`);
      return this.filter(branch, `${pointer}/${i}`, depth + 1);
    });
  }

  #tests(path: Path, operand: Json, pointer: string): FilterNode {
    if (Array.isArray(operand)) throw fault(pointer, 'must be a value or an object of operators; write {"eq": […]}.');
    if (!isObject(operand)) return test(path, 'eq', operand, pointer);
    const parts = Object.entries(operand).map(([operator, value]) => {
      const place = `${pointer}/${pointerToken(operator)}`;
      this.#count(place);
      if (!OPERATORS.has(operator)) {
        const known = [...OPERATORS].join(', ');
        throw fault(place, `is no operator; there are ${known}. A JSON object is compared by {"eq": {…}}.`);
      }
      return test(path, operator as Operator, value, place);
    });
    if (parts.length === 0) throw fault(pointer, 'names no operator; write {"eq": {}} for an empty object.');
    return parts.length === 1 ? (parts[0] as Test) : { kind: 'all', parts };
  }

  #count(pointer: string): void {
    if (++this.#nodes > limits.filterNodesMax) {
      throw fault(
        pointer,
        `is one too many: a filter has at most ${limits.filterNodesMax} names, operators and branches.`,
      );
    }
  }
}

function parseName(name: string, pointer: string): Path {
  try {
    return parsePath(name);
  } catch (error) {
    throw fault(pointer, (error as Error).message);
  }
}

function test(path: Path, operator: Operator, operand: Json, pointer: string): Test {
  const wanted = wantedOperand(path, operator, operand);
  if (wanted) throw fault(pointer, wanted);
  if (typeof operand === 'object' && nestingOf(operand, limits.nestingMax) > limits.nestingMax) {
    throw fault(pointer, `nests deeper than ${limits.nestingMax} levels.`);
  }
  return { kind: 'test', path, operator, operand };
}

/** What is wrong with an operand, if anything. */
function wantedOperand(path: Path, operator: Operator, operand: Json): string | undefined {
  // A top-level null means absent, so that nothing could ever equal it.
  const isTop = path.of !== 'attribute' || path.tokens.length === 1;
  const isAbsent = 'is never null where it is present; use {"exists": false} for what is absent.';
  if (ORDERING.has(operator)) return operand === null ? 'must be a value to compare with, not null.' : undefined;
  switch (operator) {
    case 'eq':
      return isTop && operand === null ? isAbsent : undefined;
    case 'in':
    case 'nin':
      if (!Array.isArray(operand)) return 'must be an array of values.';
      return isTop && operator === 'in' && operand.includes(null) ? isAbsent : undefined;
    case 'prefix':
      return typeof operand === 'string' ? undefined : 'must be a string.';
    case 'exists':
      return typeof operand === 'boolean' ? undefined : 'must be true or false.';
    default:
      return undefined;
  }
}

function fault(pointer: string, detail: string): Problem {
  const place: ErrorPlace = { pointer, code: 'invalidFilter', detail };
  return new Problem('invalidFilter', `${pointer || 'The filter'} ${detail}`, { errors: [place] });
}

/** The tests that must all hold, as far as they can be told apart: those of the top, and of `and` below it. */
export function conjuncts(node: FilterNode): FilterNode[] {
  return node.kind === 'all' ? node.parts.flatMap(conjuncts) : [node];
}
