/** The naming rules of docs/API.md as checks that refuse with `invalidName` and say what would be right. */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';

const NAME = /^[A-Za-z0-9_][A-Za-z0-9_.~-]{0,127}$/;
const PLAIN_KEY = /^[\x20-\x7e]{1,255}$/;
const PLAIN_ATTRIBUTE = /^[\x20-\x7e]{1,128}$/;
const CONTROL = /\p{Cc}/u;

/** The name of a pool or collection that the caller may read. */
export function checkName(kind: string, name: string): string {
  if (!NAME.test(name)) {
    throw new Problem('invalidName', `The ${kind} name ${quote(name)} must match [A-Za-z0-9_][A-Za-z0-9_.~-]{0,127}.`);
  }
  return name;
}

/** The name of a pool or collection that the caller writes: a leading underscore is the system's. */
export function checkOwnName(kind: string, name: string): string {
  checkName(kind, name);
  if (name.startsWith('_')) {
    throw new Problem('invalidName', `The ${kind} name ${quote(name)} begins with _, which is kept for the system.`);
  }
  return name;
}

/** The system collections that are written like any other; what is written there is checked (dictionary/system-items.ts). */
export const WRITABLE_SYSTEM_COLLECTIONS: readonly string[] = ['_dictionary', '_policies', '_scripts', '_notifiers'];

/** The name of a collection that the caller may write: an own one, or one of the system's writable ones. */
export function checkWritableCollection(name: string): string {
  return WRITABLE_SYSTEM_COLLECTIONS.includes(name) ? name : checkOwnName('collection', name);
}

export function checkItemKey(key: string): string {
  if ((PLAIN_KEY.test(key) && key !== '.' && key !== '..') || isAllowed(key, limits.itemKeyBytesMax)) return key;
  throw new Problem(
    'invalidName',
    `The item key ${quote(key)} (${Buffer.byteLength(key)} bytes) must be 1 to ${limits.itemKeyBytesMax} bytes of UTF-8 without control characters, and not . or ..`,
  );
}

export function checkAttributeName(name: string): string {
  if (PLAIN_ATTRIBUTE.test(name) || isAllowed(name, limits.attributeNameBytesMax, true)) return name;
  throw new Problem(
    'invalidName',
    `The attribute name ${quote(name)} (${Buffer.byteLength(name)} bytes) must be 1 to ${limits.attributeNameBytesMax} bytes of UTF-8 without control characters.`,
  );
}

function isAllowed(text: string, bytesMax: number, dots = false): boolean {
  if (!dots && (text === '.' || text === '..')) return false;
  const bytes = Buffer.byteLength(text);
  return bytes >= 1 && bytes <= bytesMax && text.isWellFormed() && !CONTROL.test(text);
}

function quote(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}
