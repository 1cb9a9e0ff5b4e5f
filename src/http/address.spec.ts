import { expect, it } from 'vitest';
import { Addresses } from './address.js';

const addresses = new Addresses(['10.0.0.0/8', '2001:db8:ffff::/48', '192.0.2.1'], ['127.0.0.0/8', '::1']);

it.each([
  ['203.0.113.7', '203.0.113.7', false],
  ['::ffff:203.0.113.7', '203.0.113.7', false],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64', false],
  ['2001:DB8:1:2::', '2001:db8:1:2::/64', false],
  ['fe80::1%eth0', 'fe80::/64', false],
  ['127.8.8.8', '127.8.8.8', true],
  ['::1', '::/64', true],
  ['::2', '::/64', false],
  ['::ffff:127.0.0.1', '127.0.0.1', true],
  ['10.1.2.3', '10.1.2.3', true],
  ['192.0.2.1', '192.0.2.1', true],
  ['192.0.2.2', '192.0.2.2', false],
  ['2001:db8:ffff::5', '2001:db8:ffff::/64', true],
  ['', 'unknown', false],
  ['nonsense', 'unknown', false],
  ['1.2.3.4:80', 'unknown', false],
])('%s is %s', (text, key, isUnlimited) => {
  expect(addresses.named(text)).toEqual({ key, isUnlimited });
});

it('what is no address is trusted with nothing', () => {
  expect(['10.9.9.9', '::ffff:10.9.9.9', '2001:db8:ffff:1::1'].map(addresses.trusts)).toEqual([true, true, true]);
  expect(['11.0.0.1', '', 'nonsense', 'unix:'].map(addresses.trusts)).toEqual([false, false, false, false]);
  expect([addresses.trustsAny, new Addresses([], []).trustsAny]).toEqual([true, false]);
  expect(addresses.named(undefined)).toEqual({ key: 'unknown', isUnlimited: false });
});
