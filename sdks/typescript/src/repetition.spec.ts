import { expect, test } from 'vitest';
import { retryAfterOf, waitBeforeRepetition, waitBeforeStream } from './repetition.js';

const failure = { attempts: 1, retryable: true, elapsedMs: 0, retryForMs: 10_000, random: 1 };

test.each([
  ['at once up to 0.1 s', {}, 100],
  ['then 0.2', { attempts: 2 }, 200],
  ['0.4', { attempts: 3 }, 400],
  ['and never more than 2', { attempts: 30 }, 2_000],
  ['by chance less', { attempts: 3, random: 0.25 }, 100],
  ['what the server says', { retryAfterMs: 3_000 }, 3_000],
  ['nothing, where it says 0', { retryAfterMs: 0, random: 0 }, 0],
  ['no longer than there is time', { attempts: 9, elapsedMs: 9_900 }, 100],
  ['not where there is none left', { elapsedMs: 10_000 }, undefined],
  ['not where the server wants more than is left', { retryAfterMs: 60_000 }, undefined],
  ['not what can’t become right', { retryable: false }, undefined],
  ['never, where nobody wants it', { retryForMs: 0 }, undefined],
])('a request waits %s', (_, given, wait) => {
  expect(waitBeforeRepetition({ ...failure, ...given })).toBe(wait);
});

test.each([
  ['at once after one that was live', { failures: 0 }, 0],
  ['but not before the server wants it', { failures: 0, retryMs: 700 }, 700],
  ['then up to 0.25 s', { failures: 1 }, 250],
  ['0.5', { failures: 2 }, 500],
  ['and never more than 15', { failures: 50 }, 15_000],
  ['what the server says, if that is more', { failures: 1, retryMs: 700 }, 700],
])('a stream comes back %s', (_, given, wait) => {
  expect(waitBeforeStream({ random: 1, ...given })).toBe(wait);
});

test.each([
  ['3', undefined, 3_000],
  ['0', undefined, 0],
  ['Thu, 01 Jan 2026 00:00:10 GMT', 'Thu, 01 Jan 2026 00:00:07 GMT', 3_000],
  // A clock that is a year off counts only where the answer has no date.
  ['Thu, 01 Jan 2026 00:00:10 GMT', undefined, 10_000],
  ['soon', undefined, undefined],
  [undefined, undefined, undefined],
])('Retry-After: %s', (value, date, ms) => {
  expect(retryAfterOf(value, date, Date.parse('2026-01-01T00:00:00Z'))).toBe(ms);
});
