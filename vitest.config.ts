/**
 * Unit tests sit beside the file they test (`src/…/*.spec.ts`); everything that needs a database or a running server is under
 * `test/`. Soak tests run for minutes, so they wait to be asked for: `STARGUS_TEST_SOAK=1 npm test -- test/soak`.
 */
import { configDefaults, defineConfig } from 'vitest/config';

export default defineConfig({
  // As in tsconfig.json, which covers the build only: Nest injects by the metadata of decorators, in the tests' own classes too.
  oxc: { decorator: { legacy: true, emitDecoratorMetadata: true } },
  test: {
    include: [
      'src/**/*.spec.ts',
      'test/**/*.test.ts',
      'sdks/typescript/src/**/*.spec.ts',
      'sdks/typescript/test/**/*.test.ts',
    ],
    exclude: [...configDefaults.exclude, ...(process.env.STARGUS_TEST_SOAK ? [] : ['test/soak/**'])],
    // Processes, not threads: better-sqlite3 and signals want a process of their own.
    pool: 'forks',
    // Each of these starts servers of its own; more at a time only make one another late. On two cores three fit, for many wait for time.
    maxWorkers: 3,
    // A server's start and a database's first migration are inside many tests; a test that hangs is still stopped.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    teardownTimeout: 20_000,
  },
});
