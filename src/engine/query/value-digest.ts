/** A digest of a JSON value that is the same for equal values, whatever the order of members. Different values may share one. */
import type { Json } from '../state/json.js';
import type { Work } from './value-order.js';

export interface Digest {
  /** 32 bits. */
  readonly digest: number;
  /** About the length of the value as JSON text. */
  readonly length: number;
}

/** FNV-1a's constants. */
const BASIS = 0x811c9dc5;
const PRIME = 0x01000193;

export function digestOf(value: Json, work: Work): Digest {
  const digester = new Digester(work);
  return { digest: digester.of(value), length: digester.length };
}

class Digester {
  length = 0;

  constructor(private readonly work: Work) {}

  of(value: Json): number {
    if (typeof value === 'string') return this.#text(value, BASIS);
    // Zeros of either sign are one number, and one text.
    if (typeof value !== 'object' || value === null) return this.#text(String(value), PRIME);
    let digest = BASIS;
    if (Array.isArray(value)) {
      this.work.steps += value.length;
      this.length += value.length + 1;
      for (const element of value) digest = mixed(digest, this.of(element));
      return digest;
    }
    const names = Object.keys(value);
    this.work.steps += names.length;
    this.length += 2 * names.length + 1;
    // A sum, so that the order doesn't matter.
    for (const name of names) digest = (digest + mixed(this.#text(name, BASIS), this.of(value[name] as Json))) | 0;
    return mixed(digest, names.length);
  }

  #text(text: string, seed: number): number {
    this.length += text.length + 2;
    let digest = seed;
    for (let i = 0; i < text.length; i++) digest = mixed(digest, text.charCodeAt(i));
    return digest;
  }
}

function mixed(digest: number, more: number): number {
  const product = Math.imul(digest ^ more, PRIME);
  return product ^ (product >>> 15);
}
