/** The demonstration of a cloud on one machine, run whole as a user would, with fewer writes. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { expect, test } from 'vitest';

const PROGRAM = path.resolve(import.meta.dirname, '../../examples/cloud/main.mjs');
const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('STARGUS_')));

async function run(...args: string[]): Promise<{ code: number; output: string }> {
  const child = spawn(process.execPath, [PROGRAM, ...args], { env: environment, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  const [code] = await once(child, 'close');
  return { code, output };
}

test('nothing is missed, though a node and the worker are killed', async () => {
  const { code, output } = await run('120');
  expect(code, output).toBe(0);
  expect(output).toContain('after 40: the third node is killed');
  expect(output).toContain('after 60: the worker is killed');
  expect(output.match(/told 120, 0 missing, in order/g)).toHaveLength(3);
  expect(output).toContain('Nothing was missed.');
}, 180_000);

test('what is no number of writes is refused', async () => {
  for (const wrong of ['many', '3', '1.5'])
    expect(await run(wrong)).toMatchObject({ code: 2, output: expect.stringContaining('Usage: npm run demo:cloud') });
});
