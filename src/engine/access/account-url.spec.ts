import { describe, expect, it } from 'vitest';
import { didOf, documentsOf, parseAccountUrl } from './account-url.js';

describe('the URL of an account', () => {
  it.each([
    'https://alice.example',
    'https://alice.example/me',
    'https://alice.example/a/b.c/d~e',
    'https://alice.example:8443/me',
    'https://social.example/@alice',
    'https://xn--bcher-kva.example/me',
    'https://alice.example/caf%C3%A9',
    'https://alice.example/a%2Fb',
    'https://alice.example/a%20b',
    'https://alice.example/Me',
    'https://[2606:4700::1111]/me',
    `https://alice.example/${'x'.repeat(178)}`,
  ])('may be %s', (text) => {
    expect(parseAccountUrl(text).href.replace(/\/$/, '')).toBe(text);
  });

  it.each([
    ['https://alice.example/', 'https://alice.example'],
    ['https://alice.example/me/', 'https://alice.example/me'],
    ['HTTPS://alice.example/me', 'https://alice.example/me'],
    ['https://Alice.Example/me', 'https://alice.example/me'],
    ['https://alice.example:443/me', 'https://alice.example/me'],
    ['https://alice.example:08443/me', 'https://alice.example:8443/me'],
    ['https://alice.example./me', 'https://alice.example/me'],
    ['https://alice.example/a/../me', 'https://alice.example/me'],
    ['https://alice.example/a/%2e%2E/me', 'https://alice.example/me'],
    ['https://alice.example/./me', 'https://alice.example/me'],
    ['https://alice.example\\me', 'https://alice.example/me'],
    ['https:alice.example/me', 'https://alice.example/me'],
    ['https:////alice.example/me', 'https://alice.example/me'],
    [' https://alice.example/me', 'https://alice.example/me'],
    ['https://alice.example/m\te', 'https://alice.example/me'],
    ['https://alice.example/%6de', 'https://alice.example/me'],
    ['https://alice.example/%7Eme', 'https://alice.example/~me'],
    ['https://alice.example/caf%c3%a9', 'https://alice.example/caf%C3%A9'],
    ['https://alice.example/café', 'https://alice.example/caf%C3%A9'],
    ['https://alice.example/a|b', 'https://alice.example/a%7Cb'],
    ['https://alice.example/100%', 'https://alice.example/100%25'],
    ['https://bücher.example/me', 'https://xn--bcher-kva.example/me'],
    ['https://alice.example/me//', 'https://alice.example/me'],
    ['https://2130706433/me', 'https://127.0.0.1/me'],
    ['https://0x7f.1/me', 'https://127.0.0.1/me'],
    ['https://0177.0.0.1/me', 'https://127.0.0.1/me'],
    ['https://[::FFFF:127.0.0.1]/me', 'https://[::ffff:7f00:1]/me'],
  ])('%j is told that it should be %s', (text, normal) => {
    expect(() => parseAccountUrl(text)).toThrow(`is not in its normal form, ${normal}.`);
    expect(parseAccountUrl(normal)).toBeInstanceOf(URL);
  });

  it.each([
    ['http://alice.example/me', /https/],
    ['http://127.0.0.1/me', /https/],
    ['ftp://alice.example/me', /https/],
    ['file:///etc/passwd', /https/],
    ['did:web:alice.example', /https/],
    ['javascript:alert(1)', /https/],
    ['alice.example/me', /no URL/],
    ['', /no URL/],
    ['https://', /no URL/],
    ['https://al ice.example/', /no URL/],
    ['https://1.2.3.4.5.6:99999/', /no URL/],
    ['https://u@alice.example/me', /user name/],
    ['https://u:p@alice.example/me', /user name/],
    ['https://:p@alice.example/me', /user name/],
    ['https://alice.example/me?', /query/],
    ['https://alice.example/me?a=b', /query/],
    ['https://alice.example/me#', /fragment/],
    ['https://alice.example/me#key', /fragment/],
    ['https://alice.example//me', /empty part/],
    ['https://alice.example/a//me', /empty part/],
    [`https://alice.example/${'x'.repeat(179)}`, /200/],
  ])('%j is refused', (text, message) => {
    expect(() => parseAccountUrl(text)).toThrow(message);
  });

  it.each(['http://127.0.0.1:8080/id/a', 'http://localhost/me', 'http://[::1]:80'.replace(':80', ':81')])(
    'may be %s where private addresses are allowed',
    (text) => {
      expect(parseAccountUrl(text, true)).toBeInstanceOf(URL);
      expect(() => parseAccountUrl(text)).toThrow(/https/);
    },
  );

  it.each(['http://alice.example/me', 'http://10.0.0.1/me', 'http://127.0.0.1.example/me'])(
    'may not be %s even there',
    (text) => {
      expect(() => parseAccountUrl(text, true)).toThrow(/https/);
    },
  );

  it.each([
    [
      'https://alice.example',
      'https://alice.example/jwks.json',
      'https://alice.example/.well-known/did.json',
      'did:web:alice.example',
    ],
    [
      'https://alice.example/me',
      'https://alice.example/me/jwks.json',
      'https://alice.example/me/did.json',
      'did:web:alice.example:me',
    ],
    [
      'https://a.example:8443/x/y',
      'https://a.example:8443/x/y/jwks.json',
      'https://a.example:8443/x/y/did.json',
      'did:web:a.example%3A8443:x:y',
    ],
    [
      'https://a.example/~me/@x',
      'https://a.example/~me/@x/jwks.json',
      'https://a.example/~me/@x/did.json',
      'did:web:a.example:%7Eme:%40x',
    ],
    [
      'https://a.example/caf%C3%A9',
      'https://a.example/caf%C3%A9/jwks.json',
      'https://a.example/caf%C3%A9/did.json',
      'did:web:a.example:caf%C3%A9',
    ],
  ])('of %s tells where its keys are', (account, jwks, did, id) => {
    expect(documentsOf(account)).toMatchObject({ jwks, did });
    expect(didOf(account)).toBe(id);
  });
});
