/** The demonstration of a cloud on one machine, run whole as a user would, with fewer writes. */
import path from 'node:path';
import { expect, test } from 'vitest';
import { runScript } from '../support/program.js';

const PROGRAM = path.resolve(import.meta.dirname, '../../examples/cloud/main.mjs');

test('nothing is missed, though a node and the worker are killed', async () => {
  const { code, out: output, err } = await runScript(PROGRAM, ['120']);
  expect(code, output + err).toBe(0);
  expect(output).toContain('after 40: the third node is killed');
  expect(output).toContain('after 60: the worker is killed');
  expect(output.match(/told 120, 0 missing, in order/g)).toHaveLength(3);
  expect(output).toContain('Nothing was missed.');
}, 180_000);

test('what is no number of writes is refused', async () => {
  for (const wrong of ['many', '3', '1.5'])
    expect(await runScript(PROGRAM, [wrong])).toMatchObject({
      code: 2,
      err: expect.stringContaining('Usage: npm run demo:cloud'),
    });
});
