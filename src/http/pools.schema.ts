/** What comes in and goes out at pools and collections. */
import { z } from 'zod';
import { limits } from '../engine/limits.js';
import {
  booleanParameter,
  count,
  cursor,
  integerParameter,
  jsonObject,
  name,
  revision,
  textParameter,
} from './schemas.js';

const description = z
  .string()
  .max(limits.descriptionLengthMax)
  .nullable()
  .optional()
  .meta({ type: 'string', nullable: true, description: 'Words for people; null removes them.' });

const options = jsonObject
  .refine(
    (value) => JSON.stringify(value).length <= limits.optionsBytesMax,
    `must be at most ${limits.optionsBytesMax} bytes of JSON`,
  )
  .nullable()
  .optional()
  .meta({
    type: 'object',
    nullable: true,
    additionalProperties: true,
    description: 'Kept for the application; null removes them.',
  });

const authentication = z
  .object({
    required: z.boolean(),
    schemes: z.array(z.string()).meta({ description: 'How to authenticate, `bearer` for a bearer token.' }),
  })
  .meta({ id: 'Authentication', description: 'What a client must know to log in.' });

export const pool = z
  .object({
    pool: name,
    authentication,
    epoch: z.string().optional(),
    revision: revision.optional(),
    oldestRevision: revision
      .optional()
      .meta({ type: 'integer', format: 'int64', description: 'The oldest revision in the log.' }),
    cursor: cursor.optional(),
    collections: count.optional(),
    items: count.optional(),
    description: z.string().optional(),
  })
  .meta({
    id: 'Pool',
    description: 'A pool; without a token, where one is required, only its name and how to log in.',
  });

export const poolBody = z.strictObject({ description }).meta({ id: 'PoolContent' });
export const poolPage = z
  .object({ pools: z.array(pool), nextPageToken: z.string().optional() })
  .meta({ id: 'PoolPage' });
export const droppedPool = z.object({ pool: name, existed: z.boolean() }).meta({ id: 'DroppedPool' });

export const collection = z
  .object({
    collection: name,
    items: count.optional().meta({
      type: 'integer',
      format: 'int64',
      description: 'Only for who may read all of the collection.',
    }),
    revision: revision.meta({
      type: 'integer',
      format: 'int64',
      description: 'The last revision that touched the collection.',
    }),
    description: z.string().optional(),
    options: jsonObject.meta({ type: 'object', additionalProperties: true }),
    indexes: z
      .array(
        z
          .object({
            name: z.string(),
            attributes: z.array(z.string()).meta({ description: 'Names or pointers; `-` before one is descending.' }),
            unique: z.boolean(),
            state: z.string().meta({
              'x-extensible-enum': ['building', 'ready', 'violated'],
              description:
                'Only a `ready` one is used and excludes. `violated`: it should be unique, but there are items with the same values.',
            }),
            itemsBuilt: count.meta({
              type: 'integer',
              format: 'int64',
              description: 'How many of the items that were there before are in it.',
            }),
          })
          .meta({ id: 'CollectionIndex' }),
      )
      .optional()
      .meta({ description: 'The indexes that the dictionary declares, and how far they are; not in lists.' }),
  })
  .meta({ id: 'Collection' });

export const collectionBody = z.strictObject({ description, options }).meta({ id: 'CollectionContent' });
export const collectionPage = z
  .object({ collections: z.array(collection), revision, cursor, nextPageToken: z.string().optional() })
  .meta({ id: 'CollectionPage' });
export const droppedCollection = z
  .object({ collection: name, revision, existed: z.boolean() })
  .meta({ id: 'DroppedCollection' });
export const dropCollectionQuery = z.strictObject({
  ifEmpty: booleanParameter('true: refuse with 409 unless the collection is empty.').optional(),
});

export const pageQuery = z.strictObject({
  limit: integerParameter(1, 1000, 'Entries on a page; 100 when absent.').optional(),
  pageToken: textParameter('Where the former page ended.').optional(),
});
