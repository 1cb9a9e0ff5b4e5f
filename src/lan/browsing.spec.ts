import { describe, expect, it } from 'vitest';
import { limits } from '../engine/limits.js';
import { label, SERVICE } from './announcement.js';
import { browse, Heard } from './browsing.js';
import type { DnsRecord } from './multicast.js';

const STRINGS = [Buffer.from('v=1'), Buffer.from('auth=open')];

function recordsOf(name: string, { target = 'host.local', address = '192.168.0.7', port = 8080, ttl = 120 } = {}) {
  const instance = `${name}.${SERVICE}`;
  return [
    { name: SERVICE, type: 'PTR', ttl, data: instance },
    { name: instance, type: 'SRV', ttl, data: { port, target } },
    { name: instance, type: 'TXT', ttl, data: STRINGS },
    { name: target, type: address.includes(':') ? 'AAAA' : 'A', ttl, data: address },
  ] satisfies DnsRecord[];
}

const heard = (...packets: [readonly DnsRecord[], string][]) => {
  const all = new Heard();
  for (const [records, from] of packets) all.take(records, from);
  return all;
};

describe('servers that were heard of', () => {
  it('are known when all is known, in whatever order it came', () => {
    const records = recordsOf('A');
    for (let missing = 0; missing < records.length; missing++) {
      const others = records.filter((_, i) => i !== missing);
      const some = heard([others, '192.168.0.7']);
      expect(some.found()).toEqual([]);
      if (missing > 0) expect(some.missing()).not.toEqual([]);
      some.take([records[missing] as DnsRecord], '192.168.0.7');
      expect(some.found()).toMatchObject([{ name: 'A', at: 'http://192.168.0.7:8080' }]);
      expect(some.missing()).toEqual([]);
    }
  });

  it('are forgotten when they say goodbye', () => {
    const all = heard([recordsOf('A'), '192.168.0.7'], [recordsOf('B', { target: 'other.local' }), '192.168.0.8']);
    all.take(recordsOf('A', { ttl: 0 }), '192.168.0.7');
    expect(all.found().map(({ name }) => name)).toEqual(['B']);
  });

  it('come by name, then by address, and are told by the address that most can use', () => {
    const all = heard(
      [recordsOf('b', { target: 'b.local', address: 'fd00::1' }), '192.168.0.7'],
      [recordsOf('a', { target: 'a.local', address: 'fd00::2' }), '192.168.0.7'],
      [recordsOf('a', { target: 'a.local', address: '10.0.0.9' }), '192.168.0.7'],
    );
    expect(all.found().map(({ name, at, addresses }) => [name, at, addresses])).toEqual([
      ['a', 'http://10.0.0.9:8080', ['10.0.0.9', 'fd00::2']],
      ['b', 'http://[fd00::1]:8080', ['fd00::1']],
    ]);
  });

  it('don’t lead back to this machine when they are on another', () => {
    const records = recordsOf('A', { address: '127.0.0.1' });
    expect(heard([records, '192.168.0.66']).found()).toEqual([]);
    expect(heard([records, '127.0.0.1']).found()).toMatchObject([{ at: 'http://127.0.0.1:8080' }]);
  });

  it.each([
    ['an instance elsewhere', { name: SERVICE, type: 'PTR', ttl: 9, data: 'evil._ssh._tcp.local' }],
    ['an instance without a name', { name: SERVICE, type: 'PTR', ttl: 9, data: '.' }],
    ['an address that is none', { name: 'host.local', type: 'A', ttl: 9, data: '1.2.3.4; rm -rf' }],
    ['another service', { name: 'x._ssh._tcp.local', type: 'SRV', ttl: 9, data: { port: 1, target: 'x' } }],
    ['strings of nobody', { name: `nobody.${SERVICE}`, type: 'TXT', ttl: 9, data: STRINGS }],
    ['strings that are none', { name: `a.${SERVICE}`, type: 'TXT', ttl: 9, data: [] }],
  ] satisfies [string, DnsRecord][])('aren’t made of %s', (_name, record) => {
    const others = recordsOf('a').filter(({ type }) => type !== record.type);
    expect(heard([[...others, record], '192.168.0.7']).found()).toEqual([]);
  });

  it('are kept within bounds, and it is said that there were more', () => {
    const all = new Heard();
    for (let i = 0; i < 1000; i++) all.take(recordsOf(`s${i}`, { target: `h${i}.local` }), '192.168.0.7');
    expect(all.found()).toHaveLength(limits.lanFoundMax);
    expect(all.hasMore).toBe(true);
    const many = new Heard();
    for (let i = 0; i < 255; i++) many.take(recordsOf('a', { address: `10.0.0.${i}` }), '192.168.0.7');
    expect(many.found()[0]?.addresses).toHaveLength(16);
    const flood = new Heard();
    flood.take(
      Array.from({ length: 1000 }, () => recordsOf('a')[0] as DnsRecord).concat(recordsOf('b')),
      '192.168.0.7',
    );
    expect(flood.found()).toEqual([]);
  });

  it('are none where nowhere is looked', async () => {
    expect(await browse(1, [])).toEqual({ found: [], hasMore: false, problems: [] });
  });
});

it.each([
  ['Stargus on vm', 1, 'Stargus on vm'],
  ['Stargus on vm', 2, 'Stargus on vm (2)'],
  ['a.b\u0007\u202ec', 1, 'a-bc'],
  [' ', 1, 'Stargus'],
  ['x'.repeat(80), 1, 'x'.repeat(63)],
  ['x'.repeat(80), 100, `${'x'.repeat(57)} (100)`],
  ['ü'.repeat(40), 2, `${'ü'.repeat(29)} (2)`],
  ['😀'.repeat(20), 1, '😀'.repeat(15)],
])('the name %j, number %d, is the label %j', (name, number, expected) => {
  expect(label(name, number)).toBe(expected);
});
