/** What comes in and goes out at notifiers. */
import { z } from 'zod';
import { limits } from '../engine/limits.js';
import { EVENTS } from '../engine/notifiers/notifier.js';
import { count, cursor, filterMember, integerParameter, jsonObject, name, revision, textParameter } from './schemas.js';

const notifierName = z.string().meta({ description: 'The notifier’s name.' });
const values = z.string().meta({
  'x-extensible-enum': ['changed', 'full', 'none'],
  description: 'Which attributes a change carries: those that changed, all of them with their former values, or none.',
});
const valuesOf = z
  .enum(['changed', 'full', 'none'], 'must be changed, full or none')
  .optional()
  .meta({ description: 'Which attributes a change carries; `changed` when absent.' });
const retry = z
  .object({
    delaysMs: z
      .array(z.int().meta({ type: 'integer', format: 'int64', minimum: 0 }))
      .meta({ description: 'The waits between the attempts.' }),
  })
  .meta({ id: 'NotifierRetry', description: 'When a delivery that failed is tried again; then it is parked.' });

/** Loose, for the engine says what is wrong with each member, whichever way a notifier is written. */
export const notifierBody = z
  .strictObject({
    description: z.string().optional(),
    events: z
      .array(z.string().meta({ 'x-extensible-enum': [...EVENTS] }))
      .meta({ description: 'Kinds of changes of items; `attach`, `detach` and `lock` of what sessions do.' }),
    collection: name.optional(),
    prefix: z.string().optional().meta({ description: 'Only keys that begin so.' }),
    where: filterMember,
    values: valuesOf,
    target: jsonObject.meta({
      type: 'object',
      additionalProperties: true,
      description: 'Where it delivers: `{"webhook": {"url": "https://…"}}` or `{"session": "<name>"}`.',
    }),
    since: z
      .string()
      .optional()
      .meta({ description: 'Where a new notifier begins: `now`, `start` or a cursor. One that is there goes on.' }),
    retry: jsonObject.optional().meta({
      type: 'object',
      additionalProperties: true,
      description: '`{"delaysMs": […]}`: the waits between attempts; about three days when absent.',
    }),
  })
  .meta({ id: 'NotifierRequest' });

export const notifier = z
  .object({
    notifier: notifierName,
    description: z.string().optional(),
    events: z.array(z.string().meta({ 'x-extensible-enum': [...EVENTS] })),
    collection: name.optional(),
    prefix: z.string().optional(),
    where: filterMember,
    values,
    target: jsonObject,
    retry: retry.optional(),
    owner: z.string().meta({ description: 'Who wrote it last: by their rights it watches.' }),
    status: z.string().meta({
      'x-extensible-enum': ['active', 'retrying', 'disabled', 'stopped'],
      description:
        '`disabled`: by its receiver’s 410. `stopped`: there is nobody by whose rights it may deliver. `resume` or writing it again begins anew.',
    }),
    reason: z.string().optional().meta({ description: 'Why it is not active.' }),
    cursor,
    lag: count.meta({
      type: 'integer',
      format: 'int64',
      minimum: 0,
      description: 'Commits of the pool that it has not looked at yet, whether or not they are for it.',
    }),
    failures: count.meta({
      type: 'integer',
      format: 'int64',
      minimum: 0,
      description: 'Attempts that failed since the last that didn’t.',
    }),
    parked: count.meta({
      type: 'integer',
      format: 'int64',
      minimum: 0,
      description: 'Deliveries that failed for good and can be redelivered.',
    }),
    nextAttemptInMs: count.optional(),
    publicKey: z.string().optional().meta({ description: '`whpk_…`: what `v1a` signatures are verified with.' }),
    formerPublicKey: z.string().optional().meta({ description: 'The one before the rotation, while it signs.' }),
    secret: z
      .string()
      .optional()
      .meta({ description: '`whsec_…`: what `v1` signatures are verified with. Only in the answer that makes it.' }),
    revision: revision.meta({ description: 'When it was written last.' }),
    createdRevision: revision,
  })
  .meta({ id: 'Notifier', description: 'A saved watch with a place to deliver.' });

export const notifiers = z.object({ notifiers: z.array(notifier), revision, cursor }).meta({ id: 'Notifiers' });

export const deletedNotifier = z
  .object({ notifier: notifierName, revision, existed: z.boolean() })
  .meta({ id: 'DeletedNotifier' });

export const emptyBody = z.strictObject({}).meta({ id: 'NotifierCommand' });

export const testedNotifier = z
  .object({
    event: z.string().meta({ description: 'The id of the event that was sent.' }),
    ok: z.boolean().meta({ description: 'Whether the receiver took it.' }),
    status: z
      .int()
      .optional()
      .meta({ type: 'integer', format: 'int32', description: 'The status that it answered with, if it answered.' }),
    error: z.string().optional().meta({ description: 'What went wrong: a sentence about the receiver.' }),
    durationMs: count,
  })
  .meta({ id: 'NotifierTest' });

export const rotateBody = z
  .strictObject({
    secret: z.string().optional().meta({ description: 'The new secret, `whsec_…`; made by the server when absent.' }),
    overlapMs: z
      .int('must be a whole number')
      .min(0)
      .max(limits.secretOverlapMsMax)
      .optional()
      .meta({
        type: 'integer',
        format: 'int64',
        minimum: 0,
        maximum: limits.secretOverlapMsMax,
        description: `How long the former secret and key sign as well; ${limits.secretOverlapMsDefault} when absent.`,
      }),
  })
  .meta({ id: 'SecretRotation' });

export const rotatedSecret = z
  .object({
    secret: z.string(),
    publicKey: z.string(),
    formerUntil: z.string().meta({ format: 'date-time', description: 'Until then the former ones sign as well.' }),
  })
  .meta({ id: 'RotatedSecret' });

export const resumeBody = z
  .strictObject({
    since: z
      .string()
      .optional()
      .meta({ description: '`now`, `start` or a cursor: it skips or repeats. Where it was when absent.' }),
  })
  .meta({ id: 'NotifierResumption' });

export const deliveriesQuery = z.strictObject({
  limit: integerParameter(
    1,
    limits.deliveriesPageMax,
    `Deliveries on a page; ${limits.deliveriesPageDefault} when absent.`,
  ).optional(),
  pageToken: textParameter('Where the former page ended.').optional(),
});

export const delivery = z
  .object({
    delivery: z.string().meta({ description: 'Its number in the notifier.' }),
    event: z.string().meta({ description: 'The event’s id.' }),
    kind: z.string().meta({ 'x-extensible-enum': ['change', 'attach', 'detach', 'lock', 'reset'] }),
    revision,
    status: z.string().meta({ 'x-extensible-enum': ['delivered', 'retrying', 'parked'] }),
    attempts: count,
    lastStatus: z.int().optional().meta({ type: 'integer', format: 'int32' }),
    lastError: z.string().optional(),
    createdAt: z.string().meta({ format: 'date-time' }),
    changedAt: z.string().meta({ format: 'date-time' }),
  })
  .meta({ id: 'Delivery', description: 'One event that a notifier delivered or tried to.' });

export const deliveries = z
  .object({
    deliveries: z.array(delivery).meta({ description: 'The newest first.' }),
    nextPageToken: z.string().optional(),
  })
  .meta({ id: 'Deliveries' });
