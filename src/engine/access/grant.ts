/**
 * A grant: actions on some items and attributes. It is what a policy's rule says beside whom it is for, and one entry of a
 * token's `authorization_details` (RFC 9396). Parsing refuses what is empty or unknown, with a pointer to the place, so that
 * nothing matches everything by accident.
 */
import { type ErrorPlace, Problem } from '../errors.js';
import { limits } from '../limits.js';
import { parseFilter } from '../query/filter.js';
import { isObject, type Json, type JsonObject, pointerToken, setMember } from '../state/json.js';
import { checkAttributeName, checkName } from '../state/names.js';

/** What can be done. `read` is for reads and queries, `watch` for attachments and changes, `admin` for what is said of a collection or a pool. */
export const ACTIONS = ['read', 'watch', 'create', 'write', 'delete', 'lock', 'admin'] as const;
export type Action = (typeof ACTIONS)[number];

/** Keys that begin so, or that the pattern (RE2) matches from begin to end. */
export type Keys = { readonly prefix: string } | { readonly pattern: string };

export interface Grant {
  readonly actions: readonly Action[];
  /** Names; a name that ends in `*` stands for all that begin so. Collections of the system only by a name that begins with `_`. */
  readonly collections: readonly string[];
  readonly keys?: Keys | undefined;
  /** Absent: all. */
  readonly attributes?: readonly string[] | undefined;
  /** A filter, as docs/API.md has them, in which the operand `$subject.id` stands for who asks. */
  readonly where?: JsonObject | undefined;
}

/** A grant in some pools: an entry of `authorization_details` of the type `stargus`. */
export interface PoolGrant extends Grant {
  /** Absent: in all. */
  readonly pools?: readonly string[] | undefined;
}

/** What one link of a token's chain leaves: what any of its grants allows. */
export type Restriction = readonly PoolGrant[];

/** Members of a grant, each parsed from its JSON. `place` leads to the grant in the request. */
export function parseGrant(members: JsonObject, place: string): Grant {
  const { actions, collections, keys, attributes, where } = members;
  return {
    actions: parseNames(actions, `${place}/actions`, checkAction),
    collections: parseNames(collections, `${place}/collections`, checkCollections),
    ...(keys !== undefined && { keys: parseKeys(keys, `${place}/keys`) }),
    ...(attributes !== undefined && {
      attributes: parseNames(attributes, `${place}/attributes`, checkAttributeName),
    }),
    ...(where !== undefined && { where: parseCondition(where, `${place}/where`) }),
  };
}

/** The names of a grant's members; others are refused by whoever parses what the grant is part of. */
export const GRANT_MEMBERS: readonly string[] = ['actions', 'collections', 'keys', 'attributes', 'where'];

/** A list of names that isn't empty, each once. */
export function parseNames<Name extends string>(
  value: Json | undefined,
  place: string,
  check: (name: string) => Name,
  max: number = limits.grantNamesMax,
): Name[] {
  if (!Array.isArray(value) || value.length === 0)
    throw fault(
      place,
      'must be a list of at least one name: a rule says what it is about, it never means everything by leaving it out.',
    );
  if (value.length > max) throw fault(place, `must have at most ${max} names.`);
  const names = value.map((name, i) => {
    if (typeof name !== 'string') throw fault(`${place}/${i}`, 'must be a string.');
    try {
      return check(name);
    } catch (error) {
      throw fault(`${place}/${i}`, (error as Error).message);
    }
  });
  return [...new Set(names)];
}

function checkAction(name: string): Action {
  const action = ACTIONS.find((known) => known === name);
  if (!action) throw new Error(`is no action; there are ${ACTIONS.join(', ')}.`);
  return action;
}

function checkCollections(name: string): string {
  const stem = name.endsWith('*') ? name.slice(0, -1) : name;
  if (stem !== '') checkName('collection', stem);
  else if (name !== '*') throw new Error('must be the name of a collection, or a beginning of one and *.');
  return name;
}

function parseKeys(value: Json, place: string): Keys {
  const entries = isObject(value) ? Object.entries(value) : [];
  const [entry] = entries;
  if (entries.length !== 1 || !entry || !['prefix', 'pattern'].includes(entry[0]))
    throw fault(place, 'must be {"prefix": "…"} or {"pattern": "…"}.');
  const [name, text] = entry;
  if (typeof text !== 'string' || text === '') throw fault(`${place}/${name}`, 'must be a string that isn’t empty.');
  if (name === 'prefix') {
    if (Buffer.byteLength(text) > limits.itemKeyBytesMax) throw fault(`${place}/prefix`, 'is longer than a key.');
    return { prefix: text };
  }
  return { pattern: text };
}

/** A filter in which operands may stand for who asks. */
export function parseCondition(value: Json, place: string): JsonObject {
  checkSubjectValues(value, place);
  // A list of roles stands where a list must; which they are is known with the subject only.
  parseFilter(withoutRoles(value), place);
  return value as JsonObject;
}

function withoutRoles(value: Json): Json {
  if (Array.isArray(value)) return value.map(withoutRoles);
  if (!isObject(value)) return value;
  const copy: JsonObject = {};
  for (const [name, member] of Object.entries(value))
    setMember(copy, name, member === ROLES && LISTS.includes(name) ? [] : withoutRoles(member));
  return copy;
}

/** What is said of a collection or a pool isn't said of some of its items. */
export function checkWhole({ actions, keys, attributes, where }: Grant, place: string, more: object = {}): void {
  if (!actions.includes('admin')) return;
  const part = Object.entries({ keys, attributes, where, ...more }).find(([, value]) => value !== undefined);
  if (part)
    throw fault(
      `${place}/${part[0]}`,
      'can’t be combined with the action `admin`, which is about whole collections; make two of them.',
    );
}

/** What may stand for who asks, as an operand of a filter. */
const ROLES = '$subject.roles';
const SUBJECT_VALUES = ['$subject.id', '$subject.host', ROLES];
/** Operators that take a list. */
const LISTS = ['in', 'nin'];

/** Refuses operands that begin as those which stand for who asks, and are none of them. */
function checkSubjectValues(value: Json, place: string, operator = ''): void {
  if (typeof value === 'string') {
    if (value.startsWith('$subject') && !SUBJECT_VALUES.includes(value))
      throw fault(place, `names ${JSON.stringify(value)}; there are ${SUBJECT_VALUES.join(', ')}.`);
    if (value === ROLES && !LISTS.includes(operator)) throw fault(place, `is a list: write {"in": "${ROLES}"}.`);
  } else if (typeof value === 'object' && value !== null) {
    for (const [name, inner] of Object.entries(value))
      checkSubjectValues(inner, `${place}/${pointerToken(name)}`, name);
  }
}

export function fault(pointer: string, detail: string): Problem {
  const place: ErrorPlace = { pointer, code: 'invalid', detail };
  return new Problem('invalid', `${pointer} ${detail}`, { errors: [place] });
}
