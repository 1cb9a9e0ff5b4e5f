/** The package as programs get it: what its README and examples say runs, its parts load where they should, and its dependencies are those of the repository. */
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { connect } from '../src/stargus.node.js';
import { newPool, openServer, type Server } from './server.js';

const PACKAGE = path.resolve(import.meta.dirname, '..');
const run = promisify(execFile);
const read = (file: string) => readFileSync(path.join(PACKAGE, file), 'utf8');

let server: Server;
beforeAll(async () => {
  server = await openServer();
}, 60_000);
afterAll(() => server.stop());

test('the ten lines of the README run', async () => {
  const [, lines = ''] = /```js\n(import[\s\S]*?)```/.exec(read('README.md')) ?? [];
  expect(lines.trim().split('\n').filter(Boolean).length).toBeLessThanOrEqual(10);
  const script = lines.replace('http://127.0.0.1:8080', server.url).replace("'house'", `'${newPool()}'`);
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], { cwd: PACKAGE });
  expect(stdout).toContain("add hall [ 'light', 'celsius' ]");
  expect(stdout.trim().split('\n').at(-1)).toBe("21 1 [ 'hall' ]");
});

test('two draw on one whiteboard, and each sees what the other drew', { timeout: 60_000 }, async () => {
  await using client = await connect(server.url, 'whiteboard');
  const before = await client.count('strokes').catch(() => 0);
  const [one, two] = [newPool(), newPool()];
  const draw = async (name: string) => {
    const args = ['examples/whiteboard.mjs', server.url, name, '2', '--expect', String(before + 4)];
    return (await run(process.execPath, args, { cwd: PACKAGE })).stdout.split('\n');
  };
  const [seenByOne, seenByTwo] = await Promise.all([draw(one), draw(two)]);
  const drawn = (by: string) => new RegExp(`^${by} drew [a-z]+ at \\d+,\\d+$`);
  expect(seenByOne.filter((line) => drawn(two).test(line))).toHaveLength(2);
  expect(seenByTwo.filter((line) => drawn(one).test(line))).toHaveLength(2);
  expect(seenByOne.some((line) => line.startsWith(one))).toBe(false);
});

test('nothing that a browser loads knows of Node', () => {
  const seen = new Set<string>();
  const visit = (file: string) => {
    if (seen.has(file)) return;
    seen.add(file);
    for (const [, stated, loaded] of read(file).matchAll(
      /^(?:im|ex)port [^'(\n]*\bfrom '([^']+)'|import\('([^']+)'\)/gm,
    )) {
      const specifier = stated ?? loaded ?? '';
      expect(specifier, file).not.toMatch(/^node:/);
      if (specifier.startsWith('.')) visit(path.join(path.dirname(file), specifier));
      else expect(['jose', 'hash-wasm']).toContain(specifier);
    }
    expect(read(file), file).not.toMatch(/\bBuffer\.\w|\bprocess\.\w/);
  };
  visit('dist/stargus.browser.js');
  expect(seen.size).toBeGreaterThan(40);
});

test('the dependencies are those that the repository has', () => {
  const own = JSON.parse(read('package.json')) as Record<string, Record<string, string>>;
  const root = JSON.parse(read('../../package.json')) as Record<string, Record<string, string>>;
  for (const [name, range] of Object.entries({ ...own.dependencies, ...own.peerDependencies }))
    expect({ name, range }).toEqual({ name, range: `^${root.dependencies?.[name] ?? root.devDependencies?.[name]}` });
});

test('each source has its first words about what it is', () => {
  const sources = readdirSync(path.join(PACKAGE, 'src'), { recursive: true, encoding: 'utf8' }).filter(
    (file) => file.endsWith('.ts') && !file.startsWith('generated') && !file.endsWith('.spec.ts'),
  );
  for (const file of sources) expect(read(path.join('src', file)), file).toMatch(/^(#!.*\n)?\/\*\*/);
});
