/** The Dockerfile, without an engine to build it: what it copies is there, and what it starts starts, with nothing to write to. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { createDatabase, markRunning, startServer } from '../support/server.js';

/** A start takes less than a second; two cores full of other tests may make it many. */
const READY_MS = 40_000;
const ROOT = path.resolve(import.meta.dirname, '../..');
/** Instructions with their words; lines that go on are one. */
const instructions = readFileSync(path.join(ROOT, 'Dockerfile'), 'utf8')
  .replaceAll(/^#.*\n/gm, '')
  .replaceAll('\\\n', ' ')
  .split('\n')
  .filter((line) => line.trim() !== '')
  .map((line) => {
    const [name = '', ...words] = line.trim().split(/\s+/);
    return { name, words, text: words.join(' ') };
  });
const stages = instructions.filter(({ name }) => name === 'FROM').map(({ words }) => words[2] ?? 'last');
const final = instructions.slice(instructions.findLastIndex(({ name }) => name === 'FROM'));
const copies = instructions.filter(({ name }) => name === 'COPY').map(({ words }) => words);
const exec = (name: string) =>
  JSON.parse(/\[.*\]$/.exec(final.find((each) => each.name === name)?.text ?? '')?.[0] ?? 'null') as string[] | null;

/** What .dockerignore lets through: all is left out but what is named with `!`. */
const admitted = readFileSync(path.join(ROOT, '.dockerignore'), 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('!'))
  .map((line) => line.slice(1));

describe('the Dockerfile', () => {
  test('copies what is there, and what .dockerignore lets through', () => {
    const sources = copies.filter(([first]) => !first?.startsWith('--')).flatMap((words) => words.slice(0, -1));
    expect(sources.length).toBeGreaterThan(5);
    for (const source of sources) {
      expect(existsSync(path.join(ROOT, source)), source).toBe(true);
      expect(admitted, source).toContain(source.replace(/^\.\//, ''));
    }
    const tracked = execFileSync('git', ['ls-files'], { cwd: ROOT, encoding: 'utf8' }).split('\n');
    for (const source of sources)
      expect(
        tracked.some((file) => file === source || file.startsWith(`${source}/`)),
        `${source} is in git`,
      ).toBe(true);
  });

  test('copies between stages that are there', () => {
    const from = copies.map(([first]) => /^--from=(.+)$/.exec(first ?? '')?.[1]).filter((stage) => stage !== undefined);
    expect(from.length).toBeGreaterThan(0);
    for (const stage of from) expect(stages).toContain(stage);
  });

  test('runs as an ordinary user by number, and without a shell', () => {
    expect(final.find(({ name }) => name === 'USER')?.text).toMatch(/^[1-9]\d*:[1-9]\d*$/);
    expect(exec('CMD')).toEqual(['node', 'dist/server/main.js']);
    expect(exec('HEALTHCHECK')?.[0]).toBe('node');
    expect(existsSync(path.join(ROOT, exec('CMD')?.[1] ?? ''))).toBe(true);
  });

  test('says by its health whether the server lives', async () => {
    const server = await startServer({ database: 'sqlite' });
    const [, ...words] = exec('HEALTHCHECK') as string[];
    const health = (env: Record<string, string>) => spawnSync(process.execPath, words, { env, timeout: 10_000 }).status;
    const port = new URL(server.url).port;
    expect(health({ STARGUS_PORT: port })).toBe(0);
    expect(health({ STARGUS_PORT: port, STARGUS_HOST: '0.0.0.0' })).toBe(0);
    await server.stop();
    expect(health({ STARGUS_PORT: port })).toBe(1);
  });

  test('has all that the program needs, which writes nowhere but to its database', async () => {
    const app = mkdtempSync(path.join(tmpdir(), 'stargus-image-'));
    // What the last stage has.
    cpSync(path.join(ROOT, 'dist'), path.join(app, 'dist'), { recursive: true });
    symlinkSync(path.join(ROOT, 'node_modules'), path.join(app, 'node_modules'));
    for (const file of finalCopies()) cpSync(path.join(ROOT, file), path.join(app, file), { recursive: true });
    const [, ...command] = exec('CMD') as string[];
    const database = await createDatabase('sqlite');
    // Below a file nothing can be made.
    const nowhere = '/dev/null/nowhere';
    const child = spawn(process.execPath, command, {
      cwd: app,
      env: { STARGUS_PORT: '0', STARGUS_DATABASE_URL: database, TMPDIR: nowhere, NODE_COMPILE_CACHE: nowhere },
    });
    const forget = markRunning(child);
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    try {
      for (const end = Date.now() + READY_MS; !/"url":"([^"]+)"/.test(output) && Date.now() < end; ) await sleep(50);
      const [, url] = /"url":"([^"]+)"/.exec(output) ?? [];
      expect(url, output).toBeDefined();
      expect((await fetch(`${url}/readyz`)).status).toBe(200);
      expect((await fetch(`${url}/v1/openapi.json`)).status).toBe(200);
      expect((await fetch(`${url}/docs`)).status).toBe(200);
    } finally {
      child.kill('SIGKILL');
      forget();
      rmSync(app, { recursive: true, force: true });
    }
  });
});

/** What the last stage copies from the source tree. */
function finalCopies(): string[] {
  return final
    .filter(({ name, words }) => name === 'COPY' && !words[0]?.startsWith('--'))
    .flatMap(({ words }) => words.slice(0, -1));
}
