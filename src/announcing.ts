/** Has a server that listens announce itself on the local network, where STARGUS_LAN says so (src/lan). */
import { randomBytes } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { hostname } from 'node:os';
import type { Engine } from './engine/engine.js';
import { limits } from './engine/limits.js';
import { Announcer } from './lan/announcer.js';
import { isLoopbackAddress } from './lan/places.js';
import type { Config } from './platform/config.js';
import type { Logger } from './platform/logger.js';

export function announce(
  config: Config,
  engine: Engine,
  version: string,
  { address, port }: AddressInfo,
  logger: Logger,
): Announcer {
  if (isLoopbackAddress(address))
    logger.warn(
      `STARGUS_LAN: the server listens on ${address}, so it is announced to programs on this machine only. For others set STARGUS_HOST, to 0.0.0.0 or an address of this machine, and STARGUS_AUTH=required.`,
    );
  const url = config.STARGUS_PUBLIC_URL === '' ? undefined : config.STARGUS_PUBLIC_URL;
  const announcer = new Announcer({
    name: config.STARGUS_LAN_NAME || `Stargus on ${hostname()}`,
    id: randomBytes(4).toString('hex'),
    listening: address,
    port,
    told: {
      api: 'v1',
      version,
      auth: config.STARGUS_AUTH,
      path: '/v1',
      https: url?.startsWith('https:') === true,
      url,
    },
    pools: async () => {
      const isTold =
        config.STARGUS_LAN_POOLS === 'auto' ? config.STARGUS_AUTH === 'open' : config.STARGUS_LAN_POOLS === '1';
      if (!isTold) return { names: [], hasMore: false };
      const pools = await engine.store.pools(undefined, limits.lanPoolsMax);
      // Those of the system are nobody's business.
      const names = pools.map(({ head }) => head.name).filter((name) => !name.startsWith('_'));
      return { names, hasMore: pools.length === limits.lanPoolsMax };
    },
    warn: (message) => logger.warn(`${message}. The server is announced no further there, and otherwise unharmed.`),
  });
  engine.replicas.changed = () => announcer.poolsChanged();
  announcer.start();
  return announcer;
}
