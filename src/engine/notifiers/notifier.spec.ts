import { describe, expect, test } from 'vitest';
import type { Attributes } from '../state/model.js';
import { delayAfter, parseNotifier, type TargetRules } from './notifier.js';

const rules: TargetRules = { faultOf: () => undefined };
const session = { events: ['delete', 'add'], target: { session: 's' } };

describe('a notifier', () => {
  test('has its events in one order and its defaults written out', () => {
    expect(parseNotifier(session, '', rules)).toEqual({
      events: ['add', 'delete'],
      values: 'changed',
      target: { session: 's' },
    });
  });

  test.each<[string, Attributes, TargetRules, RegExp]>([
    ['queues into a queue', { ...session, collection: '_queues' }, rules, /another one into it/],
    ['the log into a queue', { ...session, collection: '_changes' }, rules, /another one into it/],
    ['a session’s wrong name', { ...session, target: { session: '../x' } }, rules, /session name/],
    [
      'a place that is refused',
      { ...session, target: { webhook: { url: 'x' } } },
      { ...rules, faultOf: (): string => 'is not so.' },
      /\/target\/webhook\/url is not so/,
    ],
  ])('may not be %s', (_says, definition, given, words) => {
    expect(() => parseNotifier(definition, '', given)).toThrow(words);
  });
});

describe('the wait after a failure', () => {
  test('grows over about three days, and then there is none', () => {
    const waits: number[] = [];
    for (let attempts = 1; ; attempts++) {
      const wait = delayAfter(attempts, {}, undefined, 0);
      if (wait === undefined) break;
      waits.push(wait);
    }
    expect(waits).toEqual([...waits].sort((a, b) => a - b));
    const days = waits.reduce((sum, wait) => sum + wait, 0) / 86_400_000;
    expect(days).toBeGreaterThan(3);
    expect(days).toBeLessThan(3.5);
  });

  test.each([
    ['as the definition says', { retry: { delaysMs: [100, 200] } }, 2, undefined, 0, 200],
    ['a little longer by chance', { retry: { delaysMs: [100] } }, 1, undefined, 1, 110],
    ['none left', { retry: { delaysMs: [100] } }, 2, undefined, 0, undefined],
    ['none at all', { retry: { delaysMs: [] } }, 1, 1000, 0, undefined],
    ['as the receiver asks', { retry: { delaysMs: [100] } }, 1, 5000, 0, 5000],
    ['no shorter because it asks for less', { retry: { delaysMs: [100] } }, 1, 10, 0, 100],
    ['no longer than a day', { retry: { delaysMs: [100] } }, 1, 1e12, 0, 86_400_000],
  ])('%s', (_says, definition, attempts, asked, chance, wait) => {
    expect(delayAfter(attempts, definition, asked, chance)).toBe(wait);
  });
});
