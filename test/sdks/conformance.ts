/** Runs the scenarios of sdks/conformance for one client, on each database: several at a time, each with a driver, a proxy and a pool of its own. */
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { type DatabaseName, databases, type Server, startServer } from '../support/server.js';
import { OPERATOR_KEY } from './accounts.js';
import { startCuttingProxy } from './cutting-proxy.js';
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
  /** Begins a driver; called once its program is built. */
  readonly drive: (folder: string) => Driver;
  /** What it can't be asked for. */
  readonly lacks?: Scenario['needs'];
}

export function conformance({ name: client, drive, lacks = [] }: Client): void {
  describe.each(databases)(`${client} on $name`, { concurrent: true, timeout: SCENARIO_MS }, ({ name: database }) => {
    let shared: Server;
    beforeAll(async () => {
      shared = await startServer({ database });
    });
    const able = scenarios.filter(({ needs = [] }) => !needs.some((need) => lacks.includes(need)));
    test.each(able)('$area: $name', async (scenario) => {
      await turn(() => stageOf(scenario, database, shared, drive));
    });
  });

  test('there are scenarios', () => {
    expect(scenarios.length).toBeGreaterThan(20);
  });
}

async function stageOf(
  scenario: Scenario,
  database: DatabaseName,
  shared: Server,
  drive: Client['drive'],
): Promise<void> {
  const folder = mkdtempSync(path.join(tmpdir(), 'stargus-scenario-'));
  const proxy = await startCuttingProxy();
  const settings = {
    // Accounts and audiences begin with the address by which the clients come.
    ...(scenario.server === 'required' && {
      STARGUS_AUTH: 'required',
      STARGUS_OPERATOR_KEY: OPERATOR_KEY,
      STARGUS_PUBLIC_URL: proxy.url,
    }),
    ...scenario.env,
  };
  let server = scenario.server ? await startServer({ database, env: settings }) : shared;
  proxy.target(server.url);
  let driver = drive(folder);
  const drivers = [driver];
  try {
    await play(scenario, {
      proxy,
      folder,
      server: () => server,
      driver: () => driver,
      again: () => {
        driver = drive(folder);
        drivers.push(driver);
      },
      restart: async (how, env = {}) => {
        if (!scenario.server) throw new Error('A scenario that restarts a server needs its own.');
        await (how === 'kill' ? server.kill() : server.stop());
        server = await startServer({
          database,
          databaseUrl: server.databaseUrl,
          port: Number(new URL(server.url).port),
          env: { ...settings, ...env },
        });
      },
    });
    await driver.end();
  } finally {
    for (const each of drivers) each.kill();
    await proxy.stop();
    if (scenario.server) await server.kill();
  }
}

let running = 0;
const queue: (() => void)[] = [];

/** At most so many at once. */
async function turn(work: () => Promise<void>): Promise<void> {
  if (running >= AT_ONCE) await new Promise<void>((resolve) => queue.push(resolve));
  running++;
  try {
    await work();
  } finally {
    running--;
    queue.shift()?.();
  }
}
