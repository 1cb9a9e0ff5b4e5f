/** Sorting of what may take long to compare, in portions: between two of them others have their turn. */
import { limits } from '../limits.js';
import type { Budget } from './budget.js';

/** Sorts stably. `bytes` is about the size of what is compared; little is sorted at once. */
export async function sortInTurns<T>(
  values: readonly T[],
  compare: (a: T, b: T) => number,
  bytes: number,
  budget: Budget,
): Promise<T[]> {
  if (bytes > limits.scanPortionBytes) return mergeSort(values, compare, budget);
  const sorted = [...values].sort(compare);
  budget.check();
  return sorted;
}

async function mergeSort<T>(values: readonly T[], compare: (a: T, b: T) => number, budget: Budget): Promise<T[]> {
  const { length } = values;
  let from = [...values];
  let to = [...values];
  for (let width = 1; width < length; width *= 2) {
    for (let start = 0; start < length; start += 2 * width) {
      const middle = Math.min(start + width, length);
      const end = Math.min(middle + width, length);
      let [left, right] = [start, middle];
      for (let at = start; at < end; at++) {
        const isLeft = left < middle && (right >= end || compare(from[left] as T, from[right] as T) <= 0);
        to[at] = from[isLeft ? left++ : right++] as T;
        if (budget.isDue) await budget.rest();
      }
    }
    [from, to] = [to, from];
  }
  budget.check();
  return from;
}
