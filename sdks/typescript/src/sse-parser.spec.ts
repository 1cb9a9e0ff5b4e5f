import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SseParser, type StreamEvent } from './sse-parser.js';

const MAX = 1_000;

function parse(pieces: readonly Uint8Array[], max = MAX): StreamEvent[] {
  const parser = new SseParser(max);
  return pieces.flatMap((piece) => parser.push(piece));
}

const bytes = (text: string) => new TextEncoder().encode(text);

/** Each piece in a buffer that is overwritten afterwards, as a reader may do. */
function cut(whole: Uint8Array, sizes: readonly number[]): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  let at = 0;
  for (const size of [...sizes, whole.length]) {
    if (at >= whole.length) break;
    pieces.push(whole.slice(at, at + size));
    at += size;
  }
  return pieces;
}

const event = (data: string, { event = 'message', id = '' } = {}): StreamEvent => ({ event, data, id });

describe('what a stream says', () => {
  test.each<[string, string, StreamEvent[]]>([
    ['an event', 'data: a\n\n', [event('a')]],
    ['a name and an id', 'event: add\nid: 7\ndata: a\n\n', [event('a', { event: 'add', id: '7' })]],
    ['one blank is taken off, no more', 'data:a\n\ndata:  a\n\n', [event('a'), event(' a')]],
    ['several lines', 'data: a\ndata\ndata: b\n\n', [event('a\n\nb')]],
    ['no data, no event', 'event: add\nid: 7\n\ndata: a\n\n', [event('a', { id: '7' })]],
    ['comments', ': hello\n:\n\ndata: a\n:x\n\n', [event('a')]],
    ['fields that mean nothing', 'foo: bar\nfoo\ndatum: x\ndata: a\n\n', [event('a')]],
    ['a colon in the value', 'data: a: b\n\n', [event('a: b')]],
    ['an id stays until another', 'id: 1\ndata: a\n\ndata: b\n\n', [event('a', { id: '1' }), event('b', { id: '1' })]],
    ['an empty id takes it away', 'id: 1\ndata: a\n\nid\ndata: b\n\n', [event('a', { id: '1' }), event('b')]],
    [
      'an id with NUL is none',
      'id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n',
      [event('a', { id: '1' }), event('b', { id: '1' })],
    ],
    ['an event without its blank line is none', 'data: a\n\ndata: b\n', [event('a')]],
    ['a byte order mark at the start', '\ufeffdata: a\n\n', [event('a')]],
    ['and nowhere else', 'data: a\n\n\ufeffdata: b\n\ndata: \ufeffc\n\n', [event('a'), event('\ufeffc')]],
    ['CR LF', 'event: add\r\ndata: a\r\ndata: b\r\n\r\n', [event('a\nb', { event: 'add' })]],
    ['CR', 'event: add\rdata: a\rdata: b\r\r', [event('a\nb', { event: 'add' })]],
    ['all three', 'data: a\r\ndata: b\rdata: c\n\rdata: d\r\n\n', [event('a\nb\nc'), event('d')]],
  ])('%s', (_, text, events) => {
    expect(parse([bytes(text)])).toEqual(events);
    // In single bytes, too.
    expect(parse(cut(bytes(text), Array(bytes(text).length).fill(1)))).toEqual(events);
  });

  test('what it says about coming back', () => {
    const parser = new SseParser(MAX);
    parser.push(bytes('retry: soon\nretry: 1500\nretry: 1.5\n'));
    expect(parser.retryMs).toBe(1500);
  });

  test('is the same however it is cut', () => {
    const line = fc.oneof(
      fc.constantFrom(
        '',
        'data',
        'id',
        ':',
        'event: add',
        'id: 7',
        'data: Ærø 𝄞',
        'data:x',
        ': comment',
        'retry: 5',
        'data: \ufeff',
      ),
      fc.string({ unit: 'grapheme', maxLength: 8 }).map((text) => `data: ${text.replace(/[\r\n]/g, '')}`),
    );
    fc.assert(
      fc.property(
        fc.array(fc.tuple(line, fc.constantFrom('\n', '\r', '\r\n'))),
        fc.array(fc.integer({ min: 1, max: 9 })),
        fc.boolean(),
        (lines, sizes, bom) => {
          const whole = bytes((bom ? '\ufeff' : '') + lines.map(([text, end]) => text + end).join(''));
          expect(parse(cut(whole, sizes))).toEqual(parse([whole]));
        },
      ),
    );
  });
});

describe('what is too large', () => {
  test.each([
    ['one line', 'data: ', 'x'],
    ['many lines', '', 'data: x\n'],
    ['a comment', ':', 'x'],
    ['a name', 'event: ', 'x'],
  ])('%s is refused while it is read', (_, begin, more) => {
    const parser = new SseParser(MAX);
    parser.push(bytes(begin));
    let taken = 0;
    const push = () => {
      for (; taken < 10 * MAX; taken += more.length) parser.push(bytes(more));
    };
    expect(push).toThrow(expect.objectContaining({ code: 'eventTooLarge' }));
    expect(taken).toBeLessThan(2 * MAX);
  });

  test('many events that are small are not', () => {
    const parser = new SseParser(MAX);
    for (let n = 0; n < 100; n++) expect(parser.push(bytes(`data: ${'x'.repeat(500)}\n\n`))).toHaveLength(1);
  });
});
