import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { Json } from '../engine/state/json.js';
import { newPageToken, readPageToken } from './page-token.js';

const query = ['pool', 'collection', undefined, ['-priority']];

it.each<(Json | undefined)[]>([[], [1], [undefined], [null, undefined, 'x\0é😀'], [{ a: [1, { b: null }] }]])(
  'a token is read as what it was made of',
  (...values) => {
    const position = { values, key: 'é/😀' };
    expect(readPageToken(newPageToken(query, position), query)).toEqual(position);
  },
);

it('none is none', () => {
  expect(readPageToken(undefined, query)).toBe(undefined);
});

it('values that are too long for one are not cut: the item that has them is named, with their digest', () => {
  const make = (value: Json) => newPageToken(query, { values: [value], key: 'a' });
  expect(readPageToken(make('x'.repeat(3000)), query)).toEqual({ values: ['x'.repeat(3000)], key: 'a' });
  const token = make('x'.repeat(1_000_000));
  expect(token.length).toBeLessThan(200);
  expect(readPageToken(token, query)).toEqual({ valuesDigest: expect.any(String), key: 'a' });
  expect(make(`${'x'.repeat(1_000_000)}y`)).not.toBe(token);
});

it('is refused when it is written in any other way, whatever a lenient decoder makes of it', () => {
  const token = newPageToken(query, { values: [1], key: 'a' });
  const [json] = [Buffer.from(token, 'base64url').toString()];
  const others = [
    `${token}=`,
    `${token}.`,
    ` ${token}`,
    `${token.slice(0, 5)}\n${token.slice(5)}`,
    ...Array.from(
      'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_',
      (last) => token.slice(0, -1) + last,
    ),
    Buffer.from(`${json} `).toString('base64url'),
    Buffer.from(json.replace('"a"', '"\\u0061"')).toString('base64url'),
  ].filter((other) => other !== token);
  expect(readPageToken(token, query)).toEqual({ values: [1], key: 'a' });
  for (const other of others) {
    expect(() => readPageToken(other, query)).toThrow(expect.objectContaining({ code: 'invalidCursor' }));
  }
});

describe('a token that was made up with the right digest', () => {
  /** The digest is no secret; it is written out here as whoever makes tokens up would. */
  const madeUp = (...carried: Json[]) => {
    const sum = createHash('sha256')
      .update(JSON.stringify([query, carried]))
      .digest('base64url')
      .slice(0, 12);
    return Buffer.from(JSON.stringify([sum, ...carried])).toString('base64url');
  };

  it('is read where it says what a token says', () => {
    expect(readPageToken(madeUp([[1]], 'a'), query)).toEqual({ values: [1], key: 'a' });
  });

  it.each<Json[]>([
    ['x', 'a'],
    [null, 'a'],
    [{}, 'a'],
    [[1], 'a'],
    [[null], 'a'],
    [[[1, 2]], 'a'],
    [[{}], 'a'],
    [[[1]], null],
    [[[1]], 7],
    [[[1]], {}],
    [[[1]]],
    [[[1]], 'a', 'b'],
  ])('is refused where it says anything else: %j %j', (...carried) => {
    expect(() => readPageToken(madeUp(...carried), query)).toThrow(expect.objectContaining({ code: 'invalidCursor' }));
  });
});
