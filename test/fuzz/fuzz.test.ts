/**
 * The server is asked what its OpenAPI document allows, and what it doesn't, by schemathesis: no answer may be 5xx, and none may
 * be other than the document says. A minute; `STARGUS_TEST_FUZZ_S=3600 npm test -- test/fuzz` takes longer.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, expect, it } from 'vitest';
import { type Server, startServer } from '../support/server.js';

const SECONDS = Number(process.env.STARGUS_TEST_FUZZ_S ?? 60);
const SEED = Number(process.env.STARGUS_TEST_FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31));
const INSTALL_MS = 320_000;
/** What is under way when the time is over is finished. */
const FINISH_MS = 120_000;

let program: string;
let server: Server;
beforeAll(async () => {
  const setUp = path.resolve(import.meta.dirname, '../../scripts/schemathesis.mjs');
  const { stdout } = await promisify(execFile)(process.execPath, [setUp]);
  program = stdout.trim();
  // Streams end soon, so that they can be looked at.
  server = await startServer({ database: 'sqlite', env: { STARGUS_STREAM_AGE: '100ms' } });
}, INSTALL_MS);

it(`answers as its document says, for ${SECONDS} s (seed ${SEED})`, {
  timeout: SECONDS * 1000 + FINISH_MS,
}, async () => {
  const args = [
    '--config-file',
    path.join(import.meta.dirname, 'schemathesis.toml'),
    'run',
    `${server.url}/v1/openapi.json`,
    '--no-color',
  ];
  const { code, output } = await run([...args, '--max-time', String(SECONDS), '--seed', String(SEED)]);
  expect(code, output).toBe(0);
  // It has really asked.
  expect(Number(/(\d+) generated/.exec(output)?.[1] ?? 0), output).toBeGreaterThan(SECONDS);
  expect(output).toMatch(/Selected: (\d+)\/\1\n/);
  expect(server.output()).not.toMatch(/"level":[56]0/);
});

function run(args: readonly string[]): Promise<{ code: number; output: string }> {
  // It keeps what it found where it is started, and would begin with that the next time.
  const cwd = mkdtempSync(path.join(tmpdir(), 'stargus-fuzz-'));
  const hooks = path.join(import.meta.dirname, 'hooks.py');
  const env = { ...process.env, PYTHONDONTWRITEBYTECODE: '1', SCHEMATHESIS_HOOKS: hooks };
  return new Promise((resolve) => {
    const child = execFile(program, args, { cwd, env, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      rmSync(cwd, { recursive: true, force: true });
      resolve({ code: child.exitCode ?? (error ? 1 : 0), output: `${stdout}${stderr}` });
    });
  });
}
