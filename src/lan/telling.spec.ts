import { describe, expect, it } from 'vitest';
import { limits } from '../engine/limits.js';
import { readStrings, stringsOf, type Told } from './telling.js';

const plain: Told = {
  api: 'v1',
  version: '0.1.0',
  id: 'abcd1234',
  auth: 'open',
  path: '/v1',
  https: false,
  url: undefined,
  pools: [],
  hasMorePools: false,
};
const texts = (told: Told) => stringsOf(told).map(String);
const strings = (...lines: string[]) => lines.map((line) => Buffer.from(line));

describe('what is told', () => {
  it('is one string for each fact', () => {
    expect(texts({ ...plain, pools: ['a', 'b'], https: true, url: 'https://stargus.example' })).toEqual([
      ...['v=1', 'api=v1', 'version=0.1.0', 'id=abcd1234', 'auth=open', 'path=/v1', 'https=1'],
      ...['url=https://stargus.example', 'pools=a,b'],
    ]);
  });

  it.each([
    ['short names', Array.from({ length: 600 }, (_, i) => `p${i}`)],
    ['the shortest names', Array.from({ length: 600 }, () => 'p')],
    ['the longest names', Array.from({ length: 40 }, (_, i) => `${i}`.padEnd(128, 'x'))],
    ['names of each length', Array.from({ length: 128 }, (_, i) => 'n'.repeat(i + 1))],
  ])('keeps its bounds with %s, and says that it was cut', (_name, pools) => {
    const told = stringsOf({ ...plain, pools });
    expect(Math.max(...told.map(({ length }) => length))).toBeLessThanOrEqual(255);
    const size = told.reduce((sum, { length }) => sum + length + 1, 0);
    expect(size).toBeLessThanOrEqual(limits.lanRecordBytesMax);
    // It is used as far as names go.
    expect(size).toBeGreaterThan(limits.lanRecordBytesMax - 140);
    expect(told.map(String).at(-1)).toBe('more=1');
    const read = readStrings(told) as Told;
    expect(read.hasMorePools).toBe(true);
    expect(read.pools).toEqual(pools.slice(0, read.pools.length));
    expect(read.pools.length).toBeGreaterThan(5);
  });

  it('is read as it was told', () => {
    const pools = Array.from({ length: 30 }, (_, i) => `pool-${i}.of~some_length`);
    const told = { ...plain, pools, auth: 'required' as const, https: true, url: 'https://stargus.example:8443' };
    expect(readStrings(stringsOf(told))).toEqual(told);
    expect(readStrings(stringsOf({ ...plain, hasMorePools: true }))).toEqual({ ...plain, hasMorePools: true });
  });
});

describe('what strangers tell', () => {
  it.each([
    ['nothing', []],
    ['another format', strings('v=2', 'auth=open')],
    ['no format', strings('auth=open')],
    ['no authentication that we know', strings('v=1', 'auth=none')],
    ['a format after the bound', strings(...Array(6).fill(`x=${'x'.repeat(253)}`), 'v=1', 'auth=open')],
    ['bytes that are no text', [Buffer.from([0x76, 0x3d, 0xff]), Buffer.from('auth=open')]],
    ['names without values', strings('v', '=1', 'auth')],
  ])('is not taken for ours: %s', (_name, told) => {
    expect(readStrings(told)).toBeUndefined();
  });

  it.each(['javascript:alert(1)', 'file:///etc/passwd', 'https://a.example/path', 'http://u:p@a.example', 'x', ''])(
    'is no URL: %s',
    (url) => {
      expect(readStrings(strings('v=1', 'auth=open', `url=${url}`))).toMatchObject({ url: undefined });
    },
  );

  it('counts by its first string, whatever comes later', () => {
    const told = strings('V=1', 'auth=required', 'auth=open', 'pools=a,,b', 'pools3=d', '__proto__=x', 'pools2=c');
    expect(readStrings(told)).toMatchObject({ auth: 'required', pools: ['a', 'b', 'c', 'd'] });
  });
});
