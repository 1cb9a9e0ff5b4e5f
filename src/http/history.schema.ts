/** What comes in and goes out at an item's history. */
import { z } from 'zod';
import { limits } from '../engine/limits.js';
import {
  attributes,
  changedNames,
  cursor,
  integerParameter,
  itemKey,
  name,
  revision,
  textParameter,
} from './schemas.js';

export const historyQuery = z.strictObject({
  since: textParameter('Only changes after this cursor; `start`, or nothing, for all that are retained.').optional(),
  limit: integerParameter(
    1,
    limits.historyPageMax,
    `Changes on a page; ${limits.historyPageDefault} when absent.`,
  ).optional(),
  pageToken: textParameter('Where the former page ended.').optional(),
});

const itemChange = z
  .object({
    revision,
    cursor,
    time: z.string().meta({ format: 'date-time' }),
    subject: z.string(),
    op: z.string().meta({ 'x-extensible-enum': ['add', 'change', 'delete'] }),
    collection: name,
    key: itemKey,
    changed: changedNames,
    removed: z.array(z.string()).meta({ description: 'Those of `changed` that were removed.' }),
    attributes: attributes.meta({
      type: 'object',
      additionalProperties: true,
      description: 'All that the item had afterwards; empty after a deletion.',
    }),
    previous: attributes.meta({
      type: 'object',
      additionalProperties: true,
      description: 'The former values of what changed.',
    }),
    reason: z
      .string()
      .optional()
      .meta({ 'x-extensible-enum': ['expired'], description: 'Why the item went, where nobody asked for it.' }),
  })
  .meta({ id: 'ItemChange', description: 'One change of one item, with the commit that it was part of.' });

export const historyPage = z
  .object({
    changes: z.array(itemChange).meta({ description: 'Newest first.' }),
    revision,
    cursor,
    nextPageToken: z.string().optional(),
  })
  .meta({ id: 'HistoryPage' });
