/**
 * What an action on an item makes of it for a writer who may not see all of it. The hidden part stays as it is, unless the writer
 * names it: then it is judged whether they may, and no answer depends on what is there. Pure.
 */
import { copyMembers, getMember, type JsonObject, setMember } from '../state/json.js';
import { type Attributes, diffNames, type ItemRef, type ItemState } from '../state/model.js';
import { type Action, apply } from '../state/operations.js';
import type { AccessGuard } from './access-guard.js';

interface ActionOn extends ItemRef {
  readonly action: Action;
}

/** The attributes after the action, as `apply` answers them. `seen` is what the writer sees of `present`. */
export function applyAsSeen(
  access: AccessGuard,
  op: ActionOn,
  present: ItemState | undefined,
  seen: ItemState | undefined,
): Attributes | undefined {
  const { action } = op;
  // Also where the attribute isn't there: that is told to who may read it.
  if (action.op === 'increment' || action.op === 'append' || action.op === 'remove')
    access.checkReads(op, present, action.attribute);
  if (seen !== present && (action.op === 'put' || action.op === 'patch'))
    return withHidden(apply(action, seen?.attributes) as Attributes, present, seen);
  return apply(action, present?.attributes);
}

/** The attributes, and those that the writer doesn't see and hasn't set. */
function withHidden(attributes: Attributes, present: ItemState | undefined, seen: ItemState | undefined): Attributes {
  const next = copyMembers(attributes);
  for (const [name, value] of Object.entries(present?.attributes ?? {})) {
    if (getMember(next, name) !== undefined || getMember(seen?.attributes ?? {}, name) !== undefined) continue;
    setMember(next, name, value);
  }
  return next;
}

/**
 * The attributes that a writer asks to set or remove: what differs for the item as it is, and what they name and don't see, also
 * where it would change nothing.
 */
export function namesOf(
  access: AccessGuard,
  { collection, key, action }: ActionOn,
  present: ItemState | undefined,
  applied: Attributes | undefined,
): string[] {
  const names = new Set(diffNames(present?.attributes ?? {}, applied ?? {}).changed);
  for (const name of namedUnseen(access, { collection, key, action }, present)) names.add(name);
  return [...names];
}

/** The attributes that an action on an item that is there names, and that its writer doesn't see. */
export function namedUnseen(
  access: AccessGuard,
  { collection, key, action }: ActionOn,
  present: ItemState | undefined,
): string[] {
  if (!present || access.seesAll(collection)) return [];
  const lens = access.entitlement.lens('read', collection);
  return namedBy(action).filter((name) => !lens.shows(key, present, name));
}

/** The attributes that an action names, whatever it makes of them. */
function namedBy(action: Action): readonly string[] {
  switch (action.op) {
    case 'put':
    case 'create':
    case 'merge':
      return Object.keys(action.attributes);
    case 'patch':
      return action.patch.flatMap(namesOfPatch);
    case 'unset':
      return action.names;
    case 'delete':
      return [];
    default:
      return [action.attribute];
  }
}

/** The attributes that a JSON Patch's operation writes to: paths begin with `/attributes/`. */
function namesOfPatch({ path }: JsonObject): string[] {
  const name = typeof path === 'string' ? path.split('/')[2] : undefined;
  return name === undefined ? [] : [name.replaceAll('~1', '/').replaceAll('~0', '~')];
}
