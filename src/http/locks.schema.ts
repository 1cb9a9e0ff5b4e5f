/** What comes in and goes out at locks. */
import { z } from 'zod';
import { limits } from '../engine/limits.js';
import type { Mode } from '../engine/locks/mode.js';
import { cursor, integerParameter, jsonObject, revision, textParameter } from './schemas.js';

const MODES = ['shared', 'update', 'exclusive'] as const satisfies readonly Mode[];
const mode = z.enum(MODES, 'must be shared, update or exclusive');

const scopeMembers = {
  collection: z.string().optional(),
  key: z.string().optional().meta({ description: 'One item; not together with `prefix`, `start` or `end`.' }),
  prefix: z.string().optional(),
  start: z.string().optional().meta({ description: 'The keys from this one on.' }),
  end: z.string().optional().meta({ description: 'The keys before this one.' }),
  attributes: z.array(z.string()).optional().meta({ description: 'Only these attributes; all when absent.' }),
};
const SCOPE = 'A part of the pool. `{}` is all of it.';
const scope = z.strictObject(scopeMembers).meta({ id: 'LockScope', description: SCOPE });
const lockedScope = z.object(scopeMembers).meta({ id: 'LockedScope', description: SCOPE });

const scopes = z.array(scope).meta({ description: `1 to ${limits.lockScopesMax} parts: all are locked, or none.` });

const wait = (max: number, description: string) =>
  z.int().min(0).max(max).meta({ type: 'integer', format: 'int32', minimum: 0, maximum: max, description });

const waitMs = wait(limits.lockWaitMsMax, 'How long the lock may wait for its turn; 0 when absent: not at all.');

export const lockBody = z
  .strictObject({
    session: z
      .string()
      .optional()
      .meta({ description: 'The session’s id or name; that of Stargus-Session when absent.' }),
    epoch: z.int().min(1).optional().meta({ type: 'integer', format: 'int64', description: 'The session’s epoch.' }),
    mode,
    scopes,
    waitMs: waitMs.optional(),
    requestId: z
      .string()
      .min(1)
      .max(limits.lockRequestIdLengthMax)
      .optional()
      .meta({ description: 'Makes the request repeatable: while the lock is there, the same one is answered.' }),
    note: z
      .string()
      .max(limits.lockNoteLengthMax)
      .optional()
      .meta({ description: 'Words for whoever meets the lock.' }),
  })
  .meta({ id: 'LockRequest' });

export const lockChangeBody = z
  .strictObject({ mode: mode.optional(), scopes: scopes.optional(), waitMs: waitMs.optional() })
  .meta({ id: 'LockChange' });

export const lockBreakBody = z
  .strictObject({
    graceMs: wait(limits.lockGraceMsMax, 'What the holder is given to finish; 0 when absent.').optional(),
  })
  .meta({ id: 'LockBreak' });

export const lockQuery = z.strictObject({
  waitMs: integerParameter(0, limits.changesWaitMsMax, 'Wait so long while the lock waits for its turn.').optional(),
});

export const lockListQuery = z.strictObject({
  limit: integerParameter(
    1,
    limits.pageItemsMax,
    `Locks on a page; ${limits.pageItemsDefault} when absent.`,
  ).optional(),
  pageToken: textParameter('Where the former page ended.').optional(),
});

const time = z.string().meta({ format: 'date-time' });

export const lock = z
  .object({
    lock: z.string().meta({ description: 'The lock’s id.' }),
    session: z.string().meta({ description: 'The id of the session that it belongs to.' }),
    sessionName: z.string(),
    subject: z.string(),
    mode: z.string().meta({ 'x-extensible-enum': [...MODES] }),
    scopes: z.array(lockedScope),
    state: z.string().meta({
      'x-extensible-enum': ['granted', 'waiting', 'broken'],
      description: 'A lock that waits for more than it holds is `waiting` and has a `fence`.',
    }),
    fence: revision.optional().meta({
      type: 'integer',
      format: 'int64',
      description: 'The revision of the grant, as long as anything is held. Later grants have higher ones.',
    }),
    since: time,
    position: z
      .int()
      .optional()
      .meta({ type: 'integer', format: 'int32', description: 'Its place in the queue; 1 is next.' }),
    waitUntil: time.optional(),
    waitsFor: z.array(z.string()).optional().meta({ description: 'The locks that it waits for.' }),
    waitsForSessions: z
      .array(z.string())
      .optional()
      .meta({ description: 'The sessions that these belong to, in the same order.' }),
    wanted: jsonObject.optional().meta({
      type: 'object',
      additionalProperties: true,
      description: 'What a lock that is held waits for: `{mode, scopes, waitUntil}`.',
    }),
    breakAt: time.optional().meta({ description: 'When it is taken from its holder.' }),
    requestId: z.string().optional(),
    note: z.string().optional(),
    revision,
  })
  .meta({ id: 'Lock' });

export const lockPage = z
  .object({ locks: z.array(lock), revision, cursor, nextPageToken: z.string().optional() })
  .meta({ id: 'LockPage' });

export const releasedLock = z
  .object({ lock: z.string(), revision, existed: z.boolean() })
  .meta({ id: 'ReleasedLock', description: 'There is no such lock now.' });
