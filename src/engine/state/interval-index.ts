/**
 * Half-open intervals of keys, and those among them that hold a given key or overlap a range: a treap ordered by the
 * intervals' starts, each node knowing the highest end below it, so that a search visits only branches that can hold the
 * key. Adding, removing and searching cost about log n (Cormen et al., Introduction to Algorithms, 14.3, on randomized search trees).
 */
import { compareKeys, type KeyRange } from './key-order.js';

interface Node<T> {
  readonly start: string;
  /** Undefined: no upper bound. */
  readonly end: string | undefined;
  readonly value: T;
  readonly serial: number;
  readonly priority: number;
  highest: string | undefined;
  left: Node<T> | undefined;
  right: Node<T> | undefined;
}

export class IntervalIndex<T> {
  #root: Node<T> | undefined;
  #serials = 0;
  readonly #places = new Map<T, { start: string; serial: number }>();

  get size(): number {
    return this.#places.size;
  }

  add(range: KeyRange, value: T): void {
    const start = range.start ?? '';
    const serial = ++this.#serials;
    this.#places.set(value, { start, serial });
    const node = {
      start,
      end: range.end,
      value,
      serial,
      priority: Math.random(),
      highest: range.end,
      left: undefined,
      right: undefined,
    };
    const [left, right] = split(this.#root, start, serial);
    this.#root = merge(merge(left, node), right);
  }

  remove(value: T): void {
    const place = this.#places.get(value);
    if (!place) return;
    this.#places.delete(value);
    const [left, rest] = split(this.#root, place.start, place.serial);
    const [, right] = split(rest, place.start, place.serial + 1);
    this.#root = merge(left, right);
  }

  /** Calls `visit` for each value whose interval holds the key. */
  each(key: string, visit: (value: T) => void): void {
    search(this.#root, key, visit);
  }

  /** Whether any interval holds the key. */
  has(key: string): boolean {
    return holds(this.#root, key);
  }

  /** Tests the values whose intervals overlap the range, until one passes. Neither the range nor the intervals are empty. */
  someOverlapping(range: KeyRange, test: (value: T) => boolean): boolean {
    return overlaps(this.#root, range, test);
  }
}

function before<T>(node: Node<T>, start: string, serial: number): boolean {
  const order = compareKeys(node.start, start);
  return order < 0 || (order === 0 && node.serial < serial);
}

/** Two trees: the nodes before (start, serial), and the others. */
function split<T>(
  node: Node<T> | undefined,
  start: string,
  serial: number,
): [Node<T> | undefined, Node<T> | undefined] {
  if (!node) return [undefined, undefined];
  if (before(node, start, serial)) {
    const [left, right] = split(node.right, start, serial);
    node.right = left;
    return [measured(node), right];
  }
  const [left, right] = split(node.left, start, serial);
  node.left = right;
  return [left, measured(node)];
}

function merge<T>(a: Node<T> | undefined, b: Node<T> | undefined): Node<T> | undefined {
  if (!a || !b) return a ?? b;
  if (a.priority > b.priority) {
    a.right = merge(a.right, b);
    return measured(a);
  }
  b.left = merge(a, b.left);
  return measured(b);
}

function measured<T>(node: Node<T>): Node<T> {
  let highest = node.end;
  for (const child of [node.left, node.right]) {
    if (!child || highest === undefined) continue;
    if (child.highest === undefined || compareKeys(child.highest, highest) > 0) highest = child.highest;
  }
  node.highest = highest;
  return node;
}

function search<T>(node: Node<T> | undefined, key: string, visit: (value: T) => void): void {
  if (!node || (node.highest !== undefined && compareKeys(node.highest, key) <= 0)) return;
  search(node.left, key, visit);
  if (compareKeys(node.start, key) > 0) return;
  if (node.end === undefined || compareKeys(key, node.end) < 0) visit(node.value);
  search(node.right, key, visit);
}

function holds<T>(node: Node<T> | undefined, key: string): boolean {
  if (!node || (node.highest !== undefined && compareKeys(node.highest, key) <= 0)) return false;
  if (holds(node.left, key)) return true;
  if (compareKeys(node.start, key) > 0) return false;
  return node.end === undefined || compareKeys(key, node.end) < 0 || holds(node.right, key);
}

function overlaps<T>(node: Node<T> | undefined, range: KeyRange, test: (value: T) => boolean): boolean {
  const start = range.start ?? '';
  if (!node || (node.highest !== undefined && compareKeys(node.highest, start) <= 0)) return false;
  if (overlaps(node.left, range, test)) return true;
  if (range.end !== undefined && compareKeys(node.start, range.end) >= 0) return false;
  if ((node.end === undefined || compareKeys(start, node.end) < 0) && test(node.value)) return true;
  return overlaps(node.right, range, test);
}
