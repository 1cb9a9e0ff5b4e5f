/** The package in browsers. */
import { browserPlatform } from './browser/browser-platform.js';
import { type Connect, connectOn } from './connect.js';

export * from './library.js';

/**
 * Asks the server who it is, and answers a client of the pool; it makes no pool.
 *
 * @throws StargusError `unreachable`, `timeout`, `notStargus`, `incompatibleServer`
 */
export const connect: Connect = /* @__PURE__ */ connectOn(browserPlatform);
