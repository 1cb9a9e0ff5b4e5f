/** What comes in and goes out where policy is asked what it says. */
import { z } from 'zod';
import { ACTIONS } from '../engine/access/grant.js';
import { limits } from '../engine/limits.js';
import { cursor, jsonObject, name, revision } from './schemas.js';

const check = z
  .strictObject({
    action: z.enum(ACTIONS, `must be one of ${ACTIONS.join(', ')}`),
    collection: z.string().min(1).meta({ description: 'A collection; with `admin` also `*`, the pool.' }),
    key: z.string().optional().meta({ description: 'The item; without it any that there could be.' }),
    attributes: z
      .array(z.string())
      .max(limits.attributesMax, `must name at most ${limits.attributesMax} attributes`)
      .optional()
      .meta({ type: 'array', items: { type: 'string' }, description: 'All of these; without them the item.' }),
  })
  .meta({ id: 'PolicyCheck' });

export const checksBody = z
  .strictObject({
    checks: z
      .array(check)
      .min(1, 'must hold at least one check')
      .max(limits.policyChecksMax, `must hold at most ${limits.policyChecksMax} checks`),
  })
  .meta({ id: 'PolicyChecks' });

export type Check = z.output<typeof check>;
export const explainBody = check;

export const previewBody = z
  .strictObject({
    policies: jsonObject.meta({
      type: 'object',
      additionalProperties: true,
      description: 'By name the attributes that items of `_policies` would have; null: the item would be gone.',
    }),
  })
  .meta({ id: 'PolicyPreviewRequest' });

export const caslRule = z
  .object({
    action: z.array(z.string()),
    subject: z.array(z.string()).meta({ description: 'Collections; `all` for all.' }),
    fields: z.array(z.string()).optional().meta({ description: 'Attributes; absent: all.' }),
    conditions: jsonObject.optional().meta({ type: 'object', additionalProperties: true }),
    inverted: z.boolean().optional().meta({ description: 'The rule denies.' }),
    reason: z.string().optional().meta({ description: 'The policy and the rule in it.' }),
  })
  .meta({ id: 'PolicyRule', description: 'A rule as CASL takes it: the last one that is about something decides.' });

export const caslRestrictions = z
  .array(z.array(caslRule).meta({ type: 'array' }))
  .meta({ description: 'What each link of a weaker token leaves: all of them must allow as well.' });

const decided = {
  allow: z.boolean(),
  rule: z.string().optional().meta({ description: 'The policy and the rule in it that decided; absent: none did.' }),
  because: z.string(),
};

export const effectivePolicy = z
  .object({
    subject: z.string(),
    rules: z.array(caslRule),
    restrictions: caslRestrictions,
    revision,
    cursor,
  })
  .meta({ id: 'EffectivePolicy' });

export const checkAnswer = z
  .object({ results: z.array(z.object(decided).meta({ id: 'PolicyDecision' })), revision, cursor })
  .meta({ id: 'PolicyCheckAnswer' });

export const explanation = z
  .object({
    subjects: z
      .array(z.object({ subject: z.string(), ...decided }).meta({ id: 'SubjectDecision' }))
      .meta({ description: 'Those that policies name, by themselves or by their roles.' }),
    hosts: z
      .array(z.object({ host: z.string(), ...decided }).meta({ id: 'HostDecision' }))
      .meta({ description: 'Whoever has an identity at the host.' }),
    anyone: z.object(decided).meta({ id: 'AnyoneDecision', description: 'Whoever no policy names.' }),
    revision,
    cursor,
  })
  .meta({ id: 'PolicyExplanation' });

export const preview = z
  .object({
    watchers: z.array(
      z
        .object({
          subject: z.string(),
          collection: name.optional(),
          watchers: z.int().meta({ type: 'integer', format: 'int32' }),
          added: z.int().meta({ type: 'integer', format: 'int32', description: 'Items that would come into sight.' }),
          changed: z
            .int()
            .meta({ type: 'integer', format: 'int32', description: 'Items of which other attributes would be seen.' }),
          removed: z.int().meta({ type: 'integer', format: 'int32', description: 'Items that would be hidden.' }),
          resets: z.boolean().meta({ description: 'It would be too much to count: they would begin anew.' }),
        })
        .meta({ id: 'WatcherGain' }),
    ),
    revision,
    cursor,
  })
  .meta({ id: 'PolicyPreview', description: 'Of the watchers of the node that answers.' });
