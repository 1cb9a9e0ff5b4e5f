/** The command line of the TypeScript client in rough weather: interrupted, cut off, read by who has had enough, and told what would command a terminal. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Run, runCommand } from '../support/program.js';
import { type Server, startServer } from '../support/server.js';
import { type CuttingProxy, startCuttingProxy } from './cutting-proxy.js';
import { SDKS } from './languages.js';

const PROGRAM = path.join(SDKS, 'typescript', 'dist', 'cli', 'main.js');
const folder = mkdtempSync(path.join(tmpdir(), 'stargus-cli-'));
const file = path.join(folder, 'rooms.ndjson');

let server: Server;
let proxy: CuttingProxy;
beforeAll(async () => {
  [server, proxy] = await Promise.all([startServer({ database: 'sqlite' }), startCuttingProxy()]);
  writeFileSync(
    file,
    Array.from({ length: 20 }, (_, n) => `{"collection":"rooms","key":"k${n}","attributes":{"n":${n}}}\n`).join(''),
  );
});
afterAll(() => proxy?.stop());
/** Of the tests that didn't get to their end. */
const children = new Set<ChildProcess>();
afterEach(() => {
  for (const { pid, exitCode, signalCode } of children)
    if (pid !== undefined && exitCode === null && signalCode === null) process.kill(-pid, 'SIGKILL');
  children.clear();
});
beforeEach(() => {
  proxy.reset();
  proxy.target(server.url);
});

function environment(): NodeJS.ProcessEnv {
  const { PATH, HOME } = process.env;
  return { PATH, HOME, XDG_CONFIG_HOME: folder, STARGUS_URL: proxy.url, TERM: 'xterm', SHELL: '/bin/sh' };
}

function stargus(args: readonly string[], input?: string): Promise<Run> {
  return runCommand(process.execPath, [PROGRAM, ...args], { env: environment(), input });
}

/** As `expect.poll`, on a machine that may be slow. */
const soon: typeof expect.poll = (look, options) => expect.poll(look, { timeout: 20_000, ...options });

/** Makes a program of Node say when it hears SIGINT: before, it would just be ended by it. */
const TELLING = `data:text/javascript,process.on('newListener',(name)=>{if(name==='SIGINT')process.stderr.write('it hears')})`;

/** In bash, where `stargus` is the program. */
function shell(script: string): Promise<Run> {
  return runCommand('bash', ['-c', `stargus() { "${process.execPath}" "${PROGRAM}" "$@"; }; ${script}`], {
    env: environment(),
  });
}

/** Begins it in a process group of its own, with a standard input that stays open. */
function begun(command: string, args: readonly string[]) {
  const child = spawn(command, args, { env: environment(), detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
  children.add(child);
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    out += text;
  });
  let err = '';
  child.stderr.setEncoding('utf8').on('data', (text) => {
    err += text;
  });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  return {
    child,
    ended,
    out: () => out,
    err: () => err,
    /** As a terminal does: all of the group. */
    interrupt: () => process.kill(-(child.pid as number), 'SIGINT'),
  };
}

describe('interrupted once', { timeout: 60_000 }, () => {
  test.each<[readonly string[], number]>([
    [['get', 'rooms/hall'], 130],
    [['set', 'rooms/hall', 'n:=1'], 130],
    [['set', 'rooms/hall', '-'], 130],
    [['delete', 'rooms/hall'], 130],
    [['query', 'rooms'], 130],
    [['query', 'rooms', '--count'], 130],
    [['batch'], 130],
    [['import', file], 130],
    [['export'], 130],
    [['changes'], 130],
    [['policy', 'check', 'read', 'rooms'], 130],
    [['lock', 'rooms', '--', 'true'], 130],
    [['discover', '--time', '1m'], 130],
    // These end no other way.
    [['changes', '--follow'], 0],
    [['attach', 'rooms'], 0],
  ])('%j ends', async (args, code) => {
    proxy.rules([{ match: '/v1/pools/', delayMs: 60_000 }]);
    const { interrupt, ended, err } = begun(process.execPath, ['--import', TELLING, PROGRAM, ...args]);
    await soon(err).toContain('it hears');
    const asksNobody = ['discover', 'batch'].includes(args[0] as string) || args.at(-1) === '-';
    if (!asksNobody) await soon(() => proxy.heard.some(({ request }) => request.includes('/pools/'))).toBe(true);
    const started = performance.now();
    interrupt();
    expect(await ended).toBe(code);
    expect(performance.now() - started).toBeLessThan(15_000);
  });

  test('a live table that shows nothing yet gives the screen back', async () => {
    proxy.rules([{ match: '/attach', delayMs: 60_000 }]);
    const typed = `stty rows 10 cols 60; exec "${process.execPath}" "${PROGRAM}" attach rooms`;
    const { child, ended, out } = begun('script', ['-qec', typed, '/dev/null']);
    await soon(out).toContain('connecting');
    child.stdin.write('\u0003');
    await soon(out).toContain('\u001b[?25h\u001b[?1049l');
    child.stdin.end();
    await ended;
  });

  test('a command under a lock is left to do what it does then, however often', async () => {
    const script = 'trap "echo caught; sleep 0.7; echo done; exit 3" INT; echo ready; while :; do sleep 0.1; done';
    const { interrupt, ended, out } = begun(process.execPath, [
      PROGRAM,
      'lock',
      'rooms/hall',
      '--',
      'sh',
      '-c',
      script,
    ]);
    await soon(out).toBe('ready\n');
    interrupt();
    await soon(out).toBe('ready\ncaught\n');
    interrupt();
    expect(await ended).toBe(3);
    expect(out()).toMatch(/^ready\n(caught\n)+done\n$/);
  });

  test('by who means the program alone, the command under its lock is told', async () => {
    const { child, ended, out } = begun(process.execPath, [
      PROGRAM,
      'lock',
      'rooms/den',
      '--',
      'sh',
      '-c',
      'echo ready; exec sleep 60',
    ]);
    await soon(out).toBe('ready\n');
    child.kill('SIGTERM');
    expect(await ended).toBe(128 + 15);
    // It is free again.
    expect(await stargus(['lock', 'rooms/den', '--wait', '0s', '--', 'true'])).toMatchObject({ code: 0, err: '' });
  });
});

test('who has read enough ends it', async () => {
  await stargus(['import', file, '--pool', 'read']);
  for (const command of ['changes --since start --json', 'query rooms --json', 'export'])
    expect(await shell(`set -o pipefail; stargus ${command} --pool read | head -n 1`)).toMatchObject({
      code: 0,
      err: '',
    });
});

describe('export and import', () => {
  test('what is cut off says so', async () => {
    await stargus(['import', file, '--pool', 'whole']);
    proxy.rules([{ match: '/export', cutAfter: '"k3"' }]);
    expect(await stargus(['export', path.join(folder, 'part'), '--pool', 'whole'])).toMatchObject({
      code: 4,
      err: expect.stringMatching(/^What was written isn’t all\.\nunreachable: /),
    });
    proxy.rules([{ match: '/export', answer: { status: 502, body: '<html>hotel</html>' } }]);
    expect(await stargus(['export', '--pool', 'whole'])).toMatchObject({
      code: 4,
      err: expect.stringMatching(/^notStargus: /),
    });
    proxy.rules([{ match: '/import', answer: { status: 200, body: '<html>hotel</html>' } }]);
    expect(await stargus(['import', file, '--pool', 'whole'])).toMatchObject({
      code: 4,
      err: expect.stringMatching(/^notStargus: /),
    });
  });

  test('what can be read once only is not read again', async () => {
    proxy.rules([{ match: '/import', times: 1, drop: 'before' }]);
    expect(await shell(`stargus import <(cat "${file}") --pool pipe`)).toMatchObject({
      code: 4,
      err: expect.stringMatching(/^The import ended early, after line 0: /),
    });
  });

  test('files that are none', async () => {
    expect(await stargus(['import', folder])).toMatchObject({ code: 2, err: expect.stringContaining('can’t be read') });
    await stargus(['set', 'rooms/hall', 'n:=1']);
    expect(await stargus(['export', path.join(folder, 'none', 'x')])).toMatchObject({
      code: 2,
      err: expect.stringContaining('can’t be written'),
    });
  });

  test('a line that is refused may have any key', async () => {
    const line = '{"collection":"_clients","key":"a\u2028b","attributes":{}}\n';
    expect(await stargus(['import', '--json', '--pool', 'separators'], line)).toMatchObject({
      code: 1,
      out: expect.stringMatching(/^\{"line":1,.*"key":"a\\u2028b".*\}\n[\s\S]*"done":true/),
    });
  });

  test('under a lock an import proves it', async () => {
    const importing = ['lock', 'rooms', '--pool', 'proven', '--', process.execPath, PROGRAM, 'import', file];
    expect(await stargus(importing)).toMatchObject({ code: 0, err: '20 items written, 0 were so already.\n' });
  });
});

test('attributes that are called as something that every object has', async () => {
  const pool = ['--pool', 'names'];
  await stargus(['set', 'rooms/a', 'constructor=me', ...pool]);
  await stargus(['set', 'rooms/b', 'n:=1', ...pool]);
  expect(await stargus(['query', 'rooms', ...pool])).toMatchObject({
    code: 0,
    out: 'key  constructor  n\na    me\nb                 1\n',
  });
  expect(await stargus(['get', 'rooms/b', 'toString', ...pool])).toMatchObject({ code: 1, out: '' });
  expect((await stargus(['delete', 'rooms/b', 'valueOf', ...pool])).code).toBe(1);
  await stargus(['delete', 'rooms/a', 'constructor', ...pool]);
  expect(await stargus(['changes', ...pool])).toMatchObject({
    code: 0,
    out: expect.stringContaining('constructor=null'),
  });
});

test('a count is of the keys that were asked for', async () => {
  await stargus(['import', file, '--pool', 'count']);
  expect((await stargus(['query', 'rooms', '--count', '--prefix', 'k1', '--pool', 'count'])).out).toBe('11\n');
});

test('what others wrote commands no terminal, as JSON or as an error', async () => {
  const pool = ['--pool', 'terminal'];
  const value = '\u009b31m \u202e \u{e0041}';
  await stargus(['set', 'rooms/hall', `by=${value}`, ...pool]);
  const { out } = await stargus(['get', 'rooms/hall', '--json', ...pool]);
  expect(out).toContain('\\u009b31m \\u202e \\udb40\\udc41');
  expect(JSON.parse(out).attributes.by).toBe(value);
  const typed = `"${process.execPath}" "${PROGRAM}" export --pool terminal`;
  const exported = await runCommand('script', ['-qec', typed, '/dev/null'], { env: environment() });
  expect(exported.out).toContain('"by":"\\u009b31m \\u202e \\udb40\\udc41"');
  const problem = {
    code: 'forbidden',
    detail: 'No\u001b]0;title\u0007\u009b2J',
    errors: [null, { detail: 'x\u001bc' }],
  };
  proxy.rules([
    {
      match: '/rooms/',
      answer: { status: 403, headers: { 'content-type': 'application/problem+json' }, body: problem },
    },
  ]);
  expect(await stargus(['get', 'rooms/hall', ...pool])).toEqual({
    code: 3,
    out: '',
    err: 'forbidden: No\\u{1b}]0;title\\u{7}\\u{9b}2J\n   x\\u{1b}c\n',
  });
});

test('a password in an address is refused, and not said again', async () => {
  for (const url of ['http://ann:secret@127.0.0.1', 'ftp://ann:secret@127.0.0.1', 'ann:secret@127.0.0.1:8080']) {
    const { code, out, err } = await stargus(['get', 'a/b', '--url', url]);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toContain('stargus login');
    expect(err).not.toContain('secret');
  }
});

test('completion knows that options come before the command too', async () => {
  const script = `source <(stargus completion bash); COMP_WORDS=(stargus --pool get --url http://x query --where '*' rooms --or); COMP_CWORD=9; _stargus; echo "\${COMPREPLY[@]}"`;
  expect(await shell(script)).toMatchObject({ code: 0, out: '--order\n' });
});
