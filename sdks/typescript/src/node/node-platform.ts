/** Node: its own connections, SQLite files, key files. */
import type { Platform } from '../platform.js';
import { HttpTransport } from './http-transport.js';
import { readKeyFile } from './key-file.js';
import { openSqliteCache } from './sqlite-cache.js';

export const nodePlatform: Platform = {
  transport: () => new HttpTransport(),
  openCache: openSqliteCache,
  readKeyFile,
};
