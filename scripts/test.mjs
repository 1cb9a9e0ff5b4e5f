/**
 * `npm test`: the checks, the generated text, then every test with a private MariaDB beside them. The last line is
 * `N passed, N failed`, where a check that failed counts as one; the exit code is 0 only if nothing did.
 *
 * With arguments only those tests run, without the checks: `npm test -- test/api/items.test.ts -t conflict`.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { check } from './check.mjs';
import { nodeProgram, ROOT, run, toolFile } from './programs.mjs';
import { startServices } from './services.mjs';

const wanted = process.argv.slice(2);
const failedChecks = [];
let interrupted = false;
for (const signal of ['SIGINT', 'SIGTERM']) {
  // Nothing is torn down here: the program that runs hears the signal too, and the `finally` below follows its end.
  process.on(signal, () => {
    interrupted = true;
  });
}

if (wanted.length === 0) {
  failedChecks.push(...(await check()));
  if (!interrupted) {
    const { code } = await run(nodeProgram(), [path.join(ROOT, 'scripts', 'gen.mjs'), '--check']);
    console.log(`${code === 0 ? 'ok    ' : 'FAILED'}  check generated`);
    if (code !== 0) failedChecks.push('generated');
  }
}

const tally = interrupted ? { passed: 0, failed: 0, skipped: 0, code: 130 } : await runTests();
const failed = failedChecks.length + tally.failed;
if (failedChecks.length > 0) console.log(`\nFailed checks: ${failedChecks.join(', ')} (\`npm run fix\` mends many).`);
if (tally.skipped > 0) console.log(`${tally.skipped} skipped`);
if (interrupted) console.log('Interrupted before the end.');
console.log(`\n${tally.passed} passed, ${failed} failed`);
process.exitCode = interrupted ? 130 : failed > 0 || tally.code !== 0 ? 1 : 0;

async function runTests() {
  // All temporary files of the tests are below this folder, so that they go with it however the tests end.
  const folder = mkdtempSync(path.join(tmpdir(), 'stargus-test-'));
  const report = path.join(folder, 'report.json');
  const services = await startServices({ log: console.log });
  try {
    if (interrupted) return { passed: 0, failed: 0, skipped: 0, code: 130 };
    const { code } = await run(
      nodeProgram(),
      [toolFile('vitest'), 'run', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`, ...wanted],
      { env: { ...services.env, TMPDIR: folder, STARGUS_TEST_FOLDER: folder } },
    );
    return count(report, code);
  } finally {
    endServers(folder);
    await services.stop();
    rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

/** Ends the servers that outlived their tests because the tests were killed: test/support/server.ts leaves a file for each. */
function endServers(folder) {
  for (const name of readdirSync(folder)) {
    const pid = /^server-(\d+)$/.exec(name)?.[1];
    if (pid === undefined) continue;
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It has ended since.
    }
  }
}

/** Failures that belong to no test count too: a file that doesn't load, an error outside every test, a run that died. */
function count(report, code) {
  let passed = 0;
  let failed = 0;
  let skipped = 0;
  try {
    const { numPassedTests, numFailedTests, numPendingTests, testResults } = JSON.parse(readFileSync(report, 'utf8'));
    passed = numPassedTests;
    skipped = numPendingTests;
    const withoutTests = ({ status, assertionResults }) =>
      status === 'failed' && !assertionResults.some((result) => result.status === 'failed');
    failed = numFailedTests + testResults.filter(withoutTests).length;
  } catch {
    // No report: the run died before it could write one.
  }
  if (code !== 0 && failed === 0) failed = 1;
  return { passed, failed, skipped, code };
}
