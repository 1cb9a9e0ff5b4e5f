import { expect, it } from 'vitest';
import type { Json } from '../state/json.js';
import { toExpression } from './expression-values.js';
import { Meter } from './meter.js';

it('looks at a value once, however deep it stands in arrays', () => {
  let asked = 0;
  const counted = new Proxy(
    { constructor: 1 },
    {
      ownKeys(target) {
        asked++;
        return Reflect.ownKeys(target);
      },
    },
  );
  let nested: Json = ['before', counted, 'after'];
  for (let i = 0; i < 18; i++) nested = [nested];
  let converted = toExpression(nested, new Meter(1000));
  expect(asked).toBe(1);
  for (let i = 0; i < 18; i++) converted = (converted as unknown[])[0];
  expect(converted).toEqual(['before', new Map([['constructor', 1]]), 'after']);
});

it('passes what needs no conversion as it is', () => {
  const plain = [{ a: [1, { b: null }] }, 'text'];
  expect(toExpression(plain, new Meter(1000))).toBe(plain);
});
