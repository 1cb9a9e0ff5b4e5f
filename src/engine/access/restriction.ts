/**
 * What a token is narrowed to: the grants of its `authorization_details` (RFC 9396), of the type `stargus`. A weaker token has one
 * restriction more than the one that it was made from, and each restriction of the chain must allow what is done; so nothing can widen,
 * whatever is asked for. That more was asked for than there is, is refused all the same, field by field, so that nobody takes a token for
 * what it isn't: each grant must lie within one grant of every restriction before it. Of `where` nothing is asked: the filters of
 * the chain are joined by *and*.
 */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import { isObject, type Json, type JsonObject, pointerToken } from '../state/json.js';
import { checkName } from '../state/names.js';
import {
  checkWhole,
  fault,
  GRANT_MEMBERS,
  type Keys,
  type PoolGrant,
  parseGrant,
  parseNames,
  type Restriction,
} from './grant.js';
import { checkKeys } from './keys-match.js';

export const DETAIL_TYPE = 'stargus';

const MEMBERS = ['type', 'pools', ...GRANT_MEMBERS];

/** Parses `authorization_details`. `place` leads to them; refuses with `invalid` what is empty, unknown or too much. */
export function parseRestriction(details: Json, place: string): Restriction {
  if (!Array.isArray(details) || details.length === 0)
    throw fault(place, 'must be a list of at least one entry: leave it out for a token that is narrowed no further.');
  if (details.length > limits.authorizationDetailsMax)
    throw fault(place, `must have at most ${limits.authorizationDetailsMax} entries.`);
  return details.map((detail, i) => parsePoolGrant(detail, `${place}/${i}`));
}

function parsePoolGrant(detail: Json, place: string): PoolGrant {
  if (!isObject(detail)) throw fault(place, 'must be an object.');
  const unknown = Object.keys(detail).find((member) => !MEMBERS.includes(member));
  if (unknown !== undefined) throw fault(`${place}/${pointerToken(unknown)}`, 'Unknown: there is no such member here.');
  if (detail.type !== DETAIL_TYPE) throw fault(`${place}/type`, `must be ${JSON.stringify(DETAIL_TYPE)}.`);
  const pools =
    detail.pools === undefined
      ? undefined
      : parseNames(detail.pools, `${place}/pools`, (name) => checkName('pool', name));
  const grant = parseGrant(detail, place);
  checkKeys(grant.keys, `${place}/keys`);
  checkWhole(grant, place);
  return { ...grant, ...(pools && { pools }) };
}

/** The grants as entries of `authorization_details`. */
export function detailsOf(restriction: Restriction): JsonObject[] {
  return restriction.map((grant) => ({ type: DETAIL_TYPE, ...(grant as unknown as JsonObject) }));
}

/**
 * The chain with one restriction more.
 *
 * @throws Problem `invalid` that names the member by which it asks for more than one of the chain allows, or if the chain grows too long
 */
export function narrowed(
  chain: readonly Restriction[],
  wanted: Restriction | undefined,
  place: string,
): readonly Restriction[] {
  if (!wanted) return chain;
  if (chain.length >= limits.delegationDepthMax)
    throw fault(place, `can't be narrowed further: a token has at most ${limits.delegationDepthMax} restrictions.`);
  for (const held of chain)
    wanted.forEach((grant, i) => {
      checkWithin(grant, held, `${place}/${i}`);
    });
  const longer = [...chain, wanted];
  if (Buffer.byteLength(JSON.stringify(longer)) > limits.restrictionsBytesMax) {
    throw new Problem(
      'invalid',
      `${place} makes all that the token is narrowed to longer than ${limits.restrictionsBytesMax} bytes; a token travels in a header.`,
      { errors: [{ pointer: place, code: 'invalid', detail: 'is too long.' }] },
    );
  }
  return longer;
}

type Field = 'pools' | 'actions' | 'collections' | 'keys' | 'attributes';

/** Of the grants that it could lie within, the nearest one tells what is too much. */
function checkWithin(grant: PoolGrant, held: Restriction, place: string): void {
  let nearest: Field[] | undefined;
  for (const candidate of held) {
    const wider = widerThan(grant, candidate);
    if (wider.length === 0) return;
    if (!nearest || wider.length < nearest.length) nearest = wider;
  }
  const errors = (nearest as Field[]).map((field) => ({
    pointer: `${place}/${field}`,
    code: 'invalid',
    detail: 'asks for more than the token has that this one is to be made from.',
  }));
  const [first] = errors;
  throw new Problem('invalid', `${first?.pointer} ${first?.detail}`, { errors });
}

/** The members by which the grant allows what the held one doesn't. */
export function widerThan(grant: PoolGrant, held: PoolGrant): Field[] {
  const isWithin: Readonly<Record<Field, boolean>> = {
    pools: isSubset(grant.pools, held.pools),
    actions: isSubset(grant.actions, held.actions),
    collections: grant.collections.every((name) => held.collections.some((pattern) => covers(pattern, name))),
    keys: areKeysWithin(grant.keys, held.keys),
    attributes: isSubset(grant.attributes, held.attributes),
  };
  return (Object.keys(isWithin) as Field[]).filter((field) => !isWithin[field]);
}

/** Absent: all. */
function isSubset(names: readonly string[] | undefined, held: readonly string[] | undefined): boolean {
  return held === undefined || (names?.every((name) => held.includes(name)) ?? false);
}

/** Whether every collection that the name stands for is one that the pattern stands for. */
function covers(pattern: string, name: string): boolean {
  if (!pattern.endsWith('*')) return pattern === name;
  const stem = pattern.slice(0, -1);
  // Collections of the system are meant only by a name that begins with an underscore.
  const isOfSystem = name.startsWith('_');
  return name.startsWith(stem) && isOfSystem === pattern.startsWith('_');
}

/** Two patterns aren't compared: one lies within the other only if they are the same. */
function areKeysWithin(keys: Keys | undefined, held: Keys | undefined): boolean {
  if (held === undefined) return true;
  if (keys === undefined) return false;
  if ('pattern' in held) return 'pattern' in keys && keys.pattern === held.pattern;
  return 'prefix' in keys && keys.prefix.startsWith(held.prefix);
}
