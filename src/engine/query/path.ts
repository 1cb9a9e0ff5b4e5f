/**
 * A path names a value of an item: an attribute by its name, a place inside the attributes by a JSON Pointer (RFC 6901), or
 * the item's own key (`/@key`) or revision (`/@revision`). Pure.
 */
import { getMember, isObject, type Json, pointerToken } from '../state/json.js';
import type { Attributes } from '../state/model.js';
import { checkAttributeName } from '../state/names.js';

/** What a path is read from. */
export interface Readable {
  readonly key: string;
  readonly revision: number;
  readonly attributes: Attributes;
}

export interface Path {
  /** As it was written; in answers values stand under it. */
  readonly text: string;
  readonly of: 'attribute' | 'key' | 'revision';
  /** For `attribute`: the attribute's name, then the way into its value. */
  readonly tokens: readonly string[];
}

/** Throws an Error that says what is wrong; callers add where. */
export function parsePath(text: string): Path {
  if (text === '/@key') return { text, of: 'key', tokens: [] };
  if (text === '/@revision') return { text, of: 'revision', tokens: [] };
  if (!text.startsWith('/')) return { text, of: 'attribute', tokens: [checkAttributeName(text)] };
  if (/~(?![01])/.test(text)) throw new Error('is not a JSON Pointer: ~ must be written ~0, and / inside a name ~1.');
  const tokens = text
    .slice(1)
    .split('/')
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'));
  checkAttributeName(tokens[0] as string);
  return { text, of: 'attribute', tokens };
}

/** How an attribute's path is written: by its name where that can be. */
export function pathText(tokens: readonly string[]): string {
  const [name] = tokens as [string];
  return tokens.length === 1 && !name.startsWith('/')
    ? name
    : tokens.map((token) => `/${pointerToken(token)}`).join('');
}

/** Whether two paths name the same value. */
export function samePath(a: Path, b: Path): boolean {
  return a.of === b.of && a.tokens.length === b.tokens.length && a.tokens.every((token, i) => token === b.tokens[i]);
}

/** The value at the path, or undefined. */
export function readPath(path: Path, item: Readable): Json | undefined {
  switch (path.of) {
    case 'key':
      return item.key;
    case 'revision':
      return item.revision;
    case 'attribute':
      return readTokens(path.tokens, item.attributes);
  }
}

export function readTokens(tokens: readonly string[], attributes: Attributes): Json | undefined {
  let value: Json | undefined = getMember(attributes, tokens[0] as string);
  for (let i = 1; i < tokens.length && value !== undefined; i++) value = step(value, tokens[i] as string);
  return value;
}

const INDEX = /^(0|[1-9]\d{0,8})$/;

function step(value: Json, token: string): Json | undefined {
  if (isObject(value)) return getMember(value, token);
  return Array.isArray(value) && INDEX.test(token) ? value[Number(token)] : undefined;
}
