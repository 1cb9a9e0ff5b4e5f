import type { NetworkInterfaceInfo } from 'node:os';
import { expect, it } from 'vitest';
import { placesFor, placesToLook } from './places.js';

const info = (address: string, internal = false) =>
  ({ address, internal, family: address.includes(':') ? 'IPv6' : 'IPv4' }) as NetworkInterfaceInfo;

const interfaces = {
  lo: [info('127.0.0.1', true), info('::1', true)],
  eth0: [info('192.168.0.7'), info('10.0.0.7'), info('fd00::7'), info('fe80::7')],
  wlan0: [info('fe80::8'), info('192.168.1.8')],
  six: [info('fd00::9')],
  gone: undefined,
};

it.each([
  ['127.0.0.1', [{ through: '127.0.0.1', addresses: ['127.0.0.1'] }]],
  ['127.0.0.5', [{ through: '127.0.0.1', addresses: ['127.0.0.5'] }]],
  ['::1', [{ through: '127.0.0.1', addresses: ['::1'] }]],
  ['192.168.1.8', [{ through: '192.168.1.8', addresses: ['192.168.1.8'] }]],
  ['10.0.0.7', [{ through: '192.168.0.7', addresses: ['10.0.0.7'] }]],
  ['fd00::7', [{ through: '192.168.0.7', addresses: ['fd00::7'] }]],
  [
    '0.0.0.0',
    [
      { through: '192.168.0.7', addresses: ['192.168.0.7', '10.0.0.7'] },
      { through: '192.168.1.8', addresses: ['192.168.1.8'] },
    ],
  ],
  [
    '::',
    [
      { through: '192.168.0.7', addresses: ['192.168.0.7', '10.0.0.7', 'fd00::7'] },
      { through: '192.168.1.8', addresses: ['192.168.1.8'] },
    ],
  ],
  ['203.0.113.1', []],
  ['fd00::9', []],
])('who listens on %s is told of where that leads to', (listening, places) => {
  expect(placesFor(listening, interfaces)).toEqual(places);
});

it('looks on this machine and on each of its networks', () => {
  expect(placesToLook(interfaces)).toEqual(['127.0.0.1', '192.168.0.7', '192.168.1.8']);
  expect(placesToLook({})).toEqual(['127.0.0.1']);
});
