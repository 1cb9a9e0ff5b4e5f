/**
 * The URL of an account, in its one normal form: two URLs that lead to the same document must not be two people. What isn't
 * normal is refused and told what would be, rather than mended, for a signature is over the URL as it was written. Pure.
 */
import { limits } from '../limits.js';

/** Says why a text is no account's URL; the sentence has no subject. */
export class AccountFault extends Error {}

/** Letters of a path that stay as they are (RFC 3986, 3.3). */
const PLAIN = /[A-Za-z0-9._~!$&'()*+,;=:@-]/;

/**
 * The account's URL, taken apart.
 *
 * @param text what somebody says is the URL of an account
 * @param isPrivateAllowed http to a loopback address is taken as well
 * @throws AccountFault
 */
export function parseAccountUrl(text: string, isPrivateAllowed = false): URL {
  if (text.length > limits.accountUrlLengthMax)
    throw new AccountFault(`is longer than ${limits.accountUrlLengthMax} characters.`);
  const url = URL.parse(text);
  if (!url) throw new AccountFault('is no URL: an account is one such as https://alice.example/me.');
  const isLocal = isPrivateAllowed && url.protocol === 'http:' && isLoopbackName(url.hostname);
  if (url.protocol !== 'https:' && !isLocal) throw new AccountFault('must begin with https://.');
  if (url.username !== '' || url.password !== '') throw new AccountFault('must have no user name and no password.');
  if (text.includes('?')) throw new AccountFault('must have no query.');
  if (text.includes('#')) throw new AccountFault('must have no fragment.');
  const normal = normalForm(url);
  if (normal !== text) throw new AccountFault(`is not in its normal form, ${normal}.`);
  if (url.pathname.includes('//')) throw new AccountFault('must have no empty part in its path.');
  return url;
}

/** The normal form: as WHATWG has it, without a slash or dot at the end, percent-encoding only where it is needed. */
function normalForm(url: URL): string {
  const host = url.hostname.replace(/\.+$/, '');
  const port = url.port === '' ? '' : `:${url.port}`;
  const path = url.pathname.replace(/\/+$/, '').replaceAll(/%[0-9a-f]{2}|[\s\S]/gi, (part) => {
    if (part.length === 1) return part === '/' || PLAIN.test(part) ? part : encode(part);
    const character = String.fromCharCode(Number.parseInt(part.slice(1), 16));
    return /[A-Za-z0-9._~-]/.test(character) ? character : part.toUpperCase();
  });
  return `${url.protocol}//${host}${port}${path}`;
}

function encode(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`;
}

export function isLoopbackName(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || /^127(\.\d{1,3}){3}$/.test(host);
}

/** Where the keys of an account are published: `jwks.json` beside it, and did:web's document. */
export function documentsOf(account: string): { jwks: string; did: string; envelope: string } {
  const isRoot = new URL(account).pathname === '/';
  return {
    jwks: `${account}/jwks.json`,
    did: `${account}${isRoot ? '/.well-known' : ''}/did.json`,
    envelope: `${account}/envelope.jwe`,
  };
}

/** The account as a did:web identifier. */
export function didOf(account: string): string {
  const { host, pathname } = new URL(account);
  const path = pathname.split('/').filter(Boolean);
  // Of a percent sign is known that two digits follow: the account's URL is in its normal form.
  const part = (text: string) => text.replaceAll(/[^A-Za-z0-9._%-]/g, encode);
  return ['did:web', host.replace(':', '%3A'), ...path.map(part)].join(':');
}
