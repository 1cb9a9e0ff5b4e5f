/** What comes in and goes out at items and attributes. */
import { z } from 'zod';
import { limits } from '../engine/limits.js';
import {
  attributes,
  booleanParameter,
  changedNames,
  cursor,
  fieldsParameter,
  filterMember,
  itemKey,
  jsonObject,
  jsonValue,
  name,
  revision,
  warnings,
} from './schemas.js';

export const itemQuery = z.strictObject({ fields: fieldsParameter.optional() });

export const itemWriteQuery = z.strictObject({
  force: booleanParameter(
    'true: also where this takes from you the right to write policies (409 `conflict` without it). For `_policies` only.',
  ).optional(),
});

export const putItemBody = z.strictObject({ attributes }).meta({ id: 'ItemContent' });

export const createItemBody = z
  .strictObject({
    key: itemKey.optional().meta({ description: 'Made by the server, ordered by time, when absent.' }),
    attributes,
  })
  .meta({ id: 'ItemCreation' });

export const jsonPatchBody = z
  .array(
    z
      .looseObject({
        op: z.enum(['add', 'remove', 'replace', 'move', 'copy', 'test']),
        path: z.string().meta({ description: 'A JSON Pointer that begins with `/attributes/`.' }),
        from: z.string().optional().meta({ description: 'For `move` and `copy`: a JSON Pointer like `path`.' }),
        value: z.unknown().optional().meta({ description: 'For `add`, `replace` and `test`: any JSON value.' }),
      })
      .meta({ id: 'JsonPatchOperation', description: 'One operation of RFC 6902.' }),
  )
  .max(1000, 'must hold at most 1000 operations')
  .meta({ id: 'JsonPatch', description: 'A JSON Patch (RFC 6902): all operations are applied, in order, or none.' });

export const deletedItem = z.object({ revision, existed: z.boolean() }).meta({ id: 'DeletedItem' });

export const attributeAnswer = z
  .object({ name: z.string(), value: jsonValue, revision, changed: changedNames.optional(), warnings })
  .meta({
    id: 'Attribute',
    description: 'One attribute. `changed` is there after a write; `value` is null after a removal.',
  });

export const putAttributeBody = z.strictObject({ value: jsonValue }).meta({ id: 'AttributeContent' });

const finite = z.number().meta({ type: 'number', format: 'double' });

export const incrementBody = z
  .strictObject({ attribute: z.string(), by: finite, min: finite.optional(), max: finite.optional() })
  .meta({
    id: 'Increment',
    description: 'Adds `by` to a number; a missing attribute counts as 0. Past `min` or `max` it is refused.',
  });

export const incrementAnswer = z
  .object({ attribute: z.string(), value: finite, revision, changed: changedNames, warnings })
  .meta({ id: 'Incremented' });

export const deleteItemsBody = z
  .strictObject({
    where: filterMember,
    prefix: z.string().optional().meta({ description: 'Keys that begin so; the empty string means all.' }),
    limit: z
      .int()
      .min(1)
      .max(limits.deleteItemsMax)
      .optional()
      .meta({ type: 'integer', format: 'int32', description: 'Delete at most so many, in the order of their keys.' }),
    expectCount: z
      .int()
      .min(0)
      .max(limits.deleteItemsMax)
      .optional()
      .meta({ type: 'integer', format: 'int32', description: 'Delete nothing unless exactly so many match.' }),
  })
  .meta({ id: 'DeleteItems' });

export const deletedItems = z
  .object({ revision, deleted: z.int().meta({ type: 'integer', format: 'int32' }), keys: z.array(itemKey) })
  .meta({ id: 'DeletedItems' });

const condition = z
  .strictObject({
    collection: name,
    key: itemKey,
    revision: revision
      .min(0)
      .optional()
      .meta({ type: 'integer', format: 'int64', description: 'The item’s revision; 0: there is no such item.' }),
    exists: z.boolean().optional(),
    where: filterMember,
  })
  .meta({ id: 'Condition', description: 'Holds when the item is as the members say.' });

const opCondition = condition
  .partial({ collection: true, key: true })
  .meta({ id: 'OpCondition', description: 'A condition; without collection and key on the op’s own item.' });

/** One condition or several; a single one is what most write. */
const opConditions = z.preprocess(
  (value) => (value === undefined || Array.isArray(value) ? value : [value]),
  z.array(opCondition).max(100).optional(),
);

export const batchOp = z
  .strictObject({
    op: z.enum(['put', 'merge', 'delete', 'unset', 'increment', 'append', 'remove', 'create', 'memento', 'ack']),
    collection: name.optional().meta({ description: 'The collection’s name; absent for `memento` and `ack`.' }),
    key: itemKey.optional().meta({ description: 'May be absent for `create`: the server makes one.' }),
    attributes: jsonObject
      .optional()
      .meta({ type: 'object', additionalProperties: true, description: 'For `put`, `merge` and `create`.' }),
    names: z.array(z.string()).max(limits.attributesMax).optional().meta({ description: 'For `unset`.' }),
    attribute: z.string().optional().meta({ description: 'For `increment`, `append` and `remove`.' }),
    by: finite.optional().meta({ type: 'number', format: 'double', description: 'For `increment`.' }),
    min: finite.optional(),
    max: finite.optional(),
    value: z.unknown().optional().meta({ description: 'For `append`, `remove` and `memento`: any JSON value.' }),
    delivery: z
      .string()
      .optional()
      .meta({ description: 'For `ack`: the delivery of the session’s queue that is done with.' }),
    queue: z.string().optional().meta({
      description: 'For `ack`: the name of the session whose queue it is; the batch’s own session when absent.',
    }),
    deliveries: z
      .array(z.string())
      .min(1, 'must name at least one delivery')
      .max(limits.queueDeliveriesMax, `must name at most ${limits.queueDeliveriesMax} deliveries`)
      .optional()
      .meta({ type: 'array', items: { type: 'string' }, description: 'For `ack`: several.' }),
    if: opConditions,
  })
  .meta({ id: 'BatchOp' });

export const batchBody = z
  .strictObject({
    atomic: z
      .boolean()
      .default(true)
      .meta({ description: 'All ops or none, as one commit. False: each op for itself.' }),
    if: z.array(condition).max(limits.batchOpsMax).optional(),
    ops: z.array(batchOp),
    session: z
      .strictObject({
        session: z.string().meta({ description: 'The session’s id or name.' }),
        epoch: z.int().min(1).meta({ type: 'integer', format: 'int64', minimum: 1 }),
        sequence: z.int().min(1).optional().meta({
          type: 'integer',
          format: 'int64',
          minimum: 1,
          description:
            'The number of this batch among those of the session, from 1 on without a gap. The same again gets the stored answer.',
        }),
      })
      .optional()
      .meta({ id: 'BatchSession', description: 'The session that speaks; with `sequence` the batch applies once.' }),
    locks: z
      .array(
        z
          .strictObject({
            lock: z.string(),
            fence: z.int().min(0).meta({ type: 'integer', format: 'int64', minimum: 0 }),
          })
          .meta({ id: 'LockProof' }),
      )
      .max(limits.lockProofsMax)
      .optional()
      .meta({ description: 'Locks that must still be held under these fences; else 412 `lockLost`.' }),
    dryRun: z.boolean().default(false).meta({ description: 'Judge and answer, but commit nothing.' }),
    force: z.boolean().optional().meta({
      description: 'Also where this takes from you the right to write policies.',
    }),
  })
  .meta({ id: 'Batch' });

export const batchAnswer = z
  .object({
    revision,
    cursor,
    results: z.array(
      z
        .object({
          index: z.int().meta({ type: 'integer', format: 'int32' }),
          status: z.int().meta({ type: 'integer', format: 'int32' }),
          collection: name,
          key: itemKey,
          revision,
          changed: changedNames,
          warnings,
          value: z.number().optional().meta({ type: 'number', format: 'double', description: 'After `increment`.' }),
          problem: jsonObject.optional().meta({
            type: 'object',
            additionalProperties: true,
            description: 'Why the op was refused, with `atomic: false`.',
          }),
        })
        .meta({ id: 'OpResult' }),
    ),
  })
  .meta({ id: 'BatchAnswer' });

export type OpCondition = z.output<typeof opCondition>;
export type BatchOp = z.output<typeof batchOp>;
export type Batch = z.output<typeof batchBody>;
