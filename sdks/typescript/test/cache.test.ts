/** The cache of a mirror in Node: a disk that is full, another process, damage, and the format that is written down. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { ops } from '../src/library.js';
import { connect } from '../src/stargus.node.js';
import { newPool, openServer, type Server } from './server.js';

describe('a cache', { timeout: 60_000 }, () => {
  let server: Server;
  let folder: string;
  let file: string;
  let pool: string;

  beforeAll(async () => {
    server = await openServer();
    folder = mkdtempSync(path.join(tmpdir(), 'stargus-cache-'));
  });
  afterAll(async () => {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  beforeEach(() => {
    pool = newPool();
    file = path.join(folder, `${pool}.cache`);
  });

  test('of a disk that is full is done without, and told of', async () => {
    const { DatabaseSync } = await import('node:sqlite');
    const exec = DatabaseSync.prototype.exec;
    const full = vi.spyOn(DatabaseSync.prototype, 'exec').mockImplementation(function (
      this: typeof DatabaseSync.prototype,
      sql,
    ) {
      exec.call(this, sql);
      if (sql.includes('locking_mode')) exec.call(this, 'PRAGMA max_page_count = 8');
    });
    try {
      const problems: unknown[] = [];
      await using c = await connect(server.url, pool, { onProblem: (error) => problems.push(error) });
      await c.batch(Array.from({ length: 500 }, (_, n) => ops.put('n', `k${n}`, { text: 'x'.repeat(200) })));
      const n = c.attach('n', { cache: file });
      await n.ready;
      await expect.poll(() => problems, { timeout: 5_000 }).toEqual([expect.objectContaining({ code: 'cacheFailed' })]);
      await n.reached((await c.set('n', 'more', { n: 1 })).revision);
      expect(n.size).toBe(501);
      expect(n.isLive).toBe(true);
      await n.close();
      expect(problems).toHaveLength(1);
    } finally {
      full.mockRestore();
    }
  });

  test('that another process has is told so, and is free when that has ended', async () => {
    const { spawn } = await import('node:child_process');
    const script = `
      import { connect } from '@stargus/client';
      const c = await connect(${JSON.stringify(server.url)}, ${JSON.stringify(pool)});
      await c.set('n', 'a', { n: 1 });
      await c.attach('n', { cache: ${JSON.stringify(file)} }).ready;
      await new Promise((resolve) => setTimeout(resolve, 600));
      console.log('ready');`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      cwd: path.resolve(import.meta.dirname, '..'),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      await new Promise((resolve, reject) => {
        child.stdout.once('data', resolve);
        child.once('close', () => reject(new Error('It ended too early. Is the package built?')));
      });
      await using c = await connect(server.url, pool);
      await expect(c.attach('n', { cache: file }).ready).rejects.toMatchObject({ code: 'cacheInUse' });
      const ended = new Promise((resolve) => child.once('close', resolve));
      child.kill('SIGKILL');
      await ended;
      const n = c.attach('n', { cache: file });
      await n.ready;
      expect(n.get('a')?.attributes).toEqual({ n: 1 });
      await n.close();
    } finally {
      child.kill('SIGKILL');
    }
  });

  test('has the format that is written down, for its owner only', async () => {
    await using c = await connect(server.url, pool);
    await c.set('n', 'Ærø', { b: 1, a: [null] });
    const n = c.attach('n', { cache: file, where: { b: { gte: 1 } }, fields: ['b', 'a'] });
    await n.ready;
    const { cursor } = n;
    await n.close();
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const { DatabaseSync } = await import('node:sqlite');
    const database = new DatabaseSync(file);
    const about = Object.fromEntries(
      database
        .prepare('SELECT name, value FROM about')
        .all()
        .map(({ name, value }) => [String(name), String(value)]),
    );
    expect(JSON.parse(about.view as string)).toEqual([
      server.url,
      pool,
      'anonymous',
      'n',
      'fields=b%2Ca&where=%7B%22b%22%3A%7B%22gte%22%3A1%7D%7D',
    ]);
    expect(about.cursor).toBe(cursor);
    expect(about.checksum).toMatch(/^[0-9a-f]{64}$/);
    expect(database.prepare('SELECT * FROM item').all()).toEqual([
      { key: 'Ærø', revision: 1, attributes: '{"b":1,"a":[null]}' },
    ]);
    expect(database.prepare('PRAGMA application_id').get()).toEqual({ application_id: 0x53544152 });
    database.close();
  });

  test.each<[string, (file: string) => void]>([
    [
      'of zeros in the middle',
      (name) => {
        const bytes = readFileSync(name);
        bytes.fill(0, 4_096, 8_192);
        writeFileSync(name, bytes);
      },
    ],
    ['cut short', (name) => writeFileSync(name, readFileSync(name).subarray(0, 5_000))],
    ['empty', (name) => writeFileSync(name, '')],
    // As `touch` makes one.
    [
      'empty, and for all to read',
      (name) => {
        writeFileSync(name, '');
        chmodSync(name, 0o644);
      },
    ],
  ])('that is damaged (%s) is made anew', async (_, damage) => {
    await using c = await connect(server.url, pool);
    await c.batch(Array.from({ length: 100 }, (__, n) => ops.put('n', `k${n}`, { n, text: 'x'.repeat(100) })));
    const first = c.attach('n', { cache: file });
    await first.ready;
    await first.close();
    damage(file);
    const second = c.attach('n', { cache: file });
    await second.ready;
    expect(second.size).toBe(100);
    expect(second.get('k7')?.attributes.n).toBe(7);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    await second.close();
    const third = c.attach('n', { cache: file });
    await third.ready;
    expect(third.size).toBe(100);
  });
});
