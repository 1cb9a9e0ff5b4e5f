/**
 * The servers that the tests need beside Stargus, private to one run: MariaDB and Redis in folders of their own under the system's
 * temporary folder, on free loopback ports, with no password. `node scripts/services.mjs` starts them, prints their addresses
 * and keeps them until Ctrl-C; scripts/test.mjs does the same around the tests.
 *
 * A service is one entry of SERVICES. Whoever sets its `urlVariable` beforehand gets their own server used instead. When a
 * service can't be had, the reason is handed on in its `errorVariable`, and the tests that need it fail with that text: a
 * missing database must not look like a passed test.
 */
import { clearLeftovers } from './daemon.mjs';
import { startGalera } from './galera.mjs';
import { startMariadb } from './mariadb.mjs';
import { startRedis } from './redis.mjs';

const SERVICES = [
  {
    name: 'MariaDB',
    urlVariable: 'STARGUS_TEST_MARIADB_URL',
    errorVariable: 'STARGUS_TEST_MARIADB_ERROR',
    // Of a cluster the URL is one node's, and those of all are in another variable.
    start: process.env.STARGUS_TEST_GALERA ? startGalera : startMariadb,
  },
  {
    name: 'Redis',
    urlVariable: 'STARGUS_TEST_REDIS_URL',
    errorVariable: 'STARGUS_TEST_REDIS_ERROR',
    start: startRedis,
  },
];

/**
 * Starts every service that is not given from outside.
 *
 * @param {{log?: (line: string) => void}} [options] `log` hears of what takes long
 * @returns {Promise<{env: Record<string, string>, stop: () => Promise<void>}>} `env` holds the address of each service, or the
 *   reason why it is not there; `stop` ends those that were started and removes their data. It may be called more than once.
 */
export async function startServices({ log = () => {} } = {}) {
  await clearLeftovers(log);
  const env = {};
  const running = [];
  for (const { name, urlVariable, errorVariable, start } of SERVICES) {
    if (process.env[urlVariable]) continue;
    try {
      const service = await start(log);
      running.push(service);
      env[urlVariable] = service.url;
      if (service.urls) env[`${urlVariable}S`] = service.urls.join(',');
    } catch (error) {
      env[errorVariable] =
        `${name} could not be started for the tests: ${error.message} ` +
        `Mend that, or set ${urlVariable} to a server that the tests may fill and empty.`;
    }
  }
  let stopped;
  const stop = () => {
    stopped ??= Promise.all(running.map((service) => service.stop())).then(() => {});
    return stopped;
  };
  return { env, stop };
}

if (process.argv[1]?.endsWith('services.mjs')) {
  const asked = new Promise((resolve) => {
    process.once('SIGINT', resolve).once('SIGTERM', resolve);
  });
  const { env, stop } = await startServices({ log: (line) => console.error(line) });
  for (const [name, value] of Object.entries(env)) console.log(`${name}=${value}`);
  if (SERVICES.some(({ errorVariable }) => env[errorVariable])) {
    await stop();
    process.exit(1);
  }
  console.error('Running until Ctrl-C.');
  // A pending promise alone doesn't keep Node alive.
  const keepAlive = setInterval(() => {}, 60_000);
  await asked;
  clearInterval(keepAlive);
  await stop();
}
