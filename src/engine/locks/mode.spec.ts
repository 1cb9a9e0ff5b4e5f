import { expect, it } from 'vitest';
import { compatible, isWeakerOrEqual, type Mode } from './mode.js';

const MODES: Mode[] = ['shared', 'update', 'exclusive'];

it.each<[Mode, boolean, boolean, boolean]>([
  ['shared', true, true, false],
  ['update', true, false, false],
  ['exclusive', false, false, false],
])('%s goes with shared: %s, with update: %s, with exclusive: %s', (mode, ...expected) => {
  expect(MODES.map((other) => compatible(mode, other))).toEqual(expected);
  expect(MODES.map((other) => compatible(other, mode))).toEqual(expected);
});

it('rises from shared to update to exclusive', () => {
  for (const [i, a] of MODES.entries()) {
    for (const [j, b] of MODES.entries()) expect(isWeakerOrEqual(a, b)).toBe(i <= j);
  }
});
