/** The account that a command is about, as it was typed: where it is, and who hosts it. */
import { AccountFault, isLoopbackName, parseAccountUrl } from '../engine/access/account-url.js';
import { CommandFault, type Given, type Option, PROGRAM } from './command.js';
import { keyPathOf } from './key-file.js';

export const ACCOUNT: Option = {
  value: 'URL',
  meaning: 'The account, such as https://stargus.example/id/alice.',
  required: true,
};
export const KEY: Option = { value: 'file', meaning: 'The private key’s file; in ~/.config/stargus when absent.' };
export const ALGORITHM: Option = { value: 'name', meaning: 'EdDSA (when absent), ES256 or PS256.' };
export const SERVER: Option = {
  value: 'URL',
  meaning: 'Where the server is reached, if not at the beginning of the account’s URL.',
};
export const JSON_OUTPUT: Option = { meaning: 'Print the result as JSON.' };
export const FORCE: Option = { meaning: 'Overwrite files that are there.' };

export interface Account {
  readonly url: string;
  /** The beginning of its URL: the public URL of the server that hosts it. */
  readonly origin: string;
  /** Its name at the server; undefined where the URL is not one of a hosted account. */
  readonly name: string | undefined;
  readonly keyFile: string;
}

export function accountOf(given: Given): Account {
  const text = given.needed('account');
  let url: URL;
  try {
    // On one's own computer one may name any place.
    url = parseAccountUrl(text, true);
  } catch (error) {
    if (error instanceof AccountFault) throw new CommandFault(`--account ${text} ${error.message}`, 2);
    throw error;
  }
  const name = /^\/id\/([A-Za-z0-9][A-Za-z0-9_.~-]{0,127})$/.exec(url.pathname)?.[1];
  return { url: text, origin: url.origin, name, keyFile: given.text('key') ?? keyPathOf(text) };
}

/** The name that the account has at its server. */
export function hostedName({ url, name }: Account): string {
  if (name !== undefined) return name;
  throw new CommandFault(
    `${url} is not an account that a Stargus server hosts (those end in /id/<name>). For one of your own site give --site, the site’s folder.`,
    2,
  );
}

/** Where the server that hosts the account is reached. */
export function serverOf(given: Given, account: Account): string {
  return originOf(given.text('server') ?? account.origin, '--server');
}

export function originOf(text: string, option: string): string {
  const url = URL.parse(text);
  if (!url || !/^https?:$/.test(url.protocol) || url.pathname !== '/' || url.search !== '' || url.hash !== '')
    throw new CommandFault(
      `${option} must be a URL without a path, such as https://stargus.example; it is ${text}.`,
      2,
    );
  if (url.protocol === 'http:' && !isLoopbackName(url.hostname))
    throw new CommandFault(
      `${option} must begin with https://; plain http is for servers on this computer only. It is ${text}.`,
      2,
    );
  return url.origin;
}

/** Refuses where the server that hosts the account is another one than the account says: nothing would fit together. */
export function checkHost({ url, origin, name }: Account, audience: unknown): void {
  if (audience === origin) return;
  throw new CommandFault(
    `This server is ${String(audience)}; the account is ${url}, which is one of ${origin}. Use the account ${String(audience)}/id/${name}, and make its key with \`${PROGRAM} identity create\`.`,
  );
}
