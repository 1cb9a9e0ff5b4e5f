/**
 * The example of the whiteboard, run whole as a user would, with less patience. What its summary says of the log is compared with
 * the board that it leaves. Then its programs one by one, as a user runs them in several terminals.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { databases, type Server, startServer } from '../support/server.js';

const ROOT = path.resolve(import.meta.dirname, '../..');
const EXAMPLE = path.join(ROOT, 'examples/whiteboard');
const PATIENCE = { timeout: 180_000 };
const HEAR_MS = 30_000;

const children = new Set<ChildProcess>();
afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
});

describe.each(databases)('the whiteboard on $name', ({ name: database }) => {
  test('loses no stroke, though a painter stands still in its turn', PATIENCE, async () => {
    const server = await startServer({ database });
    const { code, output } = await started('main.mjs', '--url', server.url, '--seconds', '4').ended;

    expect(code, output).toBe(0);
    expect(output).toContain('* cleo is gone: the lease was over');
    expect(output).toMatch(/\* cleo: refused with 412 lockLost/);
    expect(output).toMatch(/\* cleo comes back, in the epoch \d/);
    expect(output).toMatch(/^cleo made \d+ strokes, .* was refused with .*lockLost.*, and came back\.$/m);
    const made = [...output.matchAll(/^\w+ made (\d+) strokes, of which the log has (\d+)/gm)].map(
      ([, told, logged]) => [Number(told), Number(logged)] as const,
    );
    expect(made.map(([told]) => told)).toEqual(made.map(([, logged]) => logged));
    const sum = made.reduce((total, [told]) => total + told, 0);
    expect(output).toContain(`Of ${sum} strokes 0 were lost`);
    expect(output).toMatch(/^In \d+ turns to draw 0 times one painter drew in the turn of another\.$/m);

    const shapes = (await itemsOf(server, 'shapes')).map(({ attributes }) => attributes.strokes as number);
    expect(made).toHaveLength(3);
    expect(shapes.reduce((total, strokes) => total + strokes, 0)).toBe(sum);
    expect([await itemsOf(server, '_clients'), await itemsOf(server, '_locks')]).toEqual([[], []]);
  });
});

test('painters and viewers come and go one by one', PATIENCE, async () => {
  const server = await startServer({ database: 'sqlite' });
  const viewer = started('viewer.mjs', '--url', server.url);
  await expect.poll(() => itemsOf(server, '_clients'), { timeout: HEAR_MS }).toHaveLength(1);
  const dora = started('painter.mjs', 'dora', '--url', server.url);
  await dora.says(/dora draws in \w\w, under the fence \d+/);
  const again = await started('painter.mjs', 'dora', '--url', server.url).ended;
  expect(again.output).toContain('409 conflict');
  expect(again.code).toBe(1);

  const emil = started('painter.mjs', 'emil', '--url', server.url);
  await dora.says(/^emil comes$/m);
  emil.child.kill('SIGINT');
  expect((await emil.ended).code).toBe(0);
  await dora.says(/^emil is gone$/m);
  await viewer.says(/^\* emil leaves$/m);
  dora.child.kill('SIGTERM');
  expect(await dora.ended).toMatchObject({ code: 0, output: expect.stringMatching(/dora leaves after \d+ strokes/) });
  await viewer.says(/^\* dora leaves$/m);
  viewer.child.kill('SIGTERM');
  expect((await viewer.ended).code).toBe(0);
  expect(await itemsOf(server, '_clients')).toEqual([]);
});

test('says what to do when there is no server', async () => {
  for (const [program, ...more] of [['main.mjs'], ['painter.mjs', 'ada'], ['viewer.mjs']] as const) {
    const { code, output } = await started(program, ...more, '--url', 'http://127.0.0.1:1').ended;
    expect(output).toContain('No Stargus is ready at http://127.0.0.1:1');
    expect(code).toBe(1);
  }
});

test('explains its options', async () => {
  for (const program of ['main.mjs', 'painter.mjs', 'viewer.mjs']) {
    expect((await started(program, '--nonsense').ended).code).toBe(2);
    expect((await started(program, '--help').ended).output).toContain('Usage:');
  }
  expect((await started('painter.mjs').ended).output).toContain('one name');
});

test('README.md shows lines of the programs as they are', () => {
  const text = (name: string) => readFileSync(path.join(EXAMPLE, name), 'utf8').replaceAll(/\s+/g, ' ');
  const blocks = [...readFileSync(path.join(EXAMPLE, 'README.md'), 'utf8').matchAll(/^```js (\S+)\n(.*?)^```/gms)];
  expect(blocks.length).toBeGreaterThan(5);
  for (const [, name = '', lines = ''] of blocks) expect(text(name)).toContain(lines.trim().replaceAll(/\s+/g, ' '));
});

interface Item {
  readonly key: string;
  readonly attributes: Record<string, unknown>;
}

async function itemsOf({ url }: Server, collection: string): Promise<Item[]> {
  const response = await fetch(`${url}/v1/pools/studio/collections/${collection}/items?limit=1000`);
  return response.ok ? ((await response.json()) as { items: Item[] }).items : [];
}

function started(program: string, ...options: string[]) {
  const child = spawn(process.execPath, [path.join(EXAMPLE, program), ...options], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.add(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  const ended = new Promise<{ code: number | null; output: string }>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      children.delete(child);
      resolve({ code, output });
    });
  });
  const says = (words: RegExp) => expect.poll(() => output, { timeout: HEAR_MS }).toMatch(words);
  return { child, ended, says };
}
