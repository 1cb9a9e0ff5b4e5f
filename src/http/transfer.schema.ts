/** What comes in at exports and imports. */
import { z } from 'zod';
import { booleanParameter, integerParameter, textParameter } from './schemas.js';

/** What fits into the int32 of the parameter. */
const SKIP_MAX = 2_147_483_647;

export const exportQuery = z.strictObject({
  collection: textParameter('Only this collection; one of the system too.').optional(),
  prefix: textParameter('Only keys that begin so.').optional(),
  start: textParameter('Only keys from this one on.').optional(),
  end: textParameter('Only keys before this one.').optional(),
  system: booleanParameter(
    'Also the collections of the system that can be written, before all others: the dictionary and the scripts.',
  ).optional(),
});

export const importQuery = z.strictObject({
  skip: integerParameter(0, SKIP_MAX, 'Pass over so many lines, from the first, without judging them.').optional(),
});

export const importBody = z.unknown().meta({
  type: 'string',
  description:
    'Lines of JSON, each `{"collection", "key"?, "attributes"}`; `revision` and `createdRevision`, as exports have them, are ignored. A line without a key is given one. Blank lines are counted and passed over.',
});
