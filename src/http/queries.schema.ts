/** What comes in and goes out at queries. */
import { z } from 'zod';
import { limits } from '../engine/limits.js';
import { count, cursor, filterMember, integerParameter, item, jsonObject, revision, textParameter } from './schemas.js';

const limitWords = `Items on a page; ${limits.pageItemsDefault} when absent.`;
const filterWords = 'A filter, such as `{"status":"open","priority":{"gte":3}}`; see docs/API.md.';

/** Names separated by commas. */
const names = (description: string) =>
  textParameter(description).transform((text) => text.split(',').map((name) => name.trim()));

export const listQuery = z.strictObject({
  where: textParameter(`${filterWords} As JSON, at most 4 KiB.`).optional(),
  prefix: textParameter('Only keys that begin so.').optional(),
  start: textParameter('Only keys from this one on.').optional(),
  end: textParameter('Only keys before this one.').optional(),
  order: names('Attributes to order by, separated by commas; `-` before one is descending.').optional(),
  fields: names('Only these attributes: names or pointers, separated by commas.').optional(),
  expand: names('Relations whose items are answered too, separated by commas.').optional(),
  limit: integerParameter(1, limits.pageItemsMax, limitWords).optional(),
  pageToken: textParameter('Where the former page ended.').optional(),
  count: z
    .literal('exact', 'must be exact')
    .optional()
    .meta({ type: 'string', description: '`exact`: also how many items match in all.' }),
  explain: z
    .enum(['true', 'false'], 'must be true or false')
    .transform((text) => text === 'true')
    .optional()
    .meta({ type: 'boolean', enum: undefined, description: 'Also how the items were found.' }),
});

const list = (description: string) =>
  z
    .array(z.string(), 'must be an array of strings')
    .optional()
    .meta({ type: 'array', items: { type: 'string' }, description });

export const queryBody = z
  .strictObject({
    where: filterMember,
    prefix: z.string().optional(),
    start: z.string().optional().meta({ description: 'Only keys from this one on.' }),
    end: z.string().optional().meta({ description: 'Only keys before this one.' }),
    order: list('Attributes to order by, names or pointers; `-` before one is descending.'),
    fields: list('Only these attributes: names or pointers.'),
    expand: list('Relations whose items are answered too.'),
    limit: z
      .int()
      .min(1)
      .max(limits.pageItemsMax)
      .optional()
      .meta({ type: 'integer', format: 'int32', minimum: 1, maximum: limits.pageItemsMax, description: limitWords }),
    pageToken: z.string().optional(),
    count: z
      .literal('exact', 'must be "exact"')
      .optional()
      .meta({ type: 'string', description: '`exact`: also how many match.' }),
    aggregates: jsonObject.optional().meta({
      type: 'object',
      additionalProperties: true,
      description: 'Instead of items: `{name: {count|sum|min|max|avg: attribute}}`.',
    }),
    groupBy: list('With `aggregates`: one result for each combination of these attributes’ values.'),
    explain: z.boolean().optional().meta({ description: 'Also how the items were found.' }),
  })
  .meta({ id: 'Query' });

const plan = z
  .object({
    access: z.string().meta({
      'x-extensible-enum': ['keys', 'index', 'union'],
      description: 'How the items were found: by their keys, by an index, or by the indexes of an `or`’s branches.',
    }),
    index: z.string().optional().meta({ description: 'The index that was used, where it was one.' }),
    indexes: z.array(z.string()),
    sorted: z.boolean().meta({ description: 'Whether the items had to be sorted, because no index has the order.' }),
    examined: z.int().meta({ type: 'integer', format: 'int64', description: 'How many items were looked at.' }),
  })
  .meta({ id: 'QueryPlan' });

const results = jsonObject.meta({
  type: 'object',
  additionalProperties: true,
  description: 'A number for each aggregate, or null where there was none to take.',
});

/** What a page of items tells beside them. */
const pageMembers = {
  revision,
  cursor,
  nextPageToken: z.string().optional(),
  count: count.optional(),
  expanded: jsonObject.optional().meta({
    type: 'object',
    additionalProperties: true,
    description: 'With `expand`: for each relation’s collection the items that were referred to, by key.',
  }),
};

export const queryAnswer = z
  .object({
    items: z.array(item).optional().meta({ description: 'Absent where aggregates were asked for.' }),
    ...pageMembers,
    aggregates: results.optional(),
    groups: z.array(z.object({ group: jsonObject, aggregates: results }).meta({ id: 'QueryGroup' })).optional(),
    plan: plan.optional(),
  })
  .meta({ id: 'QueryAnswer' });

export const itemPage = z
  .object({ items: z.array(item), ...pageMembers, plan: plan.optional() })
  .meta({ id: 'ItemPage' });
