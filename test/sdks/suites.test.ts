/** The Go and Python clients' own tests, as their languages run them, on each database. (TypeScript's are run with all others.) */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from 'vitest';
import { environmentOfUser } from '../support/environment.js';
import { type DatabaseName, databases, startServer } from '../support/server.js';
import { OPERATOR_KEY } from './accounts.js';
import { BUILD_MS, pythonOfClient, SDKS } from './languages.js';

async function run(
  command: string,
  args: readonly string[],
  cwd: string,
  env: Record<string, string>,
): Promise<string> {
  const options = { cwd, env: { ...environmentOfUser(), ...env }, maxBuffer: 64 * 1024 * 1024, timeout: BUILD_MS };
  try {
    return (await promisify(execFile)(command, [...args], options)).stdout;
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new Error(
      `${command} ${args.join(' ')} in ${cwd}: ${(error as Error).message}\n${stdout.slice(-20_000)}\n${stderr.slice(-20_000)}`,
    );
  }
}

/** Where the tests find their servers. */
async function servers(database: DatabaseName): Promise<Record<string, string>> {
  const strict = { STARGUS_AUTH: 'required', STARGUS_OPERATOR_KEY: OPERATOR_KEY };
  const [open, required] = await Promise.all([startServer({ database }), startServer({ database, env: strict })]);
  return {
    STARGUS_TEST_URL: open.url,
    STARGUS_TEST_REQUIRED_URL: required.url,
    STARGUS_TEST_OPERATOR_KEY: OPERATOR_KEY,
  };
}

describe.each(databases)('on $name', ({ name }) => {
  let env: Record<string, string>;
  beforeAll(async () => {
    env = await servers(name);
  });

  test(
    'the Go client',
    async () => {
      const folder = path.join(SDKS, 'go');
      const out = await run('go', ['test', '-count=1', './...'], folder, env);
      expect(out).toMatch(/^ok\s+github.com\/stargus\/stargus\/sdks\/go\s/m);
      expect(out).not.toMatch(/^FAIL/m);
    },
    BUILD_MS,
  );

  test(
    'the Python client',
    async () => {
      const { command, env: ofPython } = await pythonOfClient();
      const folder = path.join(SDKS, 'python');
      const out = await run(command, ['-m', 'pytest', '-q', '-p', 'no:cacheprovider', 'tests'], folder, {
        ...ofPython,
        ...env,
      });
      expect(out).toMatch(/\d+ passed/);
    },
    BUILD_MS,
  );
});

describe('the Go client', () => {
  const folder = path.join(SDKS, 'go');
  const own = ['.', './discover', './internal/...', './webhook', './where'];
  let env: Record<string, string>;
  beforeAll(async () => {
    env = await servers('sqlite');
  });

  test(
    'has no race in what doesn’t need SQLite',
    async () => {
      await run('go', ['test', '-race', '-count=1', ...own], folder, env);
    },
    BUILD_MS,
  );

  test(
    'is formatted and vetted, but for what is generated',
    async () => {
      await run('go', ['vet', './...'], folder, {});
      const unformatted = (await run('gofmt', ['-l', '.'], folder, {})).split('\n');
      expect(unformatted.filter((file) => file !== '' && !file.startsWith('generated/'))).toEqual([]);
    },
    BUILD_MS,
  );
});
