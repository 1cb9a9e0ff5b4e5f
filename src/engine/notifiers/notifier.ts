/**
 * A notifier: a saved watch with a place to deliver. What is said of it is an item of `_notifiers`, written like any other: which
 * events of which items, and where they go. Whose it is the system adds: whoever wrote it last, by whose rights it watches. What is
 * nobody else's business (its cursor, its secret, how it fares) stands in a table (notifier-store.ts). Pure.
 */
import { fault } from '../access/grant.js';
import { limits } from '../limits.js';
import { parseFilter } from '../query/filter.js';
import { isObject, type Json, type JsonObject, pointerToken } from '../state/json.js';
import { CHANGES } from '../state/log-items.js';
import type { Attributes } from '../state/model.js';
import { checkName } from '../state/names.js';

export const NOTIFIERS = '_notifiers';

/** Kinds of changes of items; and what sessions do: attaching, detaching, locking. */
export const ITEM_EVENTS = ['add', 'change', 'delete'] as const;
export const EVENTS = [...ITEM_EVENTS, 'attach', 'detach', 'lock'] as const;
export type NotifierEvent = (typeof EVENTS)[number];

export type Target = { readonly webhook: { readonly url: string } } | { readonly session: string };

/** What a notifier watches and where it delivers, checked. */
export interface NotifierDefinition {
  readonly events: readonly NotifierEvent[];
  readonly collection?: string | undefined;
  readonly prefix?: string | undefined;
  /** The filter as it was written. */
  readonly where?: Json | undefined;
  readonly values: 'changed' | 'full' | 'none';
  readonly target: Target;
  readonly retry?: { readonly delaysMs: readonly number[] } | undefined;
  readonly description?: string | undefined;
}

/** What a target may be on this server. */
export interface TargetRules {
  /** What is wrong with the URL of a webhook, a sentence without its subject. */
  faultOf(url: string): string | undefined;
}

const MEMBERS = ['description', 'events', 'collection', 'prefix', 'where', 'values', 'target', 'retry'];

/** What an item of `_notifiers` says; `place` leads to its attributes. Throws with a pointer to the fault. */
export function parseNotifier(attributes: Attributes, place: string, rules: TargetRules): NotifierDefinition {
  for (const name of Object.keys(attributes))
    if (!MEMBERS.includes(name))
      throw fault(`${place}/${pointerToken(name)}`, `is unknown; there are ${MEMBERS.join(', ')}.`);
  const { collection, prefix, where, values = 'changed', description } = attributes;
  if (
    description !== undefined &&
    !(typeof description === 'string' && description.length <= limits.descriptionLengthMax)
  )
    throw fault(`${place}/description`, `must be a string of at most ${limits.descriptionLengthMax} characters.`);
  if (collection !== undefined && typeof collection !== 'string')
    throw fault(`${place}/collection`, 'must be the name of a collection.');
  if (collection !== undefined) checkName('collection', collection);
  if (
    prefix !== undefined &&
    !(typeof prefix === 'string' && prefix.isWellFormed() && Buffer.byteLength(prefix) <= limits.itemKeyBytesMax)
  )
    throw fault(`${place}/prefix`, `must be a string of at most ${limits.itemKeyBytesMax} bytes of UTF-8.`);
  if (values !== 'changed' && values !== 'full' && values !== 'none')
    throw fault(`${place}/values`, 'must be changed, full or none.');
  const events = parseEvents(attributes.events, `${place}/events`);
  if (where !== undefined) {
    parseFilter(where, `${place}/where`);
    if (!events.some(isItemEvent))
      throw fault(`${place}/where`, 'filters items, and none of the `events` is about items: add, change, delete.');
  }
  const target = parseTarget(attributes.target, `${place}/target`, rules);
  if ('session' in target && collection !== undefined && OF_QUEUES.includes(collection))
    throw fault(`${place}/collection`, 'would have each entry of the queue put another one into it.');
  const retry = parseRetry(attributes.retry, `${place}/retry`);
  return {
    ...(description !== undefined && { description }),
    events,
    ...(collection !== undefined && { collection }),
    ...(prefix !== undefined && { prefix }),
    ...(where !== undefined && { where }),
    values,
    target,
    ...(retry && { retry }),
  };
}

/** Where what is put into a queue is seen itself: as an item, or as a commit. */
const OF_QUEUES: readonly string[] = ['_queues', CHANGES];

export function isItemEvent(event: NotifierEvent): boolean {
  return (ITEM_EVENTS as readonly string[]).includes(event);
}

function parseEvents(events: Json | undefined, place: string): NotifierEvent[] {
  if (!Array.isArray(events) || events.length === 0)
    throw fault(place, `must be a list of at least one of ${EVENTS.join(', ')}.`);
  const known: readonly Json[] = EVENTS;
  events.forEach((event, i) => {
    if (event === 'register' || event === 'deregister')
      throw fault(`${place}/${i}`, 'is of the registry of services, which this version does not have.');
    if (!known.includes(event)) throw fault(`${place}/${i}`, `must be one of ${EVENTS.join(', ')}.`);
    if (events.indexOf(event) < i) throw fault(`${place}/${i}`, 'is named twice.');
  });
  // In one order, so that the same set of them is the same notifier.
  return EVENTS.filter((event) => events.includes(event));
}

function parseTarget(target: Json | undefined, place: string, rules: TargetRules): Target {
  const names = isObject(target) ? Object.keys(target) : [];
  const [kind] = names;
  if (!isObject(target) || names.length !== 1 || kind === undefined)
    throw fault(place, 'must be {"webhook": {"url": "https://…"}} or {"session": "<name>"}.');
  const at = `${place}/${pointerToken(kind)}`;
  switch (kind) {
    case 'webhook': {
      const { webhook } = target;
      if (!isObject(webhook) || typeof webhook.url !== 'string') throw fault(at, 'must be {"url": "https://…"}.');
      const unknown = Object.keys(webhook).find((member) => member !== 'url');
      if (unknown !== undefined) throw fault(`${at}/${pointerToken(unknown)}`, 'is unknown; there is `url`.');
      const wrong = rules.faultOf(webhook.url);
      if (wrong !== undefined) throw fault(`${at}/url`, wrong);
      return { webhook: { url: webhook.url } };
    }
    case 'session': {
      const { session } = target;
      if (typeof session !== 'string') throw fault(at, 'must be the name of a session.');
      return { session: checkName('session', session) };
    }
    case 'log':
      throw fault(at, 'is not possible yet: logs come in a later version.');
    default:
      throw fault(at, 'is unknown; a target is a `webhook` or a `session`.');
  }
}

function parseRetry(retry: Json | undefined, place: string): NotifierDefinition['retry'] {
  if (retry === undefined) return undefined;
  const { delaysMs } = isObject(retry) ? retry : ({} as JsonObject);
  if (!isObject(retry) || !Array.isArray(delaysMs) || Object.keys(retry).length !== 1)
    throw fault(place, 'must be {"delaysMs": […]}, the waits between the attempts.');
  const { notifierDelaysMax, notifierDelayMsMin, notifierDelayMsMax, notifierDelaysMsMax } = limits;
  if (delaysMs.length > notifierDelaysMax) throw fault(`${place}/delaysMs`, `has at most ${notifierDelaysMax} waits.`);
  delaysMs.forEach((delay, i) => {
    if (!Number.isInteger(delay) || (delay as number) < notifierDelayMsMin || (delay as number) > notifierDelayMsMax)
      throw fault(
        `${place}/delaysMs/${i}`,
        `must be a whole number from ${notifierDelayMsMin} to ${notifierDelayMsMax}.`,
      );
  });
  const all = (delaysMs as number[]).reduce((sum, delay) => sum + delay, 0);
  if (all > notifierDelaysMsMax) throw fault(`${place}/delaysMs`, `must come to at most ${notifierDelaysMsMax} ms.`);
  return { delaysMs: delaysMs as number[] };
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** The schedule that Standard Webhooks 1.0 gives as its example: about three days in all. */
const DELAYS_MS = [5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];

/** How far a wait is longer than was said, at most, so that many that failed together don't come back together. */
const JITTER = 0.1;

/**
 * How long is waited after so many failed attempts, in ms; undefined after the last: then the delivery is parked. A receiver may
 * ask for more time, within a bound. `chance` is from 0 to 1.
 */
export function delayAfter(
  attempts: number,
  { retry }: Pick<NotifierDefinition, 'retry'>,
  retryAfterMs: number | undefined,
  chance: number,
): number | undefined {
  const delay = (retry?.delaysMs ?? DELAYS_MS)[attempts - 1];
  if (delay === undefined) return undefined;
  const asked = Math.min(retryAfterMs ?? 0, limits.notifierRetryAfterMsMax);
  return Math.round(Math.max(delay * (1 + JITTER * chance), asked));
}
