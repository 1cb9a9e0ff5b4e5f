import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { attributesOf, objectOf } from './assignments.js';
import { placeOf, placeOrCollection } from './place.js';

describe('attributes as they are typed', () => {
  test.each([
    ['light=on', { light: 'on' }],
    ['celsius:=21', { celsius: 21 }],
    ['gone:=null', { gone: null }],
    ['list:=[1,{"a":"b=c"}]', { list: [1, { a: 'b=c' }] }],
    ['text=a=b:=c', { text: 'a=b:=c' }],
    ['a\\=b=c', { 'a=b': 'c' }],
    ['empty=', { empty: '' }],
    ['lines=a\nb', { lines: 'a\nb' }],
    ['a:b=c', { 'a:b': 'c' }],
  ])('%s', (word, attributes) => {
    expect(attributesOf([word])).toEqual(attributes);
  });

  test('from files', () => {
    const file = path.join(mkdtempSync(path.join(tmpdir(), 'stargus-cli-')), 'value');
    writeFileSync(file, '{"a":1}');
    expect(attributesOf([`text=@${file}`, `json:=@${file}`])).toEqual({ text: '{"a":1}', json: { a: 1 } });
  });

  test.each(['light', '=on', ':=1', 'n:=one', 'f=@/no/such/file'])('%s is refused', (word) => {
    expect(() => attributesOf([word])).toThrow(/sets nothing|not JSON|can’t be read/);
  });

  test('a filter is an object', () => {
    expect(objectOf('{"a":1}', '--where')).toEqual({ a: 1 });
    for (const text of ['[]', 'null', '1', 'open']) expect(() => objectOf(text, '--where')).toThrow(/--where/);
  });
});

describe('a place', () => {
  test('is a collection and a key, which may have slashes', () => {
    expect(placeOf('rooms/hall')).toEqual({ collection: 'rooms', key: 'hall' });
    expect(placeOf('rooms/a/b')).toEqual({ collection: 'rooms', key: 'a/b' });
    expect(placeOrCollection('rooms')).toEqual({ collection: 'rooms' });
  });

  test.each(['rooms', 'rooms/', '/hall', ''])('%s names no item', (text) => {
    expect(() => placeOf(text)).toThrow(/names no item/);
  });
});
