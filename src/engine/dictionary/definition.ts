/**
 * The data dictionary: what is said about a collection, compiled. An entry (the attributes of the collection's item in
 * `_dictionary`) becomes a Definition, which transforms and checks what is written there. Pure and synchronous: it is
 * called inside the commit, between what an operation makes of an item and what is stored.
 *
 * A definition keeps a meter of its own (see meter.ts), so no entry, however written, can hold the commits up for long.
 */
import { createHash } from 'node:crypto';
import { limits } from '../limits.js';
import { getMember, isObject, type Json, pointerToken } from '../state/json.js';
import type { Attributes } from '../state/model.js';
import { checkOwnName } from '../state/names.js';
import { checkAttribute, checkColumns } from './columns.js';
import { Faults } from './faults.js';
import { type IndexDeclaration, readIndexes } from './indexes.js';
import { Meter } from './meter.js';
import { readRules } from './rules.js';
import { compileSchema } from './schema.js';
import { canonical } from './schema-keywords.js';
import { readTransforms } from './transforms.js';

export type { IndexDeclaration } from './indexes.js';

/** One place where an item breaks its definition. */
export interface Violation {
  /** Begins with `/attributes`. */
  readonly pointer: string;
  readonly code: 'schemaViolation';
  readonly detail: string;
}

export type Mode = 'open' | 'warn' | 'strict';

export interface Definition {
  /** `open`: nothing is enforced. `warn`: violations are told, and accepted. `strict`: they are refused. */
  readonly mode: Mode;
  readonly indexes: readonly IndexDeclaration[];
  /** From the name of an attribute to the collection whose item keys are its values. */
  readonly relations: ReadonlyMap<string, { readonly collection: string }>;
  readonly expiry: { readonly attribute: string } | { readonly afterMs: number } | undefined;
  /** Whether items are only written by who holds a lock on what is written. */
  readonly requireLock: boolean;
  /** Whether there are write transforms. */
  readonly transforms: boolean;
  /** Whether `violations` can answer any. */
  readonly checks: boolean;
  /** Equal for definitions that check alike (mode, schema, rules): while it stays, items that held need no new check. */
  readonly checkId: string;
  /**
   * The attributes after the write transforms, in order; the same object when nothing is altered.
   *
   * @throws Problem 422 `schemaViolation` when an expression fails or costs too much
   */
  onWrite(attributes: Attributes, old: Attributes | undefined): Attributes;
  /** Undefined when there are no read transforms. Never throws: an attribute whose transform fails is left away. */
  readonly onRead: ((attributes: Attributes) => Attributes) | undefined;
  /** What the last call of one of these functions cost, in steps of its meter: commands add it up. */
  readonly cost: number;
  /** The violations of the schema; where it holds, those of the rules. At most `limits.violationsMax`. */
  violations(attributes: Attributes, old: Attributes | undefined): Violation[];
}

const MEMBERS = [
  'title',
  'description',
  'mode',
  'schema',
  'columns',
  'indexes',
  'relations',
  'rules',
  'transforms',
  'expiry',
  'requireLock',
  'options',
];
const TITLE_LENGTH_MAX = 200;

/**
 * Compiles an entry.
 *
 * @throws Problem 422 `invalid` that tells all faults, each with a pointer such as /attributes/schema/properties/x/pattern
 */
export function compileDefinition(entry: Attributes): Definition {
  const faults = new Faults();
  const bytes = Buffer.byteLength(JSON.stringify(entry));
  if (bytes > limits.dictionaryEntryBytesMax) {
    faults.add('', `The entry is ${bytes} bytes of JSON; at most ${limits.dictionaryEntryBytesMax} are allowed.`);
    faults.raise();
  }
  faults.unknownMembers(entry, '', MEMBERS);
  faults.text(getMember(entry, 'title'), '/title', TITLE_LENGTH_MAX);
  faults.text(getMember(entry, 'description'), '/description', limits.descriptionLengthMax);
  checkColumns(getMember(entry, 'columns'), faults);
  checkOptions(getMember(entry, 'options'), faults);
  const meter = new Meter(limits.checkCostMax);
  const declaredSchema = getMember(entry, 'schema');
  const schema = declaredSchema === undefined ? undefined : compileSchema(declaredSchema, meter, faults);
  const rules = readRules(getMember(entry, 'rules'), meter, faults);
  const transforms = readTransforms(getMember(entry, 'transforms'), meter, faults);
  const indexes = readIndexes(getMember(entry, 'indexes'), faults);
  const relations = readRelations(getMember(entry, 'relations'), faults);
  const expiry = readExpiry(getMember(entry, 'expiry'), faults);
  const requireLock = faults.flag(getMember(entry, 'requireLock'), '/requireLock') ?? false;
  const hasChecks = schema !== undefined || rules.sources.length > 0;
  const given = faults.word(getMember(entry, 'mode'), '/mode', ['open', 'warn', 'strict'] as const);
  const mode = given ?? (hasChecks ? 'strict' : 'open');
  faults.raise();
  const checks = mode !== 'open' && hasChecks;
  const { onWrite, onRead } = transforms;
  return {
    mode,
    indexes,
    relations,
    expiry,
    requireLock,
    transforms: onWrite !== undefined,
    checks,
    checkId: checks ? idOf([mode, declaredSchema ?? null, [...rules.sources]]) : 'none',
    onWrite: onWrite ?? ((attributes) => attributes),
    onRead,
    get cost() {
      return meter.used;
    },
    violations(attributes, old) {
      if (!checks) return [];
      meter.reset();
      const breaches = schema?.(attributes) ?? [];
      if (breaches.length > 0 || rules.sources.length === 0) return breaches.map(violation);
      return rules.broken(attributes, old).map(violation);
    },
  };
}

/** What holds for a collection of which the dictionary says nothing. */
export const emptyDefinition: Definition = compileDefinition({});

function violation({ pointer, detail }: { pointer: string; detail: string }): Violation {
  return { pointer: `/attributes${pointer}`, code: 'schemaViolation', detail };
}

function idOf(checked: Json): string {
  return createHash('sha256').update(canonical(checked)).digest('base64url');
}

function checkOptions(options: Json | undefined, faults: Faults): void {
  if (options === undefined) return;
  if (!isObject(options)) faults.add('/options', 'It must be an object.');
  else if (Buffer.byteLength(JSON.stringify(options)) > limits.optionsBytesMax) {
    faults.add('/options', `It is longer than ${limits.optionsBytesMax} bytes of JSON.`);
  }
}

function readRelations(value: Json | undefined, faults: Faults): Map<string, { collection: string }> {
  const relations = new Map<string, { collection: string }>();
  if (value === undefined) return relations;
  if (!isObject(value) || Object.keys(value).length > limits.relationsMax) {
    faults.add(
      '/relations',
      `It must be an object of at most ${limits.relationsMax} attributes, each with a collection.`,
    );
    return relations;
  }
  for (const attribute of Object.keys(value)) {
    const at = `/relations/${pointerToken(attribute)}`;
    checkAttribute(attribute, at, faults);
    const declared = value[attribute] as Json;
    if (isObject(declared)) faults.unknownMembers(declared, at, ['collection']);
    const collection = isObject(declared) ? getMember(declared, 'collection') : declared;
    try {
      if (typeof collection !== 'string') throw new Error('It must be the name of a collection.');
      relations.set(attribute, { collection: checkOwnName('collection', collection) });
    } catch (error) {
      faults.add(at, (error as Error).message);
    }
  }
  return relations;
}

function readExpiry(value: Json | undefined, faults: Faults): Definition['expiry'] {
  if (value === undefined) return undefined;
  if (typeof value === 'string') return checkAttribute(value, '/expiry', faults) ? { attribute: value } : undefined;
  faults.unknownMembers(value, '/expiry', ['attribute', 'afterMs']);
  const [attribute, afterMs] = isObject(value)
    ? [getMember(value, 'attribute'), getMember(value, 'afterMs')]
    : [undefined, undefined];
  if ((attribute === undefined) === (afterMs === undefined)) {
    faults.add('/expiry', 'It is the name of an attribute, {"attribute": name} or {"afterMs": milliseconds}.');
    return undefined;
  }
  if (attribute !== undefined) {
    return checkAttribute(attribute, '/expiry/attribute', faults) ? { attribute } : undefined;
  }
  const { expiryMsMin, expiryMsMax } = limits;
  if (typeof afterMs === 'number' && Number.isInteger(afterMs) && afterMs >= expiryMsMin && afterMs <= expiryMsMax) {
    return { afterMs };
  }
  faults.add('/expiry/afterMs', `It must be a whole number of milliseconds from ${expiryMsMin} to ${expiryMsMax}.`);
  return undefined;
}
