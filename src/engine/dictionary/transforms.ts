/**
 * The transforms of a definition: attributes that are computed, normalized or filled in, when an item is written or when it
 * is read. They run in the order in which they are declared, each on what those before it made.
 */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import { copyMembers, getMember, isObject, type Json, jsonEqual, pointerToken, setMember } from '../state/json.js';
import type { Attributes } from '../state/model.js';
import { checkAttribute } from './columns.js';
import type { Expression } from './expression.js';
import { toExpression, toJson, withAttribute } from './expression-values.js';
import type { Faults } from './faults.js';
import { type Meter, OVERSPENT } from './meter.js';
import { readExpression } from './rules.js';

type Kind = 'compute' | 'normalize' | 'default';

interface Transform {
  readonly attribute: string;
  readonly expression: Expression;
  readonly on: 'write' | 'read';
  readonly kind: Kind;
}

export interface Transforms {
  readonly onWrite: ((attributes: Attributes, old: Attributes | undefined) => Attributes) | undefined;
  readonly onRead: ((attributes: Attributes) => Attributes) | undefined;
}

export function readTransforms(value: Json | undefined, meter: Meter, faults: Faults): Transforms {
  const all = faults
    .list(value, '/transforms', limits.transformsMax)
    .map((declared, i) => readTransform(declared, `/transforms/${i}`, meter, faults))
    .filter((transform) => transform !== undefined);
  const writes = all.filter(({ on }) => on === 'write');
  const reads = all.filter(({ on }) => on === 'read');
  return {
    onWrite: writes.length === 0 ? undefined : (attributes, old) => applyAll(writes, attributes, old, meter, refuse),
    // A read can't be refused for what a transform makes of it: the attribute is left away, as one that has no value.
    onRead: reads.length === 0 ? undefined : (attributes) => applyAll(reads, attributes, undefined, meter, () => null),
  };
}

/** The attributes after all transforms; the same object when nothing is altered. */
function applyAll(
  transforms: readonly Transform[],
  attributes: Attributes,
  old: Attributes | undefined,
  meter: Meter,
  onFailure: (transform: Transform, error: unknown, meter: Meter) => null,
): Attributes {
  meter.reset();
  const before = old === undefined ? null : toExpression(old, meter);
  let now = attributes;
  let self = toExpression(now, meter);
  for (const transform of transforms) {
    const { attribute, kind, expression } = transform;
    const present = getMember(now, attribute);
    if (kind === 'normalize' ? present === undefined : kind === 'default' && present !== undefined) continue;
    let value: Json;
    try {
      value = toJson(expression.evaluate(self, before), meter);
    } catch (error) {
      value = onFailure(transform, error, meter);
    }
    if (jsonEqual(value, present ?? null)) continue;
    if (now === attributes) now = copyMembers(attributes);
    if (value === null) delete now[attribute];
    else setMember(now, attribute, value);
    self = withAttribute(self, now, attribute, meter);
  }
  return now;
}

function refuse({ attribute }: Transform, error: unknown, meter: Meter): never {
  if (!(error instanceof Error)) throw error;
  const reason =
    error === OVERSPENT ? `it costs more than the ${meter.allowance} steps that an item may take` : error.message;
  const detail = `the transform of ${JSON.stringify(attribute)} has no value: ${reason}`;
  throw new Problem('schemaViolation', `The item can't be stored: ${detail}.`, {
    errors: [{ pointer: `/attributes/${pointerToken(attribute)}`, code: 'schemaViolation', detail }],
  });
}

function readTransform(declared: Json, at: string, meter: Meter, faults: Faults): Transform | undefined {
  if (!isObject(declared)) {
    faults.add(at, 'A transform is an object with `attribute` and `expression`.');
    return undefined;
  }
  faults.unknownMembers(declared, at, ['attribute', 'expression', 'on', 'kind']);
  const on = faults.word(getMember(declared, 'on'), `${at}/on`, ['write', 'read'] as const) ?? 'write';
  const kinds = ['compute', 'normalize', 'default'] as const;
  const kind = faults.word(getMember(declared, 'kind'), `${at}/kind`, kinds) ?? 'compute';
  const attribute = getMember(declared, 'attribute');
  const named = checkAttribute(attribute, `${at}/attribute`, faults);
  const options = { meter, old: on === 'write' };
  const expression = readExpression(getMember(declared, 'expression'), `${at}/expression`, options, faults);
  return named && expression ? { attribute, expression, on, kind } : undefined;
}
