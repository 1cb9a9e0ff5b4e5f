import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LineSplitter } from './lines.js';

function split(chunks: readonly Buffer[], bytesMax = 100, skip = 0) {
  const splitter = new LineSplitter(bytesMax, skip);
  const lines = [...chunks.flatMap((chunk) => [...splitter.push(chunk)]), ...splitter.finish()];
  return {
    lines: lines.map(({ number, length, bytes }) => [number, length, bytes.toString()]),
    count: splitter.lines,
  };
}

describe('lines', () => {
  test.each<[text: string, lines: [number, number, string][], count: number]>([
    ['', [], 0],
    ['a', [[1, 1, 'a']], 1],
    ['a\n', [[1, 1, 'a']], 1],
    [
      '\n\na',
      [
        [1, 0, ''],
        [2, 0, ''],
        [3, 1, 'a'],
      ],
      3,
    ],
    [
      'ab\r\nc\n',
      [
        [1, 3, 'ab\r'],
        [2, 1, 'c'],
      ],
      2,
    ],
  ])('of %j', (text, lines, count) => {
    expect(split([Buffer.from(text)])).toEqual({ lines, count });
  });

  test('are the same however the bytes arrive', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('a', '\n', 'ä', 'long line')),
        fc.nat(5),
        fc.integer({ min: 1, max: 7 }),
        (parts, skip, size) => {
          const bytes = Buffer.from(parts.join(''));
          const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
            bytes.subarray(i * size, (i + 1) * size),
          );
          expect(split(chunks, 8, skip)).toEqual(split([bytes], 8, skip));
        },
      ),
    );
  });

  test('that arrive byte by byte are kept as bytes, not as chunks', () => {
    const splitter = new LineSplitter(2_000_000, 0);
    const chunks = Array.from({ length: 300_000 }, () => Buffer.alloc(16, ' ').subarray(0, 1));
    for (const chunk of chunks)
      for (const line of splitter.push(chunk)) throw new Error(`A line ended: ${line.number}`);
    const [line] = splitter.push(Buffer.from('x\n'));
    expect(line).toMatchObject({ number: 1, length: 300_001 });
    // A chunk that is used anew after it was pushed doesn't alter what was kept of it.
    const chunk = Buffer.from('abc');
    expect([...splitter.push(chunk)]).toEqual([]);
    chunk.fill('!');
    expect([...splitter.push(Buffer.from('d\n'))].map(({ bytes }) => bytes.toString())).toEqual(['abcd']);
  });

  test('that are too long or passed over are not kept', () => {
    const chunk = Buffer.from('x'.repeat(50));
    expect(split([chunk, chunk, chunk, Buffer.from('\nb\n')], 100).lines).toEqual([
      [1, 150, ''],
      [2, 1, 'b'],
    ]);
    expect(split([Buffer.from('a\nb\nc')], 100, 2)).toEqual({ lines: [[3, 1, 'c']], count: 3 });
    expect(split([Buffer.from('a\nb\nc')], 100, 9)).toEqual({ lines: [], count: 3 });
  });
});
