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

  it('is missed where others reach the server', () => {
    const others = { STARGUS_HOST: '0.0.0.0', STARGUS_AUTH: 'required', STARGUS_OPERATOR_KEY: 'x'.repeat(24) };
    expect(readConfig(others).warnings).toEqual([expect.stringMatching(/^STARGUS_PUBLIC_URL is not set/)]);
    expect(readConfig({ ...others, STARGUS_PUBLIC_URL: 'https://stargus.example' }).warnings).toEqual([]);
    expect(readConfig({}).warnings).toEqual([]);
  });
});
