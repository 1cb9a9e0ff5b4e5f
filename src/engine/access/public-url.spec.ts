import { expect, it } from 'vitest';
import { PublicUrl } from './public-url.js';

it.each([
  ['https://stargus.example', '127.0.0.1', 8080, 'https://stargus.example'],
  ['', '127.0.0.1', 8080, 'http://127.0.0.1:8080'],
  ['', '::1', 8080, 'http://[::1]:8080'],
  ['', '0.0.0.0', 8080, 'http://127.0.0.1:8080'],
  ['', '::', 8080, 'http://127.0.0.1:8080'],
  ['', '192.168.0.7', 8080, 'http://192.168.0.7:8080'],
])('a server configured as %j that listens at %s, port %i, is %s', (configured, host, port, href) => {
  const url = new PublicUrl(configured, host, port);
  expect(url.href).toBe(href);
  url.listening('127.0.0.1', 1);
  expect(url.href).toBe(href);
  expect(url.accountOf('alice')).toBe(`${href}/id/alice`);
  expect(url.nameOf(`${href}/id/alice`)).toBe('alice');
  for (const foreign of ['https://alice.example/me', `${href}0/id/alice`, `${href}/ID/alice`, href])
    expect(url.nameOf(foreign)).toBeUndefined();
});

it('a server on a free port is known once it listens', () => {
  const url = new PublicUrl('', '127.0.0.1', 0);
  expect(() => url.href).toThrow(/before it listens/);
  url.listening('127.0.0.1', 4321);
  expect(url.href).toBe('http://127.0.0.1:4321');
});
