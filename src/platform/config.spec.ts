import { describe, expect, it } from 'vitest';
import { ConfigError, readConfig } from './config.js';

describe('STARGUS_PUBLIC_URL', () => {
  it.each([
    '',
    'https://stargus.example',
    'https://stargus.example:8443',
    'https://192.168.0.7',
    'http://127.0.0.1:8080',
    'http://localhost:8080',
    'http://[::1]:8080',
  ])('may be %j', (url) => {
    expect(readConfig({ STARGUS_PUBLIC_URL: url }).config.STARGUS_PUBLIC_URL).toBe(url);
  });

  it.each([
    'http://stargus.example',
    'http://192.168.0.7:8080',
    'https://stargus.example/',
    'https://stargus.example/path',
    'https://Stargus.example',
    'https://stargus.example:443',
    'https://u@stargus.example',
    'https://stargus.example?x',
    'stargus.example',
    'ftp://stargus.example',
    ' https://stargus.example',
  ])('may not be %j', (url) => {
    expect(() => readConfig({ STARGUS_PUBLIC_URL: url })).toThrow(ConfigError);
    expect(() => readConfig({ STARGUS_PUBLIC_URL: url })).toThrow(/STARGUS_PUBLIC_URL.*must be https/);
  });

  it('is missed where accounts are needed, and so is the secret', () => {
    const closed = { STARGUS_AUTH: 'required' };
    const url = expect.stringMatching(/^STARGUS_PUBLIC_URL is not set/);
    const secret = expect.stringMatching(/^STARGUS_SECRET is not set/);
    for (const STARGUS_HOST of ['0.0.0.0', '127.0.0.1'])
      expect(readConfig({ ...closed, STARGUS_HOST }).warnings).toEqual([url, secret]);
    const named = { ...closed, STARGUS_PUBLIC_URL: 'https://stargus.example' };
    expect(readConfig(named).warnings).toEqual([secret]);
    expect(readConfig({ ...named, STARGUS_SECRET: 'x'.repeat(24) }).warnings).toEqual([]);
    expect(readConfig({}).warnings).toEqual([]);
  });
});

describe('the operator’s key', () => {
  it.each(['with blanks in it, many of them', 'ümlauts-in-a-key-of-24-bytes', `${'x'.repeat(24)}\n`, 'too-short'])(
    'may not be %j, which no bearer token is',
    (key) => {
      expect(() => readConfig({ STARGUS_OPERATOR_KEY: key })).toThrow(/STARGUS_OPERATOR_KEY=…/);
      expect(() => readConfig({ STARGUS_OPERATOR_KEY: key })).not.toThrow(key);
    },
  );
});
