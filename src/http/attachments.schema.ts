/** What comes in and goes out at a session's attachments and on its stream. */
import { z } from 'zod';
import { limits } from '../engine/limits.js';
import { bookmarkMs } from './changes.schema.js';
import { booleanParameter, filterMember, name, revision, textParameter } from './schemas.js';

const view = z.string().meta({ description: 'The name that the client gave the view: changes are told of it.' });
const valuesWords =
  'Which attributes a change carries: those that changed, all of them with their former values, or none.';
const deniedWords = 'What becomes of the attachment if the policy comes to hide all of it.';

const items = {
  collection: name,
  key: z.string().optional().meta({ description: 'Only this item.' }),
  prefix: z.string().optional().meta({ description: 'Only keys that begin so.' }),
  start: z.string().optional().meta({ description: 'Only keys from this one on.' }),
  end: z.string().optional().meta({ description: 'Only keys before this one.' }),
  where: filterMember,
  fields: z
    .array(z.string(), 'must be an array of strings')
    .max(limits.attributesMax, `must name at most ${limits.attributesMax} attributes`)
    .optional()
    .meta({ type: 'array', items: { type: 'string' }, description: 'Only these attributes: names or pointers.' }),
};

export const attachmentBody = z
  .strictObject({
    ...items,
    values: z
      .enum(['changed', 'full', 'none'], 'must be changed, full or none')
      .default('changed')
      .meta({ description: valuesWords }),
    locks: z.boolean().default(false).meta({ description: 'Also the locks that lie on what is attached.' }),
    onDenied: z
      .enum(['ignore', 'error', 'event'], 'must be ignore, error or event')
      .default('ignore')
      .meta({ description: deniedWords }),
  })
  .meta({ id: 'AttachmentRequest' });

export const attachment = z
  .object({
    session: z.string().meta({ description: 'The session’s id.' }),
    view,
    ...items,
    values: z.string().meta({ 'x-extensible-enum': ['changed', 'full', 'none'], description: valuesWords }),
    locks: z.boolean(),
    onDenied: z.string().meta({ 'x-extensible-enum': ['ignore', 'error', 'event'], description: deniedWords }),
    revision: revision.meta({ description: 'When it was attached or changed.' }),
  })
  .meta({ id: 'Attachment', description: 'A view that a session’s stream tells of.' });

export const attachments = z.object({ attachments: z.array(attachment), revision }).meta({ id: 'Attachments' });

export const detached = z
  .object({ view, revision, existed: z.boolean() })
  .meta({ id: 'Detached', description: 'There is no such attachment now.' });

export const eventsQuery = z.strictObject({
  since: textParameter('A cursor to resume after; the header Last-Event-ID beats it.').optional(),
  bookmarkMs,
  renew: booleanParameter(
    'Whether the session is renewed as long as the stream is open; `true` when absent.',
  ).optional(),
});
