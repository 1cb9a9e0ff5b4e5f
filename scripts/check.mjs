/**
 * `npm run check`: style, types, the direction of imports, unused code. Every check runs even when one before it failed, and
 * the summary comes last. `npm run fix` (`--fix`) mends what the tools can mend by themselves, then checks the same.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { nodeProgram, ROOT, run, toolFile } from './programs.mjs';

/** `args` check; `fix`, where a tool has one, mends first. Types and imports are mended by hand. */
const CHECKS = [
  {
    name: 'style',
    tool: ['@biomejs/biome', 'biome'],
    args: ['check', '--no-errors-on-unmatched', '--max-diagnostics=200'],
    fix: ['check', '--write', '--no-errors-on-unmatched', '--max-diagnostics=200'],
  },
  { name: 'types', tool: ['typescript', 'tsc'], args: ['-p', 'tsconfig.check.json'] },
  // Of the client's tests; the client itself is checked when it is built (scripts/typescript-client.mjs).
  { name: 'client', tool: ['typescript', 'tsc'], args: ['-p', 'sdks/typescript/tsconfig.check.json'] },
  {
    name: 'imports',
    tool: ['dependency-cruiser', 'depcruise'],
    args: [
      '--output-type',
      'err-long',
      ...['src', 'migrations'].filter((folder) => existsSync(path.join(ROOT, folder))),
    ],
  },
  {
    name: 'unused',
    tool: ['knip', 'knip'],
    args: ['--no-progress', '--no-config-hints'],
    // Dependencies are not removed by a tool: package.json is edited together with the lock file (scripts/lock.mjs).
    fix: ['--no-progress', '--no-config-hints', '--fix', '--fix-type', 'exports,types'],
  },
];

/**
 * Runs every check.
 *
 * @returns {Promise<string[]>} the names of those that failed
 */
export async function check({ fix = false } = {}) {
  const results = [];
  for (const { name, tool, args, fix: fixArgs } of CHECKS) {
    const started = Date.now();
    const command = [toolFile(...tool), ...(fix && fixArgs ? fixArgs : args)];
    const { code, output } = await run(nodeProgram(), command, { quiet: true, env: { FORCE_COLOR: '0' } });
    if (code !== 0) console.log(`\n── ${name} ──\n${output.trim()}\n`);
    results.push({ name, failed: code !== 0, ms: Date.now() - started });
  }
  for (const { name, failed, ms } of results) {
    console.log(`${failed ? 'FAILED' : 'ok    '}  check ${name.padEnd(8)} ${(ms / 1000).toFixed(1)} s`);
  }
  return results.filter(({ failed }) => failed).map(({ name }) => name);
}

if (process.argv[1]?.endsWith('check.mjs')) {
  const failed = await check({ fix: process.argv.includes('--fix') });
  if (failed.length > 0) console.log('\nMany of these are mended by `npm run fix`.');
  process.exitCode = failed.length > 0 ? 1 : 0;
}
