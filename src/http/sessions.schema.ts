/** What comes in and goes out at sessions. */
import { z } from 'zod';
import { limits } from '../engine/limits.js';
import { type Json, nestingOf } from '../engine/state/json.js';
import { count, revision } from './schemas.js';

export const ttlMs = z
  .int()
  .min(limits.sessionTtlMsMin)
  .max(limits.sessionTtlMsMax)
  .optional()
  .meta({
    type: 'integer',
    format: 'int32',
    minimum: limits.sessionTtlMsMin,
    maximum: limits.sessionTtlMsMax,
    description: `How long the session lives without being renewed, in ms; ${limits.sessionTtlMsDefault} when absent.`,
  });

const meta = z
  .custom<Json>((value) => value !== undefined)
  .refine(
    (value) => Buffer.byteLength(JSON.stringify(value) ?? '') <= limits.sessionMetaBytesMax,
    `must be at most ${limits.sessionMetaBytesMax} bytes of JSON`,
  )
  .refine(
    (value) => nestingOf(value, limits.nestingMax) <= limits.nestingMax,
    `must be nested at most ${limits.nestingMax} levels`,
  )
  .optional()
  .meta({ description: 'Any JSON value that others are to see in `_clients`.' });

export const sessionName = z.string().meta({
  description: 'Under which the client can resume the session. It is the session’s id when absent.',
});

export const sessionBody = z
  .strictObject({ name: sessionName.optional(), ttlMs, meta })
  .meta({ id: 'SessionCreation' });
export const renewBody = z.strictObject({}).meta({ id: 'SessionRenewal' });
export const resumeBody = z.strictObject({ ttlMs, meta }).meta({ id: 'SessionResumption' });

const session = z.string().meta({ description: 'The session’s id.' });
const epoch = z
  .int()
  .meta({ type: 'integer', format: 'int64', minimum: 1, description: 'Rises each time the session is resumed.' });
const expiresInMs = z
  .int()
  .meta({ type: 'integer', format: 'int64', minimum: 0, description: 'The session ends then, unless it is renewed.' });

export const begunSession = z
  .object({
    session,
    name: z.string(),
    epoch,
    expiresInMs,
    ttlMs: count,
    lastSequence: count.meta({
      type: 'integer',
      format: 'int64',
      minimum: 0,
      description: 'The number of the last batch that was applied; 0 before the first.',
    }),
    memento: z
      .custom<Json>()
      .optional()
      .meta({ description: 'The client’s own note, which a batch left with the op `memento`.' }),
    revision,
  })
  .meta({ id: 'Session', description: 'A session, as its client holds it.' });

export const shownSession = z
  .object({
    session,
    name: z.string(),
    epoch,
    expiresInMs,
    ttlMs: count,
    lastSequence: count,
    subject: z.string(),
    since: z.string().meta({ format: 'date-time' }),
    address: z.string().optional(),
    meta: z.custom<Json>().optional().meta({ description: 'What the client says of itself.' }),
  })
  .meta({ id: 'ShownSession', description: 'A session, as others see it.' });

export const renewedSession = z
  .object({ session, epoch, expiresInMs })
  .meta({ id: 'RenewedSession', description: 'The lease lasts so long from now on.' });

export const endedSession = z
  .object({ session, revision, existed: z.boolean() })
  .meta({ id: 'EndedSession', description: 'There is no such session now.' });
