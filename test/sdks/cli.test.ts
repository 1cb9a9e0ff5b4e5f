/** The command line of the TypeScript client, as a person types it and as a script reads it: outputs, exit codes, a terminal, bad input. */
import { existsSync, mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, test } from 'vitest';
import { type How as HowToRun, type Run, runCommand } from '../support/program.js';
import { type Server, startServer } from '../support/server.js';
import { makeAccount, OPERATOR_KEY } from './accounts.js';
import { startCuttingProxy } from './cutting-proxy.js';
import { SDKS } from './languages.js';

const PROGRAM = path.join(SDKS, 'typescript', 'dist', 'cli', 'main.js');
const folder = mkdtempSync(path.join(tmpdir(), 'stargus-cli-'));

let server: Server;
beforeAll(async () => {
  server = await startServer({ database: 'sqlite' });
});

type How = Partial<HowToRun> & { readonly env?: Record<string, string> };

function environment(env: Record<string, string> = {}): NodeJS.ProcessEnv {
  const { PATH, HOME } = process.env;
  return { PATH, HOME, XDG_CONFIG_HOME: folder, STARGUS_URL: server.url, ...env };
}

function stargus(args: readonly string[], how: How = {}): Promise<Run> {
  return finished(process.execPath, [PROGRAM, ...args], how);
}

function finished(command: string, args: readonly string[], { env, ...how }: How): Promise<Run> {
  return runCommand(command, args, { ...how, env: environment(env) });
}

const lines = (text: string) =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

describe('items', () => {
  test('are set, printed, altered and deleted', async () => {
    const pool = ['--pool', 'items'];
    expect(await stargus(['set', 'rooms/hall', 'light=on', 'celsius:=21', ...pool])).toEqual({
      code: 0,
      out: 'light    on\ncelsius  21\n',
      err: '',
    });
    expect((await stargus(['set', 'rooms/hall', 'light=off', '--json', ...pool])).out).toBe(
      '{"key":"hall","revision":2,"attributes":{"light":"off","celsius":21}}\n',
    );
    expect((await stargus(['get', 'rooms/hall', 'light', ...pool])).out).toBe('off\n');
    expect(await stargus(['get', 'rooms/hall', 'light', 'guest', ...pool])).toMatchObject({
      code: 1,
      out: 'off\n',
      err: 'rooms/hall has no guest.\n',
    });
    expect((await stargus(['set', 'rooms/hall', '--replace', 'n:=1', ...pool])).out).toBe('n  1\n');
    expect((await stargus(['set', 'rooms/hall', '-', '--json', ...pool], { input: '{"m":[1,null]}' })).out).toContain(
      '"attributes":{"n":1,"m":[1,null]}',
    );
    expect(await stargus(['delete', 'rooms/hall', 'm', '--json', ...pool])).toMatchObject({
      code: 0,
      out: expect.stringContaining('"attributes":{"n":1}'),
    });
    expect((await stargus(['delete', 'rooms/hall', 'm', ...pool])).code).toBe(1);
    expect(await stargus(['delete', 'rooms/hall', ...pool])).toMatchObject({
      code: 0,
      out: 'rooms/hall is deleted.\n',
    });
    expect((await stargus(['delete', 'rooms/hall', ...pool])).code).toBe(1);
    expect(await stargus(['get', 'rooms/hall', ...pool])).toEqual({
      code: 1,
      out: '',
      err: 'There is no rooms/hall.\n',
    });
  });

  test('are written only under conditions', async () => {
    const pool = ['--pool', 'conditions'];
    expect((await stargus(['set', 'rooms/hall', 'n:=1', '--new', ...pool])).code).toBe(0);
    expect(await stargus(['set', 'rooms/hall', 'n:=2', '--new', ...pool])).toMatchObject({
      code: 3,
      err: expect.stringContaining('preconditionFailed: '),
    });
    expect((await stargus(['set', 'rooms/hall', 'n:=2', '--if-revision', '1', ...pool])).code).toBe(0);
    expect((await stargus(['delete', 'rooms/hall', '--if-revision', '1', ...pool])).code).toBe(3);
  });

  test('are listed, counted and deleted by query', async () => {
    const pool = ['--pool', 'queries'];
    const ops = Array.from({ length: 60 }, (_, n) => ({
      op: 'put',
      collection: 'n',
      key: `k${String(n).padStart(2, '0')}`,
      attributes: { n, even: n % 2 === 0 },
    }));
    expect(await stargus(['batch', ...pool], { input: JSON.stringify(ops) })).toEqual({
      code: 0,
      out: '60 done in revision 1.\n',
      err: '',
    });
    const all = lines((await stargus(['query', 'n', '--json', ...pool])).out);
    expect(all.map(({ key }) => key)).toEqual(ops.map(({ key }) => key));
    expect((await stargus(['query', 'n', '--limit', '2', '--order=-n', '--fields', 'n', ...pool])).out).toBe(
      'key  n\nk59  59\nk58  58\n',
    );
    expect((await stargus(['query', 'n', '--count', '--where', '{"even":true}', ...pool])).out).toBe('30\n');
    expect((await stargus(['delete', 'n', '--where', '{"even":true}', ...pool])).out).toBe('30 deleted.\n');
    expect(await stargus(['query', 'n', '--where', '{"even":true}', ...pool])).toEqual({
      code: 0,
      out: '',
      err: 'Nothing matches.\n',
    });
  });
});

describe('what was typed wrong', () => {
  test.each([
    [[], /Usage: stargus/],
    [['gte', 'a/b'], /unknown command 'gte'[\s\S]*Did you mean get/],
    [['get'], /missing required argument/],
    [['get', 'rooms'], /rooms names no item: write <collection>\/<key>/],
    [['get', 'rooms/hall', '--fast'], /unknown option '--fast'/],
    [['set', 'rooms/hall'], /Name what to set/],
    [['set', 'rooms/hall', 'light'], /light sets nothing/],
    [['set', 'rooms/hall', 'n:=one'], /the value of n is not JSON/],
    [['set', 'rooms/hall', 'n:=1', '--if-revision', 'two'], /--if-revision/],
    [['set', 'rooms/hall', 'n:=1', '--new', '--if-revision', '2'], /exclude one another/],
    [['delete', 'rooms'], /--where '\{\}'/],
    [['query', 'rooms', '--where', '[]'], /--where must be a JSON object/],
    [['query', 'rooms', '--limit', 'all'], /--limit must be a number/],
    [['query', 'rooms/hall'], /wants a collection, such as rooms/],
    [['lock', 'rooms/hall'], /Name the command to run after --/],
    [['lock', 'rooms/hall', '--wait', 'long', '--', 'true'], /--wait must be a time/],
    [['lock', 'rooms/hall', '--mode', 'soft', '--', 'true'], /--mode must be/],
    [['batch', '/no/such/file'], /can’t be read/],
    [['import', '/no/such/file'], /can’t be read/],
    [['completion', 'fish'], /bash and zsh only/],
    [['policy', 'check', 'fly', 'rooms'], /fly is no action/],
    [['login'], /Say how: --account/],
    [['get', 'a/b', '--url', 'ftp://x'], /is no address of a server/],
  ] as const)('%j', async (args, words) => {
    const { code, out, err } = await stargus(args);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toMatch(words);
  });

  test('a batch that isn’t one', async () => {
    for (const input of ['', 'nonsense', '[1]', '{"op":"put"'])
      expect(await stargus(['batch'], { input })).toMatchObject({ code: 2, out: '' });
  });
});

test('who is refused, and whom nobody answers, says so by the exit code', async () => {
  const refused = await stargus(['query', 'rooms', '--where', '{"n":{"like":1}}']);
  expect(refused).toMatchObject({ code: 3, out: '' });
  expect(refused.err).toMatch(/^invalidFilter: /);
  const proxy = await startCuttingProxy();
  proxy.target(server.url);
  proxy.rules([{ match: '.', answer: { status: 200, body: '<html>hotel</html>' } }]);
  expect(await stargus(['get', 'a/b', '--url', proxy.url])).toMatchObject({
    code: 4,
    err: expect.stringMatching(/^notStargus: /),
  });
  await proxy.stop();
}, 60_000);

test('help tells of commands, options and exit codes', async () => {
  const { code, out } = await stargus(['--help']);
  expect(code).toBe(0);
  for (const word of [
    'get',
    'set',
    'delete',
    'query',
    'attach',
    'changes',
    'lock',
    'batch',
    'import',
    'export',
    'login',
    'policy',
    'Exit codes',
  ])
    expect(out).toContain(word);
  expect((await stargus(['policy', 'check', '--help'])).out).toContain('stargus policy check write rooms/hall light');
  expect((await stargus(['--version'])).out).toMatch(/^\d+\.\d+\.\d+\n$/);
});

describe('export and import', () => {
  test('a pool goes out and in again, and what is refused is told by line', async () => {
    const file = path.join(folder, 'pool.ndjson');
    await stargus(['batch', '--pool', 'from'], {
      input:
        '{"op":"put","collection":"a","key":"1","attributes":{"n":1}}\n\n{"op":"put","collection":"b","key":"2","attributes":{}}\n',
    });
    expect(await stargus(['export', file, '--pool', 'from'])).toMatchObject({ code: 0, out: '', err: '2 items\n' });
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(lines(readFileSync(file, 'utf8')).map(({ collection, key }) => `${collection}/${key}`)).toEqual([
      'a/1',
      'b/2',
    ]);
    expect(lines((await stargus(['export', '--collection', 'a', '--pool', 'from'])).out)).toHaveLength(1);
    expect(await stargus(['import', file, '--pool', 'to'])).toMatchObject({
      code: 0,
      err: '2 items written, 0 were so already.\n',
    });
    const again = await stargus(['import', '--pool', 'to'], { input: `${readFileSync(file, 'utf8')}nonsense\n` });
    expect(again.code).toBe(1);
    expect(again.err).toMatch(/line 3: badRequest: [\s\S]*0 items written, 2 were so already, 1 lines refused\./);
    expect(await stargus(['export', '--pool', 'none'])).toMatchObject({
      code: 3,
      err: expect.stringMatching(/^notFound: /),
    });
  });

  test('one that is cut goes on after the last line that is durable', async () => {
    const proxy = await startCuttingProxy();
    proxy.target(server.url);
    proxy.rules([{ match: '/import', times: 1, drop: 'after' }]);
    const file = path.join(folder, 'cut.ndjson');
    writeFileSync(
      file,
      Array.from({ length: 100 }, (_, n) => `{"collection":"a","key":"${n}","attributes":{"n":${n}}}\n`).join(''),
    );
    const { code, err } = await stargus(['import', file, '--pool', 'cut', '--url', proxy.url]);
    expect({ code, err }).toMatchObject({ code: 0 });
    expect((await stargus(['query', 'a', '--count', '--pool', 'cut'])).out).toBe('100\n');
    await proxy.stop();
  });
});

describe('watching', () => {
  test('where the output is no terminal the state comes first, then a line for each change', async () => {
    const pool = ['--pool', 'watching'];
    await stargus(['set', 'rooms/hall', 'light=on', ...pool]);
    const change = async () => {
      await stargus(['set', 'rooms/hall', 'light=off', 'by=\u001b[31m', ...pool]);
      await stargus(['delete', 'rooms/hall', ...pool]);
      await stargus(['set', 'rooms/end', 'n:=1', ...pool]);
    };
    const { code, out } = await stargus(['attach', 'rooms', '--json', ...pool], {
      reaction: { to: '"revision":1', by: change },
      interrupt: '"key":"end"',
    });
    expect(code).toBe(0);
    expect(lines(out)).toEqual([
      { op: 'is', key: 'hall', revision: 1, attributes: { light: 'on' } },
      {
        op: 'change',
        key: 'hall',
        changed: ['light', 'by'],
        removed: [],
        revision: 2,
        attributes: { light: 'off', by: '\u001b[31m' },
      },
      { op: 'delete', key: 'hall', changed: ['light', 'by'], removed: ['light', 'by'], revision: 3 },
      { op: 'add', key: 'end', changed: ['n'], removed: [], revision: 4, attributes: { n: 1 } },
    ]);
    const feed = await stargus(['changes', '--since', 'start', ...pool]);
    expect(feed.out).toContain('change rooms/hall  light=off  by=\\u{1b}[31m');
    expect(
      lines((await stargus(['changes', '--json', '--limit', '2', ...pool])).out).map(({ revision }) => revision),
    ).toEqual([1, 2]);
  });

  test('on a terminal it is a live table, and the screen is given back', async () => {
    await stargus(['set', 'rooms/hall', 'light=on', '--pool', 'terminal']);
    const command = `stty rows 10 cols 60; exec "${process.execPath}" "${PROGRAM}" attach rooms --pool terminal`;
    const { out } = await finished('script', ['-qec', command, '/dev/null'], {
      env: { TERM: 'xterm', SHELL: '/bin/sh' },
      reaction: { to: 'revision 1 ', by: () => stargus(['set', 'rooms/hall', 'light=dimmed', '--pool', 'terminal']) },
      interrupt: 'dimmed',
    });
    expect(out).toContain('\u001b[?1049h');
    expect(out).toMatch(/terminal\/rooms.* revision 1 .*1 items/);
    expect(out).toContain('dimmed');
  });
});

describe('a lock', () => {
  test('is held while a command runs, whose commands prove it', async () => {
    const pool = ['--pool', 'locks'];
    const inner = `"${process.execPath}" "${PROGRAM}" set rooms/hall wall=green --pool locks --json; exit 7`;
    const { code, out } = await stargus(['lock', 'rooms/hall', ...pool, '--', 'sh', '-c', inner]);
    expect(code).toBe(7);
    expect(lines(out)).toMatchObject([{ key: 'hall', attributes: { wall: 'green' } }]);
    const asked = path.join(folder, 'asked');
    const untilAsked = `echo held; until [ -e "${asked}" ]; do sleep 0.1; done`;
    let other: Run | undefined;
    const ask = async () => {
      other = await stargus(['lock', 'rooms/hall', '--wait', '0s', ...pool, '--', 'true']);
      writeFileSync(asked, '');
    };
    const holding = ['lock', 'rooms/hall', ...pool, '--', 'sh', '-c', untilAsked];
    expect(await stargus(holding, { reaction: { to: 'held', by: ask } })).toMatchObject({ code: 0 });
    expect(other).toMatchObject({ code: 3, err: expect.stringMatching(/^lockConflict: /) });
  });

  test('that is lost ends its command', async () => {
    const pool = ['--pool', 'lost'];
    const holding = stargus(['lock', 'rooms/hall', ...pool, '--', 'sleep', '30']);
    let id: string | undefined;
    for (let tries = 0; tries < 200 && id === undefined; tries++) {
      await sleep(50);
      const answer = (await (await fetch(`${server.url}/v1/pools/lost/locks`)).json()) as {
        locks?: { lock: string }[];
      };
      id = answer.locks?.[0]?.lock;
    }
    await fetch(`${server.url}/v1/pools/lost/locks/${id}/break`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    });
    expect(await holding).toMatchObject({ code: 5, err: expect.stringContaining('The lock was lost') });
  });

  test('for a command that isn’t there', async () => {
    expect(await stargus(['lock', 'rooms/hall', '--pool', 'absent', '--', '/no/such/program'])).toMatchObject({
      code: 127,
      err: expect.stringContaining('can’t be run'),
    });
  });
});

describe('logging in', () => {
  let strict: Server;
  let proxy: Awaited<ReturnType<typeof startCuttingProxy>>;
  beforeAll(async () => {
    proxy = await startCuttingProxy();
    strict = await startServer({
      database: 'sqlite',
      env: { STARGUS_AUTH: 'required', STARGUS_OPERATOR_KEY: OPERATOR_KEY, STARGUS_PUBLIC_URL: proxy.url },
    });
    proxy.target(strict.url);
    return () => proxy.stop();
  });
  const at = () => ({ STARGUS_URL: proxy.url });

  test('by an API key, which is kept for who owns the file, and forgotten', async () => {
    expect(await stargus(['get', 'a/b'], { env: at() })).toMatchObject({
      code: 3,
      err: expect.stringMatching(/^unauthenticated: /),
    });
    expect(await stargus(['login', '--api-key'], { env: at(), input: 'wrong\n' })).toMatchObject({
      code: 3,
      err: expect.stringMatching(/^loginFailed: /),
    });
    expect(await stargus(['login', '--api-key'], { env: at(), input: `${OPERATOR_KEY}\n` })).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^You are operator at /),
    });
    expect(statSync(path.join(folder, 'stargus', 'logins.json')).mode & 0o777).toBe(0o600);
    expect((await stargus(['set', 'rooms/hall', 'n:=1'], { env: at() })).code).toBe(0);
    expect((await stargus(['logout'], { env: at() })).code).toBe(0);
    expect((await stargus(['get', 'rooms/hall'], { env: at() })).code).toBe(3);
  });

  test('by a key file, and by a passphrase that opens the envelope; then policy says what may be done', async () => {
    const known = { origin: proxy.url, server: strict.url, folder };
    await makeAccount({ ...known, name: 'ann' });
    await makeAccount({ ...known, name: 'bob', passphrase: 'correct horse' });
    expect((await stargus(['login', '--key', path.join(folder, 'ann.json'), '--json'], { env: at() })).out).toContain(
      `"subject":"${proxy.url}/id/ann"`,
    );
    expect(
      await stargus(['login', '--account', `${proxy.url}/id/bob`], {
        env: { ...at(), STARGUS_PASSPHRASE: 'wrong horse' },
      }),
    ).toMatchObject({ code: 3, err: expect.stringMatching(/^loginFailed: /) });
    const byPassphrase = await stargus(['login', '--account', `${proxy.url}/id/bob`], {
      env: { ...at(), STARGUS_PASSPHRASE: 'correct horse' },
    });
    expect(byPassphrase).toMatchObject({ code: 0, out: expect.stringContaining(`You are ${proxy.url}/id/bob`) });
    const [file] = /(\S+\.key\.json)/.exec(byPassphrase.err)?.slice(1) ?? [];
    expect(existsSync(file as string) && statSync(file as string).mode & 0o777).toBe(0o600);
    const checked = await stargus(['policy', 'check', 'write', 'rooms/hall', 'light', '--json'], { env: at() });
    expect(checked).toMatchObject({ code: expect.toBeOneOf([1, 3]) });
    const asOperator = { ...at(), STARGUS_API_KEY: OPERATOR_KEY };
    expect(await stargus(['policy', 'check', 'write', 'rooms/hall'], { env: asOperator })).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^yes/),
    });
  });
});

describe('completion', () => {
  test('of bash', async () => {
    const file = path.join(folder, 'completion.bash');
    writeFileSync(file, (await stargus(['completion', 'bash'])).out);
    const complete = async (...words: string[]) => {
      const script = `source "${file}"; COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _stargus; printf '%s\\n' "\${COMPREPLY[@]}"`;
      return (await finished('bash', ['-c', script], {})).out.trim().split('\n').sort();
    };
    expect(await complete('stargus', 'qu')).toEqual(['query']);
    expect(await complete('stargus', 'query', 'rooms', '--or')).toEqual(['--order']);
    expect(await complete('stargus', 'lock', 'rooms/hall', '--mode', '')).toEqual(['exclusive', 'shared', 'update']);
    expect(await complete('stargus', 'policy', '')).toEqual(['check']);
    expect(await complete('stargus', 'policy', 'check', '--j')).toEqual(['--json']);
  });

  test('of zsh is written', async () => {
    expect((await stargus(['completion', 'zsh'])).out).toMatch(
      /^#compdef stargus\n[\s\S]*query\) _arguments '--where\[a filter as JSON\]/,
    );
  });
});
