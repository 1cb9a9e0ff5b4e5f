/** The indexes that an entry of the dictionary declares, in any of their spellings, as one form. */
import { limits } from '../limits.js';
import { getMember, isObject, type Json } from '../state/json.js';
import { checkAttribute } from './columns.js';
import type { Faults } from './faults.js';

export interface IndexDeclaration {
  readonly name: string;
  readonly unique: boolean;
  /** `attribute` is a name or, beginning with `/`, a JSON Pointer into the attributes. */
  readonly parts: readonly { readonly attribute: string; readonly descending: boolean }[];
}

/**
 * `"status"`, `"-priority"`, `["status", "-priority"]`, `{"attribute": "status"}` or
 * `{"attributes": ["status", "-priority"], "unique": true, "name": "byStatus"}`.
 */
export function readIndexes(value: Json | undefined, faults: Faults): IndexDeclaration[] {
  const indexes: IndexDeclaration[] = [];
  const names = new Set<string>();
  faults.list(value, '/indexes', limits.indexesMax).forEach((declared, i) => {
    const index = readIndex(declared, `/indexes/${i}`, faults);
    if (!index) return;
    if (names.has(index.name)) {
      faults.add(`/indexes/${i}`, `There is another index called ${JSON.stringify(index.name)}; give one a \`name\`.`);
    }
    names.add(index.name);
    indexes.push(index);
  });
  return indexes;
}

function readIndex(declared: Json, at: string, faults: Faults): IndexDeclaration | undefined {
  if (typeof declared === 'string') return indexOf([declared], undefined, false, at, at, faults);
  if (Array.isArray(declared)) return indexOf(declared, undefined, false, at, at, faults);
  if (!isObject(declared)) {
    faults.add(at, 'An index is the name of an attribute, an array of names, or an object with `attributes`.');
    return undefined;
  }
  faults.unknownMembers(declared, at, ['attribute', 'attributes', 'unique', 'name']);
  const [one, many] = [getMember(declared, 'attribute'), getMember(declared, 'attributes')];
  if ((one === undefined) === (many === undefined)) {
    faults.add(at, 'An index has either `attribute` or `attributes`.');
    return undefined;
  }
  const unique = getMember(declared, 'unique') ?? false;
  if (typeof unique !== 'boolean') faults.add(`${at}/unique`, 'It must be true or false.');
  const name = faults.text(getMember(declared, 'name'), `${at}/name`, limits.nameLengthMax);
  if (name === '') faults.add(`${at}/name`, 'A name has at least one character.');
  if (name?.startsWith('/@')) faults.add(`${at}/name`, 'A name that begins with /@ is kept for the system.');
  const place = `${at}/${one === undefined ? 'attributes' : 'attribute'}`;
  return indexOf(
    one === undefined ? many : [one],
    name,
    unique === true,
    place,
    one === undefined ? '' : place,
    faults,
  );
}

/** `single` is the place of the only attribute, where it stands without an array around it. */
function indexOf(
  attributes: Json | undefined,
  name: string | undefined,
  unique: boolean,
  at: string,
  single: string,
  faults: Faults,
): IndexDeclaration | undefined {
  if (!Array.isArray(attributes) || attributes.length === 0 || attributes.length > limits.indexAttributesMax) {
    faults.add(at, `An index has 1 to ${limits.indexAttributesMax} attributes.`);
    return undefined;
  }
  const parts = attributes.map((value, i) => {
    const descending = typeof value === 'string' && value.startsWith('-') && value.length > 1;
    const attribute = descending ? value.slice(1) : value;
    const place = single !== '' && attributes.length === 1 ? single : `${at}/${i}`;
    return checkAttribute(attribute, place, faults, true) ? { attribute, descending } : undefined;
  });
  const sound = parts.filter((part) => part !== undefined);
  if (sound.length < parts.length) return undefined;
  const twice = sound.find(({ attribute }, i) => sound.findIndex((other) => other.attribute === attribute) < i);
  if (twice) faults.add(at, `The attribute ${JSON.stringify(twice.attribute)} is in it twice.`);
  return { name: name ?? attributes.join(), unique, parts: sound };
}
