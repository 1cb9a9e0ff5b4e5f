import fc from 'fast-check';
import { expect, test } from 'vitest';
import { jsonFault } from './json-fault.js';

test.each<[text: string, fault: number | undefined]>([
  ['{"a":1}', undefined],
  [' [ 1 , {} , [] , "\\u00e4" , true ] ', undefined],
  ['', 0],
  ['{"a":1', 6],
  ['{"a":1}}', 7],
  ['{"a" 1}', 5],
  ['{"a":}', 5],
  ['{"a":1,}', 7],
  ['[1,]', 3],
  ['[1 2]', 3],
  ['{a:1}', 1],
  ['{"a":01}', 6],
  ['{"a":tru}', 5],
  ['"\\x"', 1],
  ['"a\tb"', 2],
  ['"open', 5],
  ['[}', 1],
  ['-', 0],
])('%j', (text, fault) => {
  expect(jsonFault(text)).toBe(fault);
});

test('finds a fault exactly where JSON.parse does', () => {
  const parses = (text: string): boolean => {
    try {
      JSON.parse(text);
      return true;
    } catch {
      return false;
    }
  };
  const damaged = fc
    .tuple(
      fc.json(),
      fc.nat(),
      fc.constantFrom('', '"', '{', '}', '[', ']', ',', ':', '0', '-', 'e', '\\', ' ', '\n', 't'),
    )
    .map(([text, where, piece]) => {
      const at = where % (text.length + 1);
      return text.slice(0, at) + piece + text.slice(at + 1);
    });
  fc.assert(
    fc.property(damaged, (text) => {
      expect(jsonFault(text) === undefined).toBe(parses(text));
    }),
    { numRuns: 2000 },
  );
});
