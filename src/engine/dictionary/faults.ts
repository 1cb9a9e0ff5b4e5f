/** Collects what is wrong with an entry of the dictionary, so that its author sees all of it at once. */
import { type ErrorPlace, Problem } from '../errors.js';
import { limits } from '../limits.js';
import { isObject, type Json, pointerToken } from '../state/json.js';

export class Faults {
  readonly #places: ErrorPlace[] = [];

  /** `pointer` leads into the entry's attributes. */
  add(pointer: string, detail: string): void {
    if (this.#places.length < limits.violationsMax) {
      this.#places.push({ pointer: `/attributes${pointer}`, code: 'invalid', detail });
    }
  }

  get any(): boolean {
    return this.#places.length > 0;
  }

  /** @throws Problem 422 `invalid` when there is any fault */
  raise(): void {
    const [first] = this.#places;
    if (!first) return;
    const more = this.#places.length > 1 ? ` (and ${this.#places.length - 1} more: see errors)` : '';
    throw new Problem('invalid', `The definition can't be used: ${first.pointer}: ${first.detail}${more}`, {
      errors: this.#places,
    });
  }

  /** Refuses members of an object that nobody knows, but for `x-…` where these are free. */
  unknownMembers(object: Json, pointer: string, known: readonly string[], extensible = false): void {
    if (!isObject(object)) return;
    for (const name of Object.keys(object)) {
      if (known.includes(name) || (extensible && name.startsWith('x-'))) continue;
      this.add(
        `${pointer}/${pointerToken(name)}`,
        `There is no member ${JSON.stringify(name)} here; there are ${known.join(', ')}${extensible ? ' and x-…' : ''}.`,
      );
    }
  }

  /** The value when it is a string of at most `max` characters; otherwise a fault. */
  text(value: Json | undefined, pointer: string, max: number): string | undefined {
    if (value === undefined) return undefined;
    if (typeof value === 'string' && value.length <= max) return value;
    this.add(pointer, typeof value === 'string' ? `It is longer than ${max} characters.` : 'It must be a string.');
    return undefined;
  }

  /** The value when it is one of the words; otherwise a fault. */
  word<W extends string>(value: Json | undefined, pointer: string, words: readonly W[]): W | undefined {
    if (value === undefined) return undefined;
    const found = words.find((word) => word === value);
    if (found === undefined) this.add(pointer, `It must be one of ${words.join(', ')}.`);
    return found;
  }

  /** The value when it is true or false; otherwise a fault. */
  flag(value: Json | undefined, pointer: string): boolean | undefined {
    if (value === undefined || typeof value === 'boolean') return value;
    this.add(pointer, 'It must be true or false.');
    return undefined;
  }

  /** The elements of an array of at most `max`; otherwise a fault and none. */
  list(value: Json | undefined, pointer: string, max: number): readonly Json[] {
    if (value === undefined) return [];
    if (!Array.isArray(value)) {
      this.add(pointer, 'It must be an array.');
      return [];
    }
    if (value.length > max) {
      this.add(pointer, `It has ${value.length} elements; at most ${max} are allowed.`);
      return [];
    }
    return value;
  }
}
