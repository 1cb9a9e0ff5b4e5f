/** What a change of a queue's item tells: a table of changes, and what is told of each. */
import { describe, expect, it } from 'vitest';
import { deliveryRef, headRef, queueId } from '../queues/queue-items.js';
import { type Attributes, type Change, changeBetween, type ItemRef, ItemState } from '../state/model.js';
import { concernsOf } from './concerns.js';
import { queueEventOf } from './queue-events.js';

const queue = { session: 's', owner: 'anna' };
const entry = deliveryRef(queue, 'n-7') as ItemRef;
const event = { data: { revision: 7 } };
const waiting = { delivery: 'n-7', notifier: 'n', event, bytes: 24, takes: 0 };
const taken = { ...waiting, takes: 1, heldUntil: '2026-01-01T00:00:00.000Z' };
const told = { delivery: 'n-7', notifier: 'n' };

function change(ref: ItemRef, before?: Attributes, after?: Attributes, reason?: Change['reason']): Change {
  const state = (attributes: Attributes | undefined, revision: number) =>
    attributes && new ItemState(JSON.stringify(attributes), revision, 1, attributes);
  const made = changeBetween(ref, state(before, 1), state(after, 2)) as Change;
  return reason ? { ...made, reason } : made;
}

describe('the news of a queue', () => {
  it.each<[says: string, change: Change, data: object | undefined]>([
    ['it came', change(entry, undefined, waiting), { type: 'added', ...told, event }],
    ['it came, and is large', change(entry, undefined, { ...waiting, bytes: 16_385 }), { type: 'added', ...told }],
    ['it came without its event', change(entry, undefined, { ...told, bytes: 0 }), { type: 'added', ...told }],
    ['it was taken', change(entry, waiting, taken), { type: 'taken', ...told, heldUntil: taken.heldUntil }],
    [
      'it was taken by a session',
      change(entry, waiting, { ...taken, heldBy: 'x' }),
      { type: 'taken', ...told, heldUntil: taken.heldUntil, by: 'x' },
    ],
    ['it is free again', change(entry, taken, { ...waiting, takes: 1 }), { type: 'freed', ...told }],
    ['its hold was over', change(entry, taken, waiting, 'expired'), { type: 'freed', ...told, reason: 'expired' }],
    ['it was edited', change(entry, taken, { ...taken, event: {} }), { type: 'edited', ...told, event: {} }],
    ['it is done with', change(entry, taken), { type: 'acked', ...told }],
    ['it was not wanted', change(entry, taken, undefined, 'dropped'), { type: 'dropped', ...told }],
    ['it had to go', change(entry, waiting, undefined, 'full'), { type: 'dropped', ...told, reason: 'full' }],
    ['nobody came', change(entry, waiting, undefined, 'expired'), { type: 'dropped', ...told, reason: 'expired' }],
    ['its owner looks at it otherwise', change(entry, waiting, { ...waiting, note: 'x' }), undefined],
    ['the head', change(headRef(queue), undefined, { entries: 1 }), undefined],
    ['another collection', change({ ...entry, collection: 'things' }, undefined, waiting), undefined],
  ])('%s', (_says, each, data) => {
    const news = queueEventOf(each);
    expect(news?.data).toEqual(data);
    expect(concernsOf(each)).toEqual(data ? [queueId(queue)] : []);
    if (!news) return;
    expect(news.brief).toEqual(Object.fromEntries(Object.entries(news.data).filter(([name]) => name !== 'event')));
  });
});
