/** What comes in at exports and imports. */
import { z } from 'zod';
import { booleanParameter, textParameter } from './schemas.js';

export const exportQuery = z.strictObject({
  collection: textParameter('Only this collection; one of the system too.').optional(),
  prefix: textParameter('Only keys that begin so.').optional(),
  start: textParameter('Only keys from this one on.').optional(),
  end: textParameter('Only keys before this one.').optional(),
  system: booleanParameter(
    'Also the collections of the system that can be written, before all others: the dictionary and the scripts.',
  ).optional(),
});
