/**
 * The clients as packages: built as for a release, installed as their READMEs say into empty environments, and the ten lines at the
 * head of each README run against a server.
 */
import { execFile } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runCommand } from '../support/program.js';
import { type Server, startServer } from '../support/server.js';
import { BUILD_MS, SDKS } from './languages.js';

const ROOT = path.dirname(SDKS);

const { version } = JSON.parse(readFileSync(path.join(SDKS, '../package.json'), 'utf8')) as { version: string };
const folder = mkdtempSync(path.join(tmpdir(), 'stargus-packages-'));
let server: Server;

beforeAll(async () => {
  server = await startServer({ database: 'sqlite' });
}, BUILD_MS);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function run(
  command: string,
  args: readonly string[],
  { cwd = folder, env = {} as Record<string, string> } = {},
): Promise<string> {
  // Where packages come from is said there.
  const own = Object.entries(process.env).filter(
    ([name]) => !/^(STARGUS|VITEST|NODE_ENV|npm_lifecycle|npm_package)/.test(name),
  );
  const options = { cwd, env: { ...Object.fromEntries(own), ...env }, maxBuffer: 64 * 1024 * 1024, timeout: BUILD_MS };
  try {
    const { stdout } = await promisify(execFile)(command, [...args], options);
    return stdout;
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string };
    throw new Error(`${command} ${args.join(' ')}: ${(error as Error).message}\n${stdout}\n${stderr}`);
  }
}

/** The blocks of a README that are of a language. */
function blocks(language: string, fence: string): string[] {
  const readme = readFileSync(path.join(SDKS, language, 'README.md'), 'utf8');
  return [...readme.matchAll(new RegExp(`^\`\`\`${fence}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(
    ([, code]) => code as string,
  );
}

/** What a README says is to be typed to install the package, line by line. */
function installation(language: string): string[] {
  return (blocks(language, 'sh')[0] ?? '').trim().split('\n');
}

/** A folder for a user's project, with the repository beside it. */
function projectBeside(name: string): string {
  const place = path.join(mkdtempSync(path.join(folder, `${name}-`)), 'project');
  mkdirSync(place);
  symlinkSync(ROOT, path.join(path.dirname(place), 'stargus'));
  return place;
}

/** The first lines of code of a README, about the server of this test. */
function firstLines(language: string, fence: string): string {
  const [code] = blocks(language, fence);
  if (code === undefined) throw new Error(`sdks/${language}/README.md has no block of ${fence}.`);
  expect(code).toContain('http://127.0.0.1:8080');
  return code.replaceAll('http://127.0.0.1:8080', server.url);
}

const REPOSITORY = 'https://github.com/stargus/stargus/blob/main/';

/** Where links of a README lead nowhere, once it is read outside of the repository: those to no file of it, or to none of `beside` it. */
function deadLinks(text: string, beside: readonly string[]): string[] {
  return [...text.matchAll(/\]\(([^)#\s]+)[^)\s]*\)/g)]
    .map(([, link]) => link as string)
    .filter((link) =>
      link.startsWith(REPOSITORY)
        ? !existsSync(path.join(ROOT, link.slice(REPOSITORY.length)))
        : !link.startsWith('https://') && !beside.includes(link),
    );
}

/** Each Python that the client is for and this machine has. */
function pythons(): { minor: string; program: string }[] {
  const places = [...(process.env.PATH ?? '').split(':'), ...versionsOf(path.join(homedir(), '.pyenv', 'versions'))];
  return ['3.10', '3.11', '3.12', '3.13', '3.14'].flatMap((minor) => {
    const found = places
      .map((place) => path.join(place, `python${minor}`))
      .find((file) => existsSync(file) && !file.includes('shims'));
    return found ? [{ minor, program: found }] : [];
  });
}

function versionsOf(place: string): string[] {
  return existsSync(place) ? readdirSync(place).map((name) => path.join(place, name, 'bin')) : [];
}

describe('the Python package', () => {
  let wheel: string;
  beforeAll(async () => {
    const python = pythons().at(-1)?.program ?? 'python3';
    await run(python, ['-m', 'venv', 'build']);
    await run('build/bin/python', [
      '-m',
      'pip',
      'wheel',
      '--quiet',
      '--no-deps',
      '--wheel-dir',
      'wheels',
      path.join(SDKS, 'python'),
    ]);
    wheel = path.join(
      folder,
      'wheels',
      readdirSync(path.join(folder, 'wheels')).find((name) => name.endsWith('.whl')) as string,
    );
  }, BUILD_MS);

  test('is a wheel for every platform, typed, of the version of the API, without tests', async () => {
    expect(path.basename(wheel)).toBe(`stargus-${version}-py3-none-any.whl`);
    const names = (await run('build/bin/python', ['-m', 'zipfile', '-l', wheel]))
      .split('\n')
      .map((line) => line.split(/\s/, 1)[0]);
    expect(names).toContain('stargus/py.typed');
    expect(names).toContain('stargus/generated/api/items_api.py');
    expect(
      names.filter(
        (name) =>
          name !== undefined && /test|conformance|example/.test(name) && !/_test\.py|notifier_test|test_/.test(name),
      ),
    ).toEqual([]);
  });

  test('says where it is from, and its README leads there', async () => {
    await run('build/bin/python', ['-m', 'zipfile', '-e', wheel, 'wheel']);
    const about = readFileSync(path.join(folder, 'wheel', `stargus-${version}.dist-info`, 'METADATA'), 'utf8');
    expect(about).toContain('Project-URL: Homepage, https://github.com/stargus/stargus\n');
    expect(about).toContain('# The Python client');
    expect(deadLinks(about, [])).toEqual([]);
  });

  test('this machine has one of the Pythons that it is for', () => {
    expect(pythons()).not.toEqual([]);
  });

  test.each(pythons())(
    'Python $minor installs it, and runs the first lines of its README',
    async ({ program: python }) => {
      const place = mkdtempSync(path.join(folder, 'python-'));
      await run(python, ['-m', 'venv', '.'], { cwd: place });
      const env = { PATH: `${path.join(place, 'bin')}:${process.env.PATH}` };
      // What it brings along on request is asked for once: it takes longer than all else here.
      const isLast = python === pythons().at(-1)?.program;
      for (const line of installation('python').slice(0, isLast ? undefined : 1))
        await run('sh', ['-c', line], { cwd: ROOT, env });
      if (isLast) await run('bin/python', ['-c', 'import stargus.aio, zeroconf'], { cwd: place });
      writeFileSync(path.join(place, 'first.py'), firstLines('python', 'python'));
      await run('bin/python', ['-W', 'error::DeprecationWarning:stargus', 'first.py'], { cwd: place });
    },
    BUILD_MS,
  );
});

describe('the Go module', () => {
  const name = 'github.com/stargus/stargus/sdks/go';
  /** Another one each time: Go remembers what a version was. */
  const release = `v${version}-test.${Date.now()}`;

  test(
    'is got from a checkout, and runs the first lines of its README',
    async () => {
      const place = projectBeside('go');
      await run('go', ['mod', 'init', 'example.org/first'], { cwd: place });
      for (const line of installation('go')) await run('sh', ['-c', line], { cwd: place });
      writeFileSync(path.join(place, 'main.go'), firstLines('go', 'go'));
      await run('go', ['run', '.'], { cwd: place });
    },
    BUILD_MS,
  );

  test(
    'is got by its name, and runs the first lines of its README',
    async () => {
      const proxy = path.join(folder, 'proxy', ...name.split('/'), '@v');
      mkdirSync(proxy, { recursive: true });
      writeFileSync(path.join(proxy, 'list'), `${release}\n`);
      writeFileSync(path.join(proxy, `${release}.info`), JSON.stringify({ Version: release }));
      writeFileSync(path.join(proxy, `${release}.mod`), readFileSync(path.join(SDKS, 'go', 'go.mod')));
      await run('git', [
        '-C',
        ROOT,
        'archive',
        '--format=zip',
        `--prefix=${name}@${release}/`,
        '-o',
        path.join(proxy, `${release}.zip`),
        `${await tree()}`,
      ]);
      const place = path.join(folder, 'go-program');
      mkdirSync(place);
      const env = {
        GOPROXY: `file://${path.join(folder, 'proxy')},${(await run('go', ['env', 'GOPROXY'])).trim()}`,
        GONOSUMDB: 'github.com/stargus/*',
        GOFLAGS: '-mod=mod',
      };
      await run('go', ['mod', 'init', 'example.org/first'], { cwd: place, env });
      await run('go', ['get', `${name}@${release}`], { cwd: place, env });
      writeFileSync(path.join(place, 'main.go'), firstLines('go', 'go'));
      await run('go', ['run', '.'], { cwd: place, env });
      const cache = (await run('go', ['env', 'GOMODCACHE'])).trim();
      const kept = path.join(cache, `${name}@${release}`);
      await run('chmod', ['-R', 'u+w', kept]);
      rmSync(kept, { recursive: true });
      rmSync(path.join(cache, 'cache', 'download', ...name.split('/'), '@v'), { recursive: true, force: true });
    },
    BUILD_MS,
  );

  /** What git has or would add of the module, as a tree. */
  async function tree(): Promise<string> {
    const env = { GIT_INDEX_FILE: path.join(folder, 'index') };
    await run('git', ['-C', SDKS, 'add', '--', 'go'], { env });
    return (await run('git', ['-C', SDKS, 'write-tree', '--prefix=sdks/go/'], { env })).trim();
  }
});

describe('the npm package', () => {
  const about = JSON.parse(readFileSync(path.join(SDKS, 'typescript', 'package.json'), 'utf8')) as {
    engines: { node: string };
  };
  const oldest = `${about.engines.node.replace('>=', '')}.0`;
  test('has no program of the name of one of the server', () => {
    const programs = (file: string) =>
      Object.keys((JSON.parse(readFileSync(path.join(ROOT, file), 'utf8')) as { bin: object }).bin);
    expect(programs('sdks/typescript/package.json')).toEqual(['stargus']);
    expect(programs('package.json')).toEqual(['stargus-server']);
  });

  test('has its license and all that its files name', async () => {
    const at = (name: string) => path.join(folder, 'unpacked', 'package', name);
    mkdirSync(path.join(folder, 'unpacked'));
    await run('npm', ['pack', '--pack-destination', 'unpacked', path.join(SDKS, 'typescript')]);
    await run('tar', ['xzf', `stargus-client-${version}.tgz`], { cwd: path.join(folder, 'unpacked') });
    const names = readdirSync(at(''), { recursive: true, encoding: 'utf8' });
    expect(names).toEqual(expect.arrayContaining(['LICENSE', 'README.md', 'CLI.md', 'package.json']));
    expect(names.filter((name) => /\.(spec|test)\./.test(name) || /(^|\/)conformance\b/.test(name))).toEqual([]);
    const text = (name: string) => readFileSync(at(name), 'utf8');
    const withoutMap = names.filter((name) =>
      [...(/\.(js|ts)$/.test(name) ? text(name) : '').matchAll(/^\/\/# sourceMappingURL=(\S+)/gm)].some(
        ([, map]) => !existsSync(path.join(path.dirname(at(name)), map as string)),
      ),
    );
    expect(withoutMap).toEqual([]);
    for (const name of ['README.md', 'CLI.md']) expect(deadLinks(text(name), names)).toEqual([]);
  });

  test('says what to do where it is packed without what builds it', async () => {
    const clone = path.join(folder, 'clone');
    for (const file of ['scripts/typescript-client.mjs', 'scripts/programs.mjs', 'sdks/typescript/package.json']) {
      mkdirSync(path.dirname(path.join(clone, file)), { recursive: true });
      copyFileSync(path.join(ROOT, file), path.join(clone, file));
    }
    await expect(run('npm', ['pack'], { cwd: path.join(clone, 'sdks/typescript') })).rejects.toThrow(
      /Run `npm run build` in .*clone/,
    );
  });

  /** Folders of a Node: of the one that runs the tests, and of the oldest that the package is for. */
  const nodes = [
    { node: process.version, bin: async () => path.dirname(process.execPath) },
    {
      node: `v${oldest}`,
      async bin() {
        const place = path.join(folder, 'oldest-node');
        mkdirSync(place);
        const program = `node-${process.platform}-${process.arch}`;
        await run('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts', `${program}@${oldest}`], {
          cwd: place,
        });
        return path.join(place, 'node_modules', program, 'bin');
      },
    },
  ];

  test.each(nodes)(
    'Node $node installs and imports it, and runs the first lines of its README',
    async ({ node, bin }) => {
      const env = { STARGUS_URL: server.url, PATH: `${await bin()}:${process.env.PATH}` };
      const place = projectBeside('npm');
      expect(await run('node', ['--version'], { env })).toBe(`${node}\n`);
      writeFileSync(path.join(place, 'package.json'), JSON.stringify({ name: 'first', private: true, type: 'module' }));
      for (const line of installation('typescript')) await run('sh', ['-c', line], { cwd: place, env });
      writeFileSync(path.join(place, 'first.mjs'), firstLines('typescript', 'js'));
      await run('node', ['first.mjs'], { cwd: place, env });
      writeFileSync(path.join(place, 'more.mjs'), moreLines(node));
      expect(await run('node', ['more.mjs'], { cwd: place, env })).toBe('1 21\n');
      const program = path.join(place, 'node_modules', '.bin', 'stargus');
      expect(JSON.parse(await run(program, ['set', 'rooms/attic', 'light=on', '--json'], { env }))).toMatchObject({
        key: 'attic',
      });
      // Whom it finds is whoever is there. Exit code 1: nobody.
      const found = await runCommand(program, ['discover', '--time', '300ms'], { env });
      expect([0, 1], found.err).toContain(found.code);
    },
    BUILD_MS,
  );

  /** What asks the most of an old Node: the cache, and a lock as the README shows it. */
  function moreLines(pool: string): string {
    const lock = blocks('typescript', 'js').find((code) => code.includes('await stargus.lock('));
    return `
      import { connect } from '@stargus/client';
      const stargus = await connect(${JSON.stringify(server.url)}, '${pool}');
      await stargus.set('rooms', 'hall', { celsius: 21 });
      for (const size of [0, 1]) {
        const rooms = stargus.attach('rooms', { cache: 'rooms.cache' });
        await rooms.ready;
        if (size === 1) console.log(rooms.size, rooms.get('hall').attributes.celsius);
        await rooms.close();
      }
      ${lock}
      await stargus.close();`;
  }
});
