/**
 * Stargus as a package: what `npm pack` puts into it, laid into an empty project beside the packages that it depends on (and no others),
 * is imported, type-checked as a user's compiler does, and started from the command line.
 */
import { execFile } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

const ROOT = path.resolve(import.meta.dirname, '../..');
const TSC = path.join(ROOT, 'node_modules/typescript/bin/tsc');
// Programs are started one after another, and the machine may be busy with other tests.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

const project = mkdtempSync(path.join(tmpdir(), 'stargus-project-'));
afterAll(() => rmSync(project, { recursive: true, force: true }));

beforeAll(async () => {
  const modules = path.join(project, 'node_modules');
  const own = path.join(modules, 'stargus');
  mkdirSync(own, { recursive: true });
  const pack = ['pack', '--ignore-scripts', '--json', '--pack-destination', project];
  const { stdout } = await run('npm', pack, ROOT);
  const [{ filename }] = JSON.parse(stdout) as [{ filename: string }];
  await run('tar', ['xzf', path.join(project, filename), '--strip-components=1', '-C', own], project);
  // Packages for development only are left out, so that what needs one is found out.
  const { packages } = JSON.parse(readFileSync(path.join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: boolean; devOptional?: boolean }>;
  };
  for (const [where, { dev, devOptional }] of Object.entries(packages)) {
    const [, name] = /^node_modules\/((?:@[^/]+\/)?[^/]+)$/.exec(where) ?? [];
    if (name === undefined || dev || devOptional) continue;
    const place = path.join(modules, name);
    mkdirSync(path.dirname(place), { recursive: true });
    symlinkSync(path.join(ROOT, where), place);
  }
  writeFileSync(path.join(project, 'package.json'), JSON.stringify({ name: 'project', type: 'module' }));
});

async function run(command: string, args: string[], cwd = project) {
  const env = { PATH: process.env.PATH, HOME: project, npm_config_cache: path.join(project, '.npm') };
  return promisify(execFile)(command, args, { cwd, env, maxBuffer: 16 * 1024 * 1024 }).catch((error) => {
    throw new Error(`${command} ${args.join(' ')}:\n${error.stdout}${error.stderr}`);
  });
}

describe('the package', () => {
  it('is imported by its name, without a database or a port of anybody’s', async () => {
    const program = `
      import { Stargus } from 'stargus';
      const stargus = await Stargus.temporary();
      const put = await stargus.fetch('/v1/pools/demo/collections/rooms/items/kitchen', {
        method: 'PUT', headers: { 'content-type': 'application/json' }, body: '{"attributes":{"light":"on"}}' });
      console.log(put.status);
      for (const path of ['/v1/openapi.json', '/docs', '/docs/assets/swagger-ui.css'])
        console.log((await stargus.fetch(path)).status);
      await stargus.close();`;
    writeFileSync(path.join(project, 'program.js'), program);
    const { stdout, stderr } = await run(process.execPath, ['program.js']);
    expect([stdout, stderr]).toEqual(['201\n200\n200\n200\n', '']);
  });

  it('has the types that a strict compiler of a user’s takes', async () => {
    const program = `
      import { type LogEntry, Stargus } from 'stargus';
      const stargus: Stargus = await Stargus.start(
        { STARGUS_DATABASE_URL: 'sqlite:./x.db', STARGUS_HISTORY: '1h' },
        { log: (entry: LogEntry) => console.log(entry.msg, entry.level.toFixed()) },
      );
      const ask: typeof fetch = stargus.fetch;
      const response: Response = await ask('/v1', { signal: AbortSignal.timeout(1000) });
      const url: string = await stargus.listen({ port: 0 });
      console.log(response.ok, url, stargus.url);
      await stargus.close();
      // @ts-expect-error: not a variable
      await Stargus.start({ STARGUS_HISTROY: '1h' });
      // @ts-expect-error: variables are text
      await Stargus.start({ STARGUS_PORT: 8080 });
    `;
    writeFileSync(path.join(project, 'typed.ts'), program);
    for (const types of ['@types/node', 'undici-types']) {
      const place = path.join(project, 'node_modules', types);
      if (existsSync(place)) continue;
      mkdirSync(path.dirname(place), { recursive: true });
      symlinkSync(path.join(ROOT, 'node_modules', types), place);
    }
    for (const skipLibCheck of [true, false]) {
      const compilerOptions = { strict: true, noEmit: true, target: 'es2022', types: ['node'], skipLibCheck };
      const config = { compilerOptions: { ...compilerOptions, module: 'nodenext', moduleResolution: 'nodenext' } };
      writeFileSync(path.join(project, 'tsconfig.json'), JSON.stringify({ ...config, files: ['typed.ts'] }));
      expect((await run(process.execPath, [TSC, '-p', '.'])).stdout).toBe('');
    }
  });

  it('has the program, and nothing that only its makers need', async () => {
    const own = path.join(project, 'node_modules/stargus');
    const { version, bin } = JSON.parse(readFileSync(path.join(own, 'package.json'), 'utf8'));
    const { stdout } = await run(process.execPath, [path.join(own, bin['stargus-server']), '--version']);
    expect(stdout).toBe(`${version}\n`);
    const files = readdirSync(own, { recursive: true }) as string[];
    expect(files.filter((file) => /\.(map|spec\.js|tsbuildinfo)$|^(src|test|scripts|\.cache)\b/.test(file))).toEqual(
      [],
    );
    const inside = "import('stargus/dist/src/wiring.js').catch((error) => console.log(error.code))";
    expect((await run(process.execPath, ['-e', inside])).stdout).toBe('ERR_PACKAGE_PATH_NOT_EXPORTED\n');
  });
});

it('the example of a program with Stargus in it sells no pear twice', async () => {
  const { stdout, stderr } = await run(process.execPath, [path.join(ROOT, 'examples/embedded/main.mjs')], project);
  expect(stderr).toBe('');
  expect(stdout).toContain('1 of 3 customers got their pears.');
  expect(stdout).toContain('In stock: 5 apples.');
  expect(stdout.match(/\(now \d \w+\)/g)).toEqual(expect.arrayContaining(['(now 5 apples)', '(now 0 pears)']));
  const database = path.join(project, 'shop.db');
  for (let round = 0; round < 2; round++)
    expect(
      (await run(process.execPath, [path.join(ROOT, 'examples/embedded/main.mjs'), '--database', database])).stdout,
    ).toContain('1 of 3');
});
