/** Runs the scenarios of sdks/conformance for one client, on each database: several at a time, each with a driver, a proxy and a pool of its own. */
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type DatabaseName, databases, type Server, startServer } from '../support/server.js';
import { OPERATOR_KEY } from './accounts.js';
import { type CuttingProxy, type Site, startCuttingProxy } from './cutting-proxy.js';
import type { Driver } from './driver.js';
import { play, type Scenario } from './scenario.js';

const FOLDER = path.resolve(import.meta.dirname, '../../sdks/conformance/scenarios');
/** They mostly wait. */
const AT_ONCE = 6;
const SCENARIO_MS = 120_000;

const scenarios: readonly (Scenario & { area: string })[] = readdirSync(FOLDER)
  .filter((file) => file.endsWith('.json'))
  .sort()
  .flatMap((file) => {
    const list = JSON.parse(readFileSync(path.join(FOLDER, file), 'utf8')) as Scenario[];
    return list.map((scenario) => ({ ...scenario, area: file.replace(/\.json$/, '') }));
  });

export interface Client {
  readonly name: string;
  /** Begins a driver for what is at the proxy; called once its program is built. */
  readonly drive: (proxy: CuttingProxy) => Driver;
  /** What it can't be asked for. */
  readonly lacks?: Scenario['needs'];
  /** Those that it is run on. */
  readonly on?: readonly { readonly name: DatabaseName }[];
  /** What the proxies serve beside the server. */
  readonly site?: Site;
}

export function conformance({ name: client, drive, lacks = [], on = databases, site }: Client): void {
  describe.each(on)(`${client} on $name`, { concurrent: true, timeout: SCENARIO_MS }, ({ name: database }) => {
    let shared: Server;
    let strict: { readonly proxy: CuttingProxy; readonly server: Server };
    beforeAll(async () => {
      const proxy = await startCuttingProxy(site);
      // Accounts and audiences begin with the address by which the clients come.
      const env = { STARGUS_AUTH: 'required', STARGUS_OPERATOR_KEY: OPERATOR_KEY, STARGUS_PUBLIC_URL: proxy.url };
      [shared, strict] = await Promise.all([
        startServer({ database }),
        startServer({ database, env }).then((server) => ({ proxy, server })),
      ]);
      proxy.target(strict.server.url);
    });
    afterAll(() => strict?.proxy.stop());

    const able = scenarios.filter(({ needs = [] }) => !needs.some((need) => lacks.includes(need)));
    const turn = turns(AT_ONCE);
    // They share a proxy, whose address is the server's name.
    const turnOfStrict = turns(1);
    test.each(able)('$area: $name', async (scenario) => {
      if (scenario.server === 'required')
        await turnOfStrict(() => {
          strict.proxy.reset();
          return perform(scenario, { drive, proxy: strict.proxy, server: strict.server });
        });
      else await turn(() => alone(scenario, { drive, database, shared, site }));
    });
  });

  test('there are scenarios', () => {
    expect(scenarios.length).toBeGreaterThan(20);
  });
}

/** With a proxy of its own, and if it wants a server of its own. */
async function alone(
  scenario: Scenario,
  { drive, database, shared, site }: Pick<Client, 'drive' | 'site'> & { database: DatabaseName; shared: Server },
): Promise<void> {
  const proxy = await startCuttingProxy(site);
  let server = scenario.server === 'own' ? await startServer({ database }) : shared;
  proxy.target(server.url);
  const restart = async (how: 'stop' | 'kill') => {
    if (server === shared) throw new Error('A scenario that restarts a server needs its own.');
    await (how === 'kill' ? server.kill() : server.stop());
    const { databaseUrl, url } = server;
    server = await startServer({ database, databaseUrl, port: Number(new URL(url).port) });
  };
  try {
    await perform(scenario, { drive, proxy, server, restart });
  } finally {
    await proxy.stop();
    if (server !== shared) await server.kill();
  }
}

interface Cast {
  readonly drive: Client['drive'];
  readonly proxy: CuttingProxy;
  readonly server: Server;
  readonly restart?: (how: 'stop' | 'kill') => Promise<void>;
}

async function perform(scenario: Scenario, { drive, proxy, server, restart }: Cast): Promise<void> {
  const folder = mkdtempSync(path.join(tmpdir(), 'stargus-scenario-'));
  const drivers = [drive(proxy)];
  try {
    // It is there before anything is cut.
    await drivers[0]?.ask({ do: 'open' });
    await play(scenario, {
      proxy,
      folder,
      // Restarted, it has the same address.
      server,
      driver: () => drivers.at(-1) as Driver,
      again: () => {
        drivers.push(drive(proxy));
      },
      restart: restart ?? (() => Promise.reject(new Error('This server is shared.'))),
    });
    await drivers.at(-1)?.end();
  } finally {
    for (const each of drivers) each.kill();
  }
}

/** At most so many at once. */
function turns(atOnce: number): (work: () => Promise<void>) => Promise<void> {
  let running = 0;
  const queue: (() => void)[] = [];
  return async (work) => {
    if (running >= atOnce) await new Promise<void>((resolve) => queue.push(resolve));
    else running++;
    try {
      await work();
    } finally {
      const next = queue.shift();
      if (next) next();
      else running--;
    }
  };
}
