#!/usr/bin/env node
/**
 * The program: reads the configuration, starts, and stops in order when it is told to. The version of Node is checked
 * before anything else is loaded, for the SQLite driver crashes on an older one.
 */
import module from 'node:module';

const NODE_MAJOR = 24;
/** EX_CONFIG of sysexits(3): starting again without another configuration is of no use. */
const EXIT_CONFIG = 78;

async function main(): Promise<void> {
  const major = Number(process.versions.node.split('.')[0]);
  if (major < NODE_MAJOR) {
    fail(
      `Stargus needs Node ${NODE_MAJOR} or later; this is ${process.version}. Start it with \`npm start\`, which brings its own.`,
    );
  }
  // What is compiled once needn't be compiled at the next start: half of the time until it is ready.
  module.enableCompileCache();
  const { ConfigError, helpText, readConfig } = await import('./platform/config.js');
  const words = process.argv.slice(2);
  const isAnnounced = words[0] === '--lan';
  const [command, direction] = isAnnounced ? words.slice(1) : words;
  if (command === 'identity') {
    const { runIdentity } = await import('./cli/identity.js');
    process.exitCode = await runIdentity(process.argv.slice(3));
    return;
  }
  if (command === 'discover') {
    const { runDiscover } = await import('./cli/discover.js');
    process.exitCode = await runDiscover(process.argv.slice(3));
    return;
  }
  if (command === '--help' || command === '-h') return void process.stdout.write(helpText());
  try {
    const { config, warnings, unknown } = readConfig(isAnnounced ? { ...process.env, STARGUS_LAN: '1' } : process.env);
    if (command === 'backup' || command === 'restore' || command === 'doctor') {
      const { runUpkeep } = await import('./upkeep/upkeep.js');
      process.exitCode = await runUpkeep(command, process.argv.slice(3), config.STARGUS_DATABASE_URL, await version());
      return;
    }
    for (const warning of [...unknown, ...warnings]) console.warn(`warning: ${warning}`);
    if (command === '--version') return console.log(await version());
    if (command === 'migrate') return await migrate(config.STARGUS_DATABASE_URL, direction);
    if (command !== undefined) fail(`There is no command ${command}; \`stargus-server --help\` lists them.`);
    await run(config);
  } catch (error) {
    if (error instanceof ConfigError) fail(`The configuration is not right:\n${error.message}`, EXIT_CONFIG);
    fail(`Stargus could not start: ${(error as Error).message}`);
  }
}

async function run(config: import('./platform/config.js').Config): Promise<void> {
  const { serve } = await import('./wiring.js');
  const { hidePassword } = await import('./platform/config.js');
  const server = await serve(config);
  if (process.stdout.isTTY || process.env.npm_lifecycle_event === 'start') {
    console.log(`
Stargus is listening on ${server.url} (database: ${hidePassword(config.STARGUS_DATABASE_URL)}).
${config.STARGUS_AUTH === 'open' ? firstSteps(server.url) : firstStepsWithKey(server.url)}
The API for reading: ${server.url}/docs
`);
  }
  server.logger.info(
    {
      url: server.url,
      database: hidePassword(config.STARGUS_DATABASE_URL),
      auth: config.STARGUS_AUTH,
      pid: process.pid,
    },
    'listening',
  );
  module.flushCompileCache();
  let stopping = false;
  const stop = (signal: string) => {
    if (stopping) return;
    stopping = true;
    server.logger.info({ signal }, 'stopping');
    server.stop().then(
      () => {
        server.logger.info('stopped');
        process.exit(0);
      },
      (error) => fail(`Stargus did not stop in order: ${(error as Error).message}`),
    );
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
}

/** What to try first at a server that is open. */
function firstSteps(url: string): string {
  const items = `${url}/v1/pools/demo/collections/rooms`;
  return `STARGUS_AUTH=open: every program on this machine may read and write everything.

Watch a collection in one terminal:
  curl -N ${items}/attach
and set a value in another:
  curl -X PUT ${items}/items/kitchen -H 'content-type: application/json' -d '{"attributes":{"light":"on"}}'
`;
}

/** The same where who asks must say so. */
function firstStepsWithKey(url: string): string {
  const items = `${url}/v1/pools/demo/collections/rooms`;
  return `STARGUS_AUTH=required: the operator may do everything, others what a policy lets them.

With the operator’s key (printed at the first start, or STARGUS_OPERATOR_KEY):
  KEY=<the operator’s key>
watch a collection in one terminal:
  curl -N ${items}/attach -H "authorization: Bearer $KEY"
and set a value in another:
  curl -X PUT ${items}/items/kitchen -H "authorization: Bearer $KEY" -H 'content-type: application/json' -d '{"attributes":{"light":"on"}}'

Next: accounts for others (npm run -s stargus -- identity --help), and what they may do (docs/POLICY.md).
`;
}

async function migrate(url: string, direction: string | undefined): Promise<void> {
  const { migrateTables } = await import('./store/data-source.js');
  if (direction !== undefined && direction !== 'up' && direction !== 'down')
    fail('Usage: stargus-server migrate [up|down]');
  for (const name of await migrateTables(url, direction ?? 'up')) console.log(`ran ${name}`);
  console.log('The tables are as this version wants them.');
}

async function version(): Promise<string> {
  const { readFileSync } = await import('node:fs');
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

function fail(message: string, exitCode = 1): never {
  console.error(message);
  process.exit(exitCode);
}

await main();
