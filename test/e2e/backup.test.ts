/**
 * `stargus-server backup` and `restore` as an operator types them: what is refused, and that what fails leaves everything as it was. The
 * drill under load is in test/robustness/backup.test.ts.
 */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { leapOf } from '../../src/upkeep/load-backup.js';
import { readArchive, rowsOfTable, writeArchive } from '../support/archive.js';
import { sql } from '../support/database.js';
import { AccountTable, asOperator, newKey, startLoginServer } from '../support/logins.js';
import { runProgram } from '../support/program.js';
import { Scenario } from '../support/scenario.js';
import { createDatabase, type DatabaseName, databases, startServer } from '../support/server.js';

const folder = mkdtempSync(path.join(tmpdir(), 'stargus-backup-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
const newFile = () => path.join(folder, `${++files}.backup`);
const at = (databaseUrl: string) => ({ STARGUS_DATABASE_URL: databaseUrl });
const restore = (databaseUrl: string, file: string, ...more: string[]) =>
  runProgram(['restore', '--from', file, ...more], at(databaseUrl));
const backup = (databaseUrl: string, file: string, ...more: string[]) =>
  runProgram(['backup', '--to', file, ...more], at(databaseUrl));

/** A database with something in it, whose server has stopped. */
async function filled(database: DatabaseName, value: string): Promise<string> {
  const server = await startServer({ database });
  const items = `${server.url}/v1/pools/demo/collections/things/items`;
  for (const key of ['a', 'b'])
    await fetch(`${items}/${key}`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ attributes: { value } }),
    });
  await server.stop();
  return server.databaseUrl;
}

const values = async (databaseUrl: string) =>
  (await sql(databaseUrl, 'SELECT attributes FROM item ORDER BY item_key')).map((row) => String(row.attributes));

/** Whether anything has been made in the database, or beside it. */
async function isUntouched(name: DatabaseName, databaseUrl: string): Promise<boolean> {
  if (name === 'sqlite') {
    const left = readdirSync(path.dirname(databaseUrl.slice('sqlite:'.length)));
    return left.every((file) => file.endsWith('.lock'));
  }
  return (await sql(databaseUrl, 'SHOW TABLES')).length === 0;
}

describe('backup', () => {
  it('writes a file for its owner alone, and leaves nothing beside it', async () => {
    const own = path.join(folder, 'own');
    mkdirSync(own);
    const file = path.join(own, 'x.backup');
    // What one that was killed has left is no hindrance.
    for (const end of ['.part', '.part.db', '.part.db-wal']) writeFileSync(file + end, 'left', { mode: 0o644 });
    const databaseUrl = await filled('sqlite', 'x');
    const run = await backup(databaseUrl, file);
    expect(run.code).toBe(0);
    expect(run.out).toContain('1 pool, 3 items as of 2');
    expect([readdirSync(own), statSync(file).mode & 0o777]).toEqual([['x.backup'], 0o600]);
    const again = await backup(databaseUrl, file);
    expect(again).toMatchObject({ code: 1, out: '' });
    expect(again.err).toContain('is there already and is not replaced; give --force');
    const former = readFileSync(file);
    expect((await backup(databaseUrl, file, '--force')).code).toBe(0);
    expect(readFileSync(file).equals(former)).toBe(false);
    expect(await restore(databaseUrl, file, '--check')).toMatchObject({ code: 0 });
  });

  it.each([
    ['no database', 'sqlite:./nowhere/at/all.db', [], 'There is no database'],
    ['no folder', 'own', ['--to', path.join(folder, 'no/such/x.backup')], 'No backup was made.'],
    ['a file that is a folder', 'own', ['--to', folder, '--force'], 'is there already'],
  ])('fails with a sentence: %s', async (_what, url, to, message) => {
    const databaseUrl = url === 'own' ? await filled('sqlite', 'x') : url;
    const run = await runProgram(['backup', ...(to.length > 0 ? to : ['--to', newFile()])], at(databaseUrl));
    expect([run.code, run.out]).toEqual([1, '']);
    expect(run.err).toContain(message);
    expect(run.err).not.toContain('    at ');
  });

  it('never replaces the database itself', async () => {
    const databaseUrl = await filled('sqlite', 'x');
    const database = databaseUrl.slice('sqlite:'.length);
    const run = await backup(databaseUrl, database, '--force');
    expect(run).toMatchObject({ code: 1, out: '' });
    expect(run.err).toContain('is the database itself');
    // Nor by the names of what it writes beside the file.
    renameSync(database, path.join(path.dirname(database), 'x.part.db'));
    const beside = await backup(
      `sqlite:${path.join(path.dirname(database), 'x.part.db')}`,
      path.join(path.dirname(database), 'x'),
    );
    expect(beside.err).toContain('is the database itself');
    expect(await values(`sqlite:${path.join(path.dirname(database), 'x.part.db')}`)).toHaveLength(3);
  });

  it.each([
    [['backup'], '--to is needed'],
    [['backup', '--to', 'x', '--frm', 'y'], "Unknown option '--frm'"],
    [['restore'], '--from is needed'],
    [['doctor', 'now'], 'Unexpected argument'],
  ])('is typed wrong: %j', async (args, message) => {
    const run = await runProgram(args, at('sqlite:./nowhere/at/all.db'));
    expect(run).toMatchObject({ code: 2, out: '' });
    expect(run.err).toContain(message);
  });

  it('says what the commands are', async () => {
    const help = (await runProgram(['--help'])).out;
    for (const command of ['backup', 'restore', 'doctor']) {
      expect(help).toContain(`stargus-server ${command}`);
      expect((await runProgram([command, '--help'])).out).toContain(`Usage: stargus-server ${command} [options]`);
    }
  });

  it.each(databases)('is refused of tables that are newer, older or not there, on $name', async ({ name }) => {
    const empty = await createDatabase(name);
    if (name === 'sqlite') writeFileSync(empty.slice('sqlite:'.length), '');
    expect((await backup(empty, newFile())).err).toContain('has no tables of Stargus');
    const databaseUrl = await filled(name, 'x');
    await sql(databaseUrl, "INSERT INTO migrations (timestamp, name) VALUES (1863700000001, 'Later1863700000001')");
    for (const args of [['backup', '--to', newFile()], ['doctor']]) {
      const newer = await runProgram(args, at(databaseUrl));
      expect(newer.code).toBe(args[0] === 'doctor' ? 3 : 1);
      expect(newer.err).toContain('newer than this version of Stargus (Later1863700000001)');
    }
    await sql(databaseUrl, 'DELETE FROM migrations WHERE timestamp > 1763700000004');
    expect((await backup(databaseUrl, newFile())).err).toContain(
      'older than this version of Stargus (Usage1763700000004)',
    );
  });
});

describe('restore', () => {
  let file: string;
  beforeAll(async () => {
    file = newFile();
    expect((await backup(await filled('sqlite', 'kept'), file)).code).toBe(0);
  });

  const altered = (alter: (lines: ReturnType<typeof readArchive>) => void, end?: object) => {
    const made = newFile();
    const lines = readArchive(file);
    alter(lines);
    writeArchive(made, lines, end);
    return made;
  };
  const bytes = (of: (original: Buffer) => Buffer) => {
    const made = newFile();
    writeFileSync(made, of(readFileSync(file)));
    return made;
  };
  const flipped = (original: Buffer, place: number) => {
    const copy = Buffer.from(original);
    copy[place] = (copy[place] as number) ^ 0x20;
    return copy;
  };

  it.each<[what: string, make: () => string, message: string]>([
    ['that isn’t there', () => path.join(folder, 'nowhere'), 'There is no file'],
    ['that is a folder', () => folder, 'can’t be read'],
    ['that is empty', () => bytes(() => Buffer.alloc(0)), ''],
    ['of something else', () => bytes(() => Buffer.from('CREATE TABLE pool (id int)')), 'is no backup of Stargus'],
    ['of something else that is gzip’d', () => bytes(() => gzipSync('CREATE TABLE pool')), 'is no backup of Stargus'],
    ['of other JSON', () => bytes(() => gzipSync('{"pools":[]}\n')), 'is no backup of Stargus'],
    ['cut off in the middle', () => bytes((all) => all.subarray(0, all.length >> 1)), 'is cut off'],
    ['cut off by its last byte', () => bytes((all) => all.subarray(0, -1)), 'is cut off'],
    ['with a flipped bit', () => bytes((all) => flipped(all, all.length - 40)), 'is damaged'],
    ['with a flipped bit of its checksum', () => bytes((all) => flipped(all, all.length - 6)), 'is damaged'],
    ['without its end', () => bytes(() => gzipSync(`${JSON.stringify(readArchive(file)[0])}\n`)), 'its end is missing'],
    [
      'that ends in a line',
      () => bytes(() => gzipSync(`${JSON.stringify(readArchive(file)[0])}\n[1`)),
      'ends inside a line',
    ],
    ['with another digest', () => altered(() => {}, { sha256: '0'.repeat(64) }), 'its digest'],
    ['with other counts', () => altered(() => {}, { rows: { item: 2 } }), 'as many rows as it says'],
    [
      'of a newer format',
      () => altered((lines) => Object.assign(lines[0], { format: 2, version: '9.0.0' })),
      'format 2, and this version of Stargus knows format 1: restore it with version 9.0.0',
    ],
    [
      'of a newer schema',
      () => altered((lines) => Object.assign(lines[0], { schema: 'Later1863700000001', version: '9.0.0' })),
      'doesn’t know (Later1863700000001): restore it with version 9.0.0',
    ],
    [
      'with a foreign table',
      () => altered((lines) => Object.assign(lines[0].tables, { 'item; DROP TABLE pool': ['id'] })),
      'its tables',
    ],
    ['with a foreign column', () => altered((lines) => lines[0].tables.item.push('x')), 'its tables'],
    [
      'without a table that it names',
      () =>
        altered((lines) =>
          lines.splice(
            lines.findIndex(({ table }) => table === 'api_key'),
            1,
          ),
        ),
      'as many rows as it says',
    ],
    ['with a table twice', () => altered((lines) => lines.push({ table: 'item' })), 'its tables'],
    ['with a row of other columns', () => altered((lines) => rowsOfTable(lines, 'item')[0]?.pop()), 'other columns'],
    ['with an odd value', () => altered((lines) => rowsOfTable(lines, 'item')[0]?.splice(0, 1, 1.5)), 'odd value'],
    ['with a row of no table', () => altered((lines) => lines.splice(1, 0, [1])), 'belongs to no table'],
  ])('refuses a file %s, before it touches the database', async (_what, make, message) => {
    const made = make();
    const databaseUrl = await createDatabase('sqlite');
    const run = await restore(databaseUrl, made);
    expect([run.code, run.out]).toEqual([1, '']);
    expect(run.err).toMatch(/^Nothing was restored\. /m);
    expect(run.err).toContain(message);
    expect(run.err).not.toContain('    at ');
    expect(readdirSync(path.dirname(databaseUrl.slice('sqlite:'.length)))).toEqual([]);
  });

  describe.each(databases)('into $name', ({ name }) => {
    it('is all or nothing where a row can’t be loaded', async () => {
      const twice = newFile();
      const lines = readArchive(file);
      const items = rowsOfTable(lines, 'item');
      lines.splice(lines.indexOf(items.at(-1)), 0, items.at(-1));
      writeArchive(twice, lines);
      const empty = await createDatabase(name);
      const run = await restore(empty, twice);
      expect([run.code, run.out]).toEqual([1, '']);
      expect(run.err).toMatch(/^Nothing was restored\. .*(UNIQUE|Duplicate)/m);
      expect(await isUntouched(name, empty)).toBe(true);
      const held = await filled(name, 'held');
      expect((await restore(held, twice, '--force')).code).toBe(1);
      expect(await values(held)).toEqual(['{"value":"held"}', '{"value":"held"}', '{}']);
      expect(await runProgram(['doctor'], at(held))).toMatchObject({ code: 0, out: '' });
    });

    it('goes into what has something in it only by force, which says what is lost', async () => {
      const held = await filled(name, 'held');
      const refused = await restore(held, file);
      expect([refused.code, refused.out]).toEqual([1, '']);
      expect(refused.err).toMatch(/isn’t empty\. It has 1 pool, 3 items, which would be lost; give --force/);
      expect(await values(held)).toEqual(['{"value":"held"}', '{"value":"held"}', '{}']);
      const forced = await restore(held, file, '--force');
      expect(forced.code).toBe(0);
      expect(forced.err).toContain('Replacing what is in the database: 1 pool, 3 items.');
      expect(forced.out).toMatch(
        /has been restored: 1 pool, 3 items as of .*\n {2}demo: was at revision 2, goes on after 1000000002 in epoch/,
      );
      expect(await values(held)).toEqual(['{"value":"kept"}', '{"value":"kept"}', '{}']);
      // Its password isn't told.
      expect(forced.out + forced.err).not.toMatch(/:\/\/[^ ]+:[^…/ ]+@/);
    });

    it('is refused while a server uses the database', async () => {
      const server = await startServer({ database: name });
      for (const force of [[], ['--force']]) {
        const run = await restore(server.databaseUrl, file, ...force);
        expect([run.code, run.out]).toEqual([1, '']);
        expect(run.err).toMatch(
          name === 'sqlite' ? /in use by another Stargus process/ : /others are connected to the database/,
        );
      }
      expect((await server.stop()).code).toBe(0);
      // A server that was there and had nothing leaves an empty database.
      expect((await restore(server.databaseUrl, file)).code).toBe(0);
    });

    it('brings older tables up to date after loading them', async () => {
      const old = newFile();
      const lines = readArchive(file);
      const added = ['refusals', 'blocks'];
      const columns: string[] = lines[0].tables.pool_usage;
      const isOld = (_: unknown, i: number) => !added.includes(columns[i] as string);
      const usage = rowsOfTable(lines, 'pool_usage');
      const index = lines.findIndex(({ table }) => table === 'pool_usage');
      lines.splice(index + 1, usage.length, [1, '2026-11-01', 's', 1, 2, 3, 4, 5, 6]);
      lines[0].tables.pool_usage = columns.filter(isOld);
      const trace = lines[0].tables.commit_log.indexOf('trace');
      for (const row of rowsOfTable(lines, 'commit_log')) row.splice(trace, 1);
      lines[0].tables.commit_log.splice(trace, 1);
      for (const later of ['notifier', 'notifier_delivery']) {
        lines.splice(
          lines.findIndex(({ table }) => table === later),
          1,
        );
        delete lines[0].tables[later];
      }
      lines[0].schema = 'Logins1763700000006';
      writeArchive(old, lines);
      const databaseUrl = await createDatabase(name);
      expect(await restore(databaseUrl, old)).toMatchObject({ code: 0 });
      expect(await sql(databaseUrl, 'SELECT writes, refusals, blocks FROM pool_usage')).toEqual([
        { writes: 2, refusals: 0, blocks: 0 },
      ]);
      expect(await values(databaseUrl)).toHaveLength(3);
      const server = await startServer({ database: name, databaseUrl });
      expect((await fetch(`${server.url}/v1/pools/demo`)).status).toBe(200);
      await server.stop();
      const again = await restore(databaseUrl, old, '--force');
      // Tables can't be replaced in a transaction there.
      if (name === 'mariadb') expect(again.err).toContain('is of older tables (Logins1763700000006)');
      expect(again.code).toBe(name === 'mariadb' ? 1 : 0);
      expect(await values(databaseUrl)).toHaveLength(3);
    });

    it('keeps accounts and API keys; logins and tokens are over', async () => {
      const accounts = new AccountTable();
      const former = await startLoginServer(accounts, name);
      const scenario = new Scenario(former);
      const key = newKey();
      const { body: apiKey } = await scenario.calls(['POST /v1/auth/keys', { name: 'robot' }, asOperator]);
      await scenario.calls(
        [`PUT /v1/identities/alice/keys/${key.kid}`, { jwk: key.jwk }, asOperator],
        ['POST /v1/auth/challenges', {}],
        ['POST P/batch', { ops: [{ op: 'put', collection: 'things', key: 'a', attributes: {} }] }, asOperator],
      );
      const made = newFile();
      const taken = await backup(former.databaseUrl, made);
      expect(taken.code).toBe(0);
      await former.stop();
      const text = JSON.stringify(readArchive(made));
      const [signing] = await sql(former.databaseUrl, 'SELECT private_jwk FROM signing_key');
      expect(text).not.toContain(JSON.parse(String(signing?.private_jwk)).d);
      const databaseUrl = await createDatabase(name);
      expect((await restore(databaseUrl, made)).code).toBe(0);
      for (const [table, count] of Object.entries({
        login: 0,
        refresh_token: 0,
        login_nonce: 0,
        signing_key: 0,
        identity_key: 1,
      }))
        expect([table, await sql(databaseUrl, `SELECT COUNT(*) AS n FROM ${table}`)]).toEqual([table, [{ n: count }]]);
      const server = await startLoginServer(accounts, name, { databaseUrl });
      const me = await new Scenario(server).call('GET /v1/auth/me', undefined, {
        authorization: `Bearer ${apiKey.secret}`,
      });
      expect(me.status).toBe(200);
      await server.stop();
    });
  });

  it('leaves a database of something else alone, by force too', async () => {
    const databaseUrl = await createDatabase('sqlite');
    await sql(databaseUrl, 'CREATE TABLE letters (text text)', "INSERT INTO letters VALUES ('dear')");
    const run = await restore(databaseUrl, file, '--force');
    expect(run).toMatchObject({ code: 1, out: '' });
    expect(run.err).toContain('is a database of something else');
    expect(await sql(databaseUrl, 'SELECT text FROM letters')).toEqual([{ text: 'dear' }]);
    writeFileSync(
      databaseUrl.slice('sqlite:'.length),
      'no database at all, but a text that is long enough to be one '.repeat(90),
    );
    expect((await restore(databaseUrl, file, '--force')).err).toContain('can’t be read');
  });

  it('can be checked without a database', async () => {
    const run = await restore('sqlite:./nowhere/at/all.db', file, '--check', '--json');
    expect(run.code).toBe(0);
    expect(JSON.parse(run.out)).toMatchObject({ database: 'sqlite', rows: { pool: 1, item: 3 }, pools: [] });
    expect(existsSync('./nowhere')).toBe(false);
  });
});

it('numbers leap beyond what may have been given out, by whole milliards', () => {
  const hour = 3_600_000;
  expect([leapOf(hour, hour), leapOf(0, hour), leapOf(hour, 0), leapOf(0, 240 * hour)]).toEqual([1e9, 1e9, 1e9, 87e9]);
});
