/** What comes in and goes out at the change log and at streams. */
import { z } from 'zod';
import { limits } from '../engine/limits.js';
import {
  attributes,
  booleanParameter,
  changedNames,
  cursor,
  fieldsParameter,
  integerParameter,
  itemKey,
  name,
  revision,
  textParameter,
} from './schemas.js';

const view = {
  prefix: textParameter('Only keys that begin so.').optional(),
  start: textParameter('Only keys from this one on.').optional(),
  end: textParameter('Only keys before this one.').optional(),
  key: textParameter('Only this item.').optional(),
  where: textParameter(
    'Only items that match this filter, as JSON of at most 4 KiB: `{"status":"open"}`. One that begins to match is told as an `add` with reason `entered` and all its attributes, one that ceases to as a `delete` with reason `left`.',
  ).optional(),
  fields: fieldsParameter.optional(),
  values: z.enum(['changed', 'full', 'none'], 'must be changed, full or none').default('changed').meta({
    description:
      'Which attributes a change carries: those that changed, all of them with their former values, or none.',
  }),
};

const collection = textParameter('Only this collection.').optional();
export const since = textParameter('A cursor, `start` for the beginning of what is retained, or `now`.').optional();
export const bookmarkMs = integerParameter(
  limits.bookmarkMsMin,
  limits.bookmarkMsMax,
  `A bookmark follows within this time when the pool moved; ${limits.bookmarkMsDefault} when absent.`,
).optional();

export const changesQuery = z.strictObject({
  ...view,
  collection,
  since,
  limit: integerParameter(
    1,
    limits.changesPageCommitsMax,
    `Commits on a page; ${limits.changesPageCommitsDefault} when absent.`,
  ).optional(),
  waitMs: integerParameter(0, limits.changesWaitMsMax, 'Wait so long for a change when there is none yet.').optional(),
});

export const streamQuery = z.strictObject({ ...view, collection, since, bookmarkMs });
export const attachQuery = z.strictObject({
  ...view,
  since,
  bookmarkMs,
  locks: booleanParameter('Also the locks that lie on what is attached, as items of `_locks`.').optional(),
});

export const events = {
  description: 'Server-Sent Events; each line of data is one JSON object.',
  contentType: 'text/event-stream',
};

export const change = z
  .object({
    op: z.string().meta({ 'x-extensible-enum': ['add', 'change', 'delete'] }),
    collection: name,
    key: itemKey,
    changed: changedNames,
    removed: z.array(z.string()).meta({ description: 'Those of `changed` that were removed.' }),
    attributes: attributes.optional(),
    previous: attributes.optional().meta({
      type: 'object',
      additionalProperties: true,
      description: 'With `values=full`: the former values of what changed.',
    }),
    revision: revision.optional().meta({
      description:
        'The revision of the item, where that isn’t the commit’s: commits that were missed are told as one, or the policy shows more of an item.',
    }),
    reason: z
      .string()
      .optional()
      .meta({ 'x-extensible-enum': ['entered', 'left', 'expired', 'denied', 'full', 'dropped'] }),
    view: z.string().optional(),
  })
  .meta({ id: 'Change' });

export const commit = z
  .object({
    revision,
    cursor,
    time: z.string().meta({ format: 'date-time' }),
    subject: z.string(),
    changes: z.array(change),
  })
  .meta({ id: 'Commit', description: 'All changes of one revision, seen together or not at all.' });

export const changesPage = z
  .object({
    commits: z.array(commit),
    cursor,
    upToDate: z.boolean().meta({ description: 'False: more can be had at once from the cursor on.' }),
  })
  .meta({ id: 'ChangesPage' });
