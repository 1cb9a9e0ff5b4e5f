import { expect, it } from 'vitest';
import { visible } from './discover.js';

it.each([
  ['plain ünïcode 東京', 'plain ünïcode 東京'],
  ['\u001b[2J\u0007', '\\u001b[2J\\u0007'],
  ['a\nb\r\t\u0000', 'a\\u000ab\\u000d\\u0009\\u0000'],
  ['\u009b31m\u0085', '\\u009b31m\\u0085'],
  ['\u202egnp.exe\u2066', '\\u202egnp.exe\\u2066'],
  ['\u2028\u2029\ufeff\ud800', '\\u2028\\u2029\\ufeff\\ud800'],
  ['\u{e0041}', '\\udb40\\udc41'],
  ['\\u001b', '\\u005cu001b'],
])('%j is shown as %s', (text, shown) => {
  expect(visible(text)).toBe(shown);
});
