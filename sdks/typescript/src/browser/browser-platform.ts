/** Browsers: `fetch`, IndexedDB. */
import { StargusError } from '../errors.js';
import { FetchTransport } from '../fetch-transport.js';
import type { Platform } from '../platform.js';
import { openIndexedDbCache } from './indexeddb-cache.js';

export const browserPlatform: Platform = {
  transport: () => new FetchTransport((input, init) => fetch(input, init)),
  openCache: openIndexedDbCache,
  readKeyFile: () =>
    Promise.reject(
      new StargusError('loginFailed', 'There are no files here: give the key file’s content, {account, jwk}.'),
    ),
};
