/** The example of the cities, run whole as a user would: all 171,075 of them take about ten seconds to load. */
import { spawn } from 'node:child_process';
import path from 'node:path';
import { expect, test } from 'vitest';
import { startServer } from '../support/server.js';

const ROOT = path.resolve(import.meta.dirname, '../..');
const PROGRAM = path.join(ROOT, 'examples/cities/main.mjs');

test('loads the cities of the world and hears of one country only', { timeout: 180_000 }, async () => {
  const server = await startServer({ database: 'sqlite' });

  const { code, output } = await run('--url', server.url, '--country', 'NO');

  expect(output).toContain('Loaded 171075 cities');
  expect(output).toContain('Attached to NO/: 533 cities at revision 172.');
  expect(output).toMatch(/revision 180 {2}change {2}NO\/.*\(twinned\)/);
  expect(output).toContain('Heard of 8 of 8 changes in NO, and of 0 of 12 elsewhere.');
  expect(code).toBe(0);
  const heard = output.split('\n').filter((line) => /^ {2}revision /.test(line));
  expect(heard.filter((line) => !line.includes('  NO/'))).toEqual([]);

  const cities = await fetch(`${server.url}/v1/pools/geo/collections/cities`);
  expect(await cities.json()).toMatchObject({ items: 171_075 });
});

test('says what to do when there is no server', async () => {
  const { code, output } = await run('--url', 'http://127.0.0.1:1');
  expect(output).toContain('No Stargus is ready at http://127.0.0.1:1');
  expect(output).toContain('npm start');
  expect(code).toBe(1);
});

test('explains its options', async () => {
  expect((await run('--nonsense')).code).toBe(2);
  expect((await run('--help')).output).toContain('Usage:');
});

function run(...options: string[]): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [PROGRAM, ...options], { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    }
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, output }));
  });
}
