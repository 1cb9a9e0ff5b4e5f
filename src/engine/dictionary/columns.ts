/**
 * How the attributes of a collection are shown: what a table and a form need to know, in a vocabulary of its own. The
 * server only checks that it is well-formed; programs that show items read it.
 */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import { parsePath } from '../query/path.js';
import { getMember, isObject, type Json } from '../state/json.js';
import { checkAttributeName } from '../state/names.js';
import type { Faults } from './faults.js';

/** How a value is written. docs/DICTIONARY.md says what each means. */
const FORMATS = [
  'text',
  'multiline',
  'markdown',
  'number',
  'integer',
  'percent',
  'money',
  'bytes',
  'boolean',
  'date',
  'time',
  'datetime',
  'duration',
  'email',
  'url',
  'phone',
  'color',
  'image',
  'tags',
  'json',
  'reference',
  'password',
] as const;

/** What a form edits it with. */
const WIDGETS = [
  'input',
  'textarea',
  'editor',
  'number',
  'slider',
  'checkbox',
  'switch',
  'select',
  'radio',
  'multiselect',
  'date',
  'time',
  'datetime',
  'color',
  'file',
  'picker',
  'tags',
  'json',
  'none',
] as const;

const MEMBERS = ['attribute', 'title', 'format', 'widget', 'order', 'width', 'readOnly', 'help', 'hidden'];
const TITLE_LENGTH_MAX = 200;
/** Wider than any screen. */
const WIDTH_MAX = 10_000;

export function checkColumns(value: Json | undefined, faults: Faults): void {
  const seen = new Set<string>();
  faults.list(value, '/columns', limits.columnsMax).forEach((column, i) => {
    const at = `/columns/${i}`;
    if (!isObject(column)) {
      faults.add(at, 'A column is an object with a member `attribute`.');
      return;
    }
    const attribute = getMember(column, 'attribute');
    checkAttribute(attribute, `${at}/attribute`, faults);
    if (typeof attribute === 'string') {
      if (seen.has(attribute))
        faults.add(`${at}/attribute`, `There is another column of ${JSON.stringify(attribute)}.`);
      seen.add(attribute);
    }
    faults.unknownMembers(column, at, MEMBERS, true);
    faults.text(getMember(column, 'title'), `${at}/title`, TITLE_LENGTH_MAX);
    faults.text(getMember(column, 'help'), `${at}/help`, limits.descriptionLengthMax);
    faults.word(getMember(column, 'format'), `${at}/format`, FORMATS);
    faults.word(getMember(column, 'widget'), `${at}/widget`, WIDGETS);
    const order = getMember(column, 'order');
    if (order !== undefined && typeof order !== 'number') faults.add(`${at}/order`, 'It must be a number.');
    const width = getMember(column, 'width');
    if (width !== undefined && !(typeof width === 'number' && width > 0 && width <= WIDTH_MAX)) {
      faults.add(`${at}/width`, `It must be a number of pixels, at most ${WIDTH_MAX}.`);
    }
    for (const name of ['readOnly', 'hidden']) {
      const flag = getMember(column, name);
      if (flag !== undefined && typeof flag !== 'boolean') faults.add(`${at}/${name}`, 'It must be true or false.');
    }
  });
}

/** The name of an attribute, or, where pointers are allowed, a JSON Pointer into the attributes. */
export function checkAttribute(
  value: Json | undefined,
  pointer: string,
  faults: Faults,
  pointers = false,
): value is string {
  if (typeof value !== 'string') {
    faults.add(pointer, 'It must be the name of an attribute.');
    return false;
  }
  if (pointers && value.startsWith('/')) {
    if (value === '/@key' || value === '/@revision') {
      faults.add(pointer, 'Items are in the order of their keys without an index; revisions have none.');
      return false;
    }
    const sound = /^(?:\/(?:[^~/]|~[01])*){1,32}$/.test(value) && Buffer.byteLength(value) <= POINTER_BYTES_MAX;
    if (!sound) faults.add(pointer, `It is no JSON Pointer of at most 32 steps and ${POINTER_BYTES_MAX} bytes.`);
    return sound && isSound(() => parsePath(value), pointer, faults);
  }
  return isSound(() => checkAttributeName(value), pointer, faults);
}

function isSound(check: () => unknown, pointer: string, faults: Faults): boolean {
  try {
    check();
    return true;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    faults.add(pointer, error.detail);
    return false;
  }
}

/** A pointer is part of every index entry's name. */
const POINTER_BYTES_MAX = 512;
