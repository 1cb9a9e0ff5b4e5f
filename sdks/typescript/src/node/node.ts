/** What only Node has: `@stargus/client/node`. */
export { type DiscoverOptions, discover, type FoundServer } from './discover.js';
export { readKeyFile } from './key-file.js';
