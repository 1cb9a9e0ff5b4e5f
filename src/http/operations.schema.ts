/** What comes in and goes out at operations. */
import { z } from 'zod';
import { limits } from '../engine/limits.js';
import { integerParameter, textParameter } from './schemas.js';

const time = (description: string) => z.string().meta({ format: 'date-time', description });

const result = z
  .object({
    status: z.int().meta({ type: 'integer', format: 'int32', description: 'The HTTP status.' }),
    headers: z.record(z.string(), z.string()).meta({
      description: 'Headers of the answer, by their names in lower case: `etag`, `location`, `stargus-revision` …',
    }),
    body: z.unknown().optional().meta({
      description: 'The answer’s body: what the call answers otherwise, or the problem with which it was refused.',
    }),
  })
  .meta({ id: 'OperationResult', description: 'What a write that was done later came to.' });

export const operation = z
  .object({
    operation: z.string().meta({ description: 'The operation’s id.' }),
    status: z.string().meta({ 'x-extensible-enum': ['waiting', 'running', 'done'] }),
    call: z.string().meta({ description: 'What was asked for: the operationId of the call.' }),
    location: z.string().meta({ description: 'The path of the operation.' }),
    createdAt: time('When it was accepted.'),
    startedAt: time('When it was begun, the last time if there were several.').optional(),
    doneAt: time('When it was done or refused.').optional(),
    expiresAt: time('Until when it is kept; one that isn’t done by then is given up.'),
    result: result.optional().meta({ description: 'Once it is done.' }),
  })
  .meta({ id: 'Operation', description: 'A write that was accepted and is done later.' });

export const operationPage = z
  .object({
    operations: z.array(operation),
    nextPageToken: z.string().optional().meta({ description: 'For the next page, where there is one.' }),
  })
  .meta({ id: 'OperationPage' });

export const removedOperation = z
  .object({
    operation: z.string().meta({ description: 'The operation’s id.' }),
    cancelled: z
      .boolean()
      .meta({ description: 'It was waiting and is never done; else it was done and is forgotten.' }),
    result: result.optional().meta({ description: 'What it had come to.' }),
  })
  .meta({ id: 'RemovedOperation' });

export const operationQuery = z.strictObject({
  waitMs: integerParameter(
    0,
    limits.operationWaitMsMax,
    'Answer when the operation is done, or after so many milliseconds.',
  ).optional(),
});

export const operationListQuery = z.strictObject({
  limit: integerParameter(
    1,
    limits.pageItemsMax,
    `Operations a page; ${limits.pageItemsDefault} when absent.`,
  ).optional(),
  pageToken: textParameter('`nextPageToken` of the page before.').optional(),
});
