/**
 * The schemas that several areas share, in zod: one text for checking, types and the OpenAPI document. What is named by
 * `meta({id})` is a component of the document. Values of any type are members of objects only (scripts/openapi-rules.mjs).
 */
import { z } from 'zod';
import { errorTable } from '../engine/errors.js';
import { limits } from '../engine/limits.js';
import { isObject, type Json, type JsonObject } from '../engine/state/json.js';

/** A JSON object taken as it is: a zod record would lose members such as `__proto__`. */
export const jsonObject = z
  .custom<JsonObject>(isObject, 'must be an object')
  .meta({ type: 'object', additionalProperties: true });

/** A JSON value of any type, null included; it must be there. */
export const jsonValue = z
  .custom<Json>((value) => value !== undefined, 'is missing')
  .meta({ description: 'Any JSON value.' });

export const revision = z.int().meta({
  type: 'integer',
  format: 'int64',
  minimum: 0,
  description: 'A position in the order of the pool’s commits.',
});
export const count = z.int().meta({ type: 'integer', format: 'int64', minimum: 0 });
export const cursor = z.string().meta({ description: 'A cursor `<epoch>-<revision>`, opaque to clients.' });
export const name = z.string().meta({ description: 'The collection’s name.' });
export const itemKey = z.string().meta({ description: 'The item’s key.' });

export const attributes = jsonObject.meta({
  type: 'object',
  additionalProperties: true,
  description: 'Named JSON values. A top-level null means absent.',
});

export const item = z
  .object({ collection: name, key: itemKey, revision, createdRevision: revision, attributes })
  .meta({ id: 'Item', description: 'An item: named attributes under a key of a collection.' });

/** A filter in a body; it is parsed where its place in the body is known. */
export const filterMember = z
  .custom<Json>((value) => value !== undefined)
  .optional()
  .meta({
    type: 'object',
    additionalProperties: true,
    description: 'A filter, such as `{"status":"open","priority":{"gte":3}}`; see docs/API.md.',
  });

export const changedNames = z
  .array(z.string())
  .meta({ description: 'The names of the attributes that were set or removed.' });

const errorPlace = z
  .object({
    pointer: z.string().meta({ description: 'A JSON Pointer into the body, or `?` and the name of a parameter.' }),
    code: z.string().meta({ 'x-extensible-enum': Object.keys(errorTable) }),
    detail: z.string().meta({ description: 'What is expected there.' }),
    index: z.int().optional().meta({ type: 'integer', format: 'int32', description: 'Which op of a batch.' }),
  })
  .meta({ id: 'ErrorPlace', description: 'One place of a request that is at fault.' });

export const warnings = z.array(errorPlace).optional().meta({
  description: 'Where the item is not as the data dictionary says, in the mode `warn`.',
});

export const writtenItem = z
  .object({
    collection: name,
    key: itemKey,
    revision,
    createdRevision: revision,
    attributes,
    changed: changedNames,
    warnings,
  })
  .meta({ id: 'WrittenItem', description: 'An item after a write, and what the write changed.' });

export const problem = z
  .object({
    type: z.string().meta({ description: 'A URL that explains the code to a person.' }),
    title: z.string().meta({ description: 'What the code means, in a few words.' }),
    status: z.int().meta({ type: 'integer', format: 'int32', description: 'The HTTP status.' }),
    code: z.string().meta({ 'x-extensible-enum': Object.keys(errorTable), description: 'What programs decide by.' }),
    detail: z.string().meta({ description: 'A sentence that a person can act on.' }),
    retryable: z.boolean().meta({ description: 'Whether the same request may succeed later.' }),
    requestId: z.string().meta({ description: 'Names the request in the server’s log.' }),
    errors: z.array(errorPlace).optional().meta({ description: 'Each place that is at fault, where there are such.' }),
    oldest: z.string().optional().meta({ description: 'With `cursorExpired`: the oldest cursor that can be used.' }),
    count: z
      .int()
      .optional()
      .meta({ type: 'integer', format: 'int64', description: 'With `dataViolatesSchema`: how many items there are.' }),
    current: z.string().optional().meta({ description: 'With `cursorExpired`: the cursor of the present state.' }),
  })
  .meta({ id: 'Problem', description: 'An RFC 9457 problem document.' });

/** A whole number in a query string. */
export function integerParameter(min: number, max: number, description: string) {
  const expected = `must be a whole number from ${min} to ${max}`;
  return z
    .string(expected)
    .regex(/^\d{1,10}$/, expected)
    .transform(Number)
    .refine((value) => value >= min && value <= max, expected)
    .meta({ type: 'integer', format: 'int32', minimum: min, maximum: max, description });
}

export function textParameter(description: string) {
  return z.string('must be given once').meta({ description });
}

export const booleanParameter = (description: string) =>
  z
    .enum(['true', 'false'])
    .transform((text) => text === 'true')
    .meta({ type: 'boolean', enum: undefined, description });

/** Attribute names, separated by commas. */
export const fieldsParameter = z
  .string('must be given once')
  .transform((text) => text.split(',').map((field) => field.trim()))
  .refine((fields) => fields.length <= limits.attributesMax, `must name at most ${limits.attributesMax} attributes`)
  .meta({ type: 'string', description: 'Only these attributes: names, separated by commas.' });
