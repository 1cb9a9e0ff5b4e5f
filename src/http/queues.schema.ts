/** What comes in and goes out at the queues of sessions. */
import { z } from 'zod';
import { limits } from '../engine/limits.js';
import type { Overflow } from '../engine/queues/queue-items.js';
import { count, cursor, integerParameter, jsonObject, revision, textParameter } from './schemas.js';

const OVERFLOWS = ['dropOldest', 'refuse'] as const satisfies readonly Overflow[];
const overflowWords =
  'What becomes of a delivery to a full queue: the oldest entries that nobody holds make room for it, or its notifier has to wait.';

const owner = textParameter(
  'Whose queue of that name; one’s own when absent. Another’s is for who administers `_queues`.',
);
const waitMs = (what: string) => `Wait so long while ${what}.`;

const whole = (min: number, max: number, description: string) =>
  z.int().min(min).max(max).meta({ type: 'integer', format: 'int32', minimum: min, maximum: max, description });
const small = (description: string) => z.int().meta({ type: 'integer', format: 'int32', minimum: 0, description });

export const ownerQuery = z.strictObject({ owner: owner.optional() });

export const queueQuery = z.strictObject({
  owner: owner.optional(),
  limit: integerParameter(
    1,
    limits.pageItemsMax,
    `Entries on a page; ${limits.pageItemsDefault} when absent.`,
  ).optional(),
  pageToken: textParameter('Where the former page ended.').optional(),
  waitMs: integerParameter(0, limits.changesWaitMsMax, waitMs('the queue is empty')).optional(),
});

const delivery = z.string().meta({ description: 'The delivery’s id: `<notifier>-<revision>`.' });
const named = z
  .array(z.string())
  .max(limits.queueDeliveriesMax, `must name at most ${limits.queueDeliveriesMax} deliveries`);

export const takeBody = z
  .strictObject({
    limit: whole(1, limits.queueTakeMax, 'How many entries at most; 1 when absent.').optional(),
    holdMs: whole(
      limits.queueHoldMsMin,
      limits.queueHoldMsMax,
      `How long they are for who takes them alone; ${limits.queueHoldMsDefault} when absent.`,
    ).optional(),
    waitMs: whole(0, limits.changesWaitMsMax, waitMs('there is none to take')).optional(),
  })
  .meta({ id: 'QueueTaking' });

export const deliveriesBody = z
  .strictObject({ deliveries: named.min(1, 'must name at least one delivery') })
  .meta({ id: 'QueueDeliveries' });

export const dropBody = z
  .strictObject({
    oldest: whole(1, limits.queueEntriesMax, 'So many from the oldest on, held or not.').optional(),
    duplicates: z
      .boolean()
      .optional()
      .meta({ description: 'Of entries about one item all but the newest, unless somebody holds them.' }),
    deliveries: named.optional().meta({ type: 'array', items: { type: 'string' }, description: 'These.' }),
  })
  .meta({ id: 'QueueDropping', description: 'What is to be dropped; at least one member.' });

export const optionsBody = z
  .strictObject({
    overflow: z
      .enum(OVERFLOWS, 'must be dropOldest or refuse')
      .optional()
      .meta({ description: `${overflowWords} \`dropOldest\` when absent.` }),
    dropDuplicates: z
      .boolean()
      .optional()
      .meta({ description: 'Of entries about one item only the newest is kept; `false` when absent.' }),
    entriesMax: whole(
      1,
      limits.queueEntriesMax,
      `How many entries the queue holds; ${limits.queueEntriesMax} when absent.`,
    ).optional(),
    keepMs: z
      .int()
      .min(limits.queueKeepMsMin)
      .max(limits.queueKeepMsMax)
      .optional()
      .meta({
        type: 'integer',
        format: 'int64',
        minimum: limits.queueKeepMsMin,
        maximum: limits.queueKeepMsMax,
        description: `How long an entry that comes from now on waits for somebody; ${limits.queueKeepMsDefault} when absent.`,
      }),
  })
  .meta({ id: 'QueueOptions' });

export const entryChange = z
  .strictObject({
    event: jsonObject.meta({ type: 'object', additionalProperties: true, description: 'In place of the present one.' }),
  })
  .meta({ id: 'QueueEntryChange' });

const time = z.string().meta({ format: 'date-time' });

export const entry = z
  .object({
    delivery,
    notifier: z.string(),
    event: jsonObject.optional().meta({
      type: 'object',
      additionalProperties: true,
      description: `What the notifier tells: a CloudEvent, whose \`data\` is the commit. Absent where it is larger than ${limits.queueEventBytesMax} bytes: \`/changes\` has the commit.`,
    }),
    about: z
      .string()
      .optional()
      .meta({ description: 'The one item that it is about, `<collection>/<key>`; absent where it is about several.' }),
    enqueuedAt: time,
    editedAt: time.optional(),
    keptUntil: time.meta({ format: 'date-time', description: 'It is dropped then, if nobody has come for it.' }),
    takes: count.meta({ type: 'integer', format: 'int64', minimum: 0, description: 'How often it was taken.' }),
    heldUntil: time.optional().meta({ format: 'date-time', description: 'It is for who took it alone until then.' }),
    heldBy: z.string().optional().meta({ description: 'The session that took it, where it was named.' }),
    revision,
  })
  .meta({ id: 'QueueEntry', description: 'A delivery that waits to be acknowledged.' });

const facts = {
  session: z.string().meta({ description: 'The name of the session.' }),
  count: small('How many entries there are.'),
  held: small('How many of them somebody has taken.'),
  bytes: count.meta({ type: 'integer', format: 'int64', minimum: 0, description: 'Of the entries’ events, as JSON.' }),
  dropped: count.meta({
    type: 'integer',
    format: 'int64',
    minimum: 0,
    description: 'How many were lost: they had to make room, or nobody came in time.',
  }),
  overflow: z.string().meta({ 'x-extensible-enum': [...OVERFLOWS], description: overflowWords }),
  dropDuplicates: z.boolean(),
  entriesMax: small('How many entries the queue holds.'),
  keepMs: count,
  revision,
};

export const queuePage = z
  .object({ ...facts, entries: z.array(entry), cursor, nextPageToken: z.string().optional() })
  .meta({ id: 'QueuePage', description: 'What waits, oldest first, and how the queue is kept.' });

export const queue = z.object(facts).meta({ id: 'Queue', description: 'A queue, and how it is kept.' });

export const takenEntries = z
  .object({ session: facts.session, entries: z.array(entry), revision })
  .meta({ id: 'TakenEntries', description: 'The entries that were taken, oldest first; none where there were none.' });

const missing = z.array(z.string()).meta({ description: 'Those of the named that aren’t there.' });

export const acked = z
  .object({ acked: small('How many are done with.'), missing, revision })
  .meta({ id: 'AckedEntries' });
export const pushedBack = z
  .object({ freed: small('How many were held.'), missing, revision })
  .meta({ id: 'PushedBackEntries' });
export const dropped = z
  .object({ dropped: small('How many were there.'), missing, revision })
  .meta({ id: 'DroppedEntries' });
export const removed = z
  .object({ session: facts.session, existed: z.boolean(), dropped: small('How many entries went with it.'), revision })
  .meta({ id: 'RemovedQueue', description: 'There is no such queue now.' });
