/** What browsers and Node have each in their own way. */
import type { OpenCache } from './cache.js';
import type { Transport } from './transport.js';

/** `{account, jwk}`, as `stargus-server identity create` writes it. */
export interface KeyFile {
  /** The account's URL. */
  readonly account: string;
  /** The private key. */
  readonly jwk: Readonly<Record<string, unknown>>;
}

export interface Platform {
  transport(): Transport;
  readonly openCache: OpenCache;
  /** @throws StargusError `loginFailed` */
  readKeyFile(file: string): Promise<KeyFile>;
}
