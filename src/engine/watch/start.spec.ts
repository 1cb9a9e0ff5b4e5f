import { describe, expect, it } from 'vitest';
import type { Problem } from '../errors.js';
import { startOfAttach, startOfRead, startOfStream } from './start.js';

const pool = { epoch: 'e1', revision: 20, oldestRevision: 10 };
const code = (work: () => unknown) => {
  try {
    return work();
  } catch (error) {
    return (error as Problem).code;
  }
};

describe('where a watcher begins', () => {
  it.each([
    ['nothing', {}, { after: undefined }],
    ['a good cursor', { since: 'e1-15' }, { after: 15 }],
    ['Last-Event-ID beats since', { lastEventId: 'e1-16', since: 'e1-12' }, { after: 16 }],
    ['an empty Last-Event-ID is none', { lastEventId: '', since: 'e1-12' }, { after: 12 }],
    ['the last one before the log', { since: 'e1-9' }, { after: 9 }],
    ['one too old', { since: 'e1-8' }, { after: undefined, reset: 'compacted' }],
    ['another life', { lastEventId: 'e0-15' }, { after: undefined, reset: 'epoch' }],
    ['a revision not reached', { since: 'e1-21' }, { after: undefined, reset: 'epoch' }],
    ['nonsense', { since: 'nonsense' }, 'invalidCursor'],
  ])('attach: %s', (_what, request, expected) => expect(code(() => startOfAttach(pool, request))).toEqual(expected));

  it.each([
    ['nothing', {}, { after: 20 }],
    ['now', { since: 'now' }, { after: 20 }],
    ['start', { since: 'start' }, { after: 9 }],
    ['a good cursor', { since: 'e1-15' }, { after: 15 }],
    ['since too old', { since: 'e1-8' }, 'cursorExpired'],
    ['Last-Event-ID too old', { lastEventId: 'e1-8' }, { after: 20, reset: 'compacted' }],
    ['since of another life', { since: 'e0-15' }, 'cursorExpired'],
    ['Last-Event-ID of another life', { lastEventId: 'e0-15' }, { after: 20, reset: 'epoch' }],
    ['a malformed Last-Event-ID', { lastEventId: '-5' }, 'invalidCursor'],
  ])('stream: %s', (_what, request, expected) => expect(code(() => startOfStream(pool, request))).toEqual(expected));

  it.each([
    [undefined, 9],
    ['start', 9],
    ['e1-20', 20],
    ['e1-1', 'cursorExpired'],
    ['e2-20', 'cursorExpired'],
    ['e1-01', 'invalidCursor'],
  ])('a page of changes since %s', (since, expected) => expect(code(() => startOfRead(pool, since))).toBe(expected));
});
