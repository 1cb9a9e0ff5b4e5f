/**
 * Makes the work tree ready: installs the dependencies when package-lock.json asks for others than are there, and builds when
 * a source is newer than the build. npm runs this before `start`, `test` and the rest. It does only what is missing, says
 * nothing when nothing is, and runs on Node 20, since the Node that Stargus needs is one of the things that it installs.
 *
 * `--install-only` leaves out the build.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { nodeProgram, ROOT, run, toolFile } from './programs.mjs';

const NODE_MAJOR_MIN = 24;
const MODULES = path.join(ROOT, 'node_modules');
const DIST = path.join(ROOT, 'dist');
const LOCK = path.join(ROOT, 'package-lock.json');
const INSTALL_STAMP = path.join(MODULES, '.stargus-setup');
const BUILD_STAMP = path.join(DIST, '.stargus-build');

await install();
await requireNode();
if (!process.argv.includes('--install-only')) await build();

async function install() {
  const wanted = createHash('sha256').update(readFileSync(LOCK)).digest('hex');
  if (read(INSTALL_STAMP) === wanted) return;
  if (!asLocked()) {
    const started = Date.now();
    console.log('Installing the dependencies (npm ci, about half a minute) …');
    // No install scripts: better-sqlite3 brings its binaries along, and nothing else that they do is wanted.
    const { code, output } = await npm(['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']);
    if (code !== 0) fail(`npm ci failed with exit code ${code}.`, output);
    console.log(`Dependencies installed in ${seconds(started)}.`);
  }
  writeFileSync(INSTALL_STAMP, wanted);
}

/** Whether node_modules already holds what the lock file says, as after an `npm install` by hand. */
function asLocked() {
  const installed = read(path.join(MODULES, '.package-lock.json'));
  if (installed === undefined) return false;
  const { packages: present } = JSON.parse(installed);
  const { packages: locked } = JSON.parse(readFileSync(LOCK, 'utf8'));
  return Object.entries(locked).every(([where, entry]) => {
    if (where === '') return true;
    const found = present[where];
    if (found) return found.version === entry.version && existsSync(path.join(ROOT, where));
    // Packages for other platforms are in the lock file only. Ours of Node itself must be there.
    return entry.optional === true && where !== `node_modules/node-${process.platform}-${process.arch}`;
  });
}

async function requireNode() {
  const program = nodeProgram();
  const version =
    program === process.execPath
      ? process.version
      : (await run(program, ['--version'], { quiet: true })).output.trim() || '(it does not start)';
  if (Number(/^v(\d+)/.exec(version)?.[1] ?? 0) >= NODE_MAJOR_MIN) return;
  fail(
    `Stargus needs Node ${NODE_MAJOR_MIN} or later; ${program} is ${version}. Install Node ${NODE_MAJOR_MIN} and try again.`,
  );
}

async function build() {
  const sources = ['src', 'migrations'].flatMap((folder) => filesBelow(path.join(ROOT, folder)));
  if (sources.length === 0) fail('There is nothing to build: src is empty.');
  const config = path.join(ROOT, 'tsconfig.json');
  const wanted = fingerprint([...sources, config, LOCK, path.join(ROOT, 'scripts', 'bundle.mjs')]);
  if (read(BUILD_STAMP) === wanted) return;
  const started = Date.now();
  removeOrphans(sources);
  const { code, output } = await run(nodeProgram(), [toolFile('typescript', 'tsc'), '-p', config], { quiet: true });
  if (code !== 0) fail('The build failed (tsc).', output);
  const bundle = await run(nodeProgram(), [path.join(ROOT, 'scripts', 'bundle.mjs')], { quiet: true });
  if (bundle.code !== 0) fail('The build failed (scripts/bundle.mjs).', bundle.output);
  mkdirSync(DIST, { recursive: true });
  writeFileSync(BUILD_STAMP, wanted);
  console.log(`Built in ${seconds(started)}.`);
}

/** Removes what earlier builds made of sources that are gone: the migrations are found by their files' names. */
function removeOrphans(sources) {
  const kept = new Set(sources.map((file) => path.relative(ROOT, file).replace(/\.ts$/, '')));
  for (const file of ['src', 'migrations'].flatMap((folder) => filesBelow(path.join(DIST, folder)))) {
    const built = path.relative(DIST, file).replace(/\.(js|js\.map|d\.ts)$/, '');
    if (kept.has(built)) continue;
    rmSync(file);
    // tsc's memory of the last build would keep it from writing a file again that we removed.
    rmSync(path.join(DIST, '.tsbuildinfo'), { force: true });
  }
}

/** Names, sizes and times of the files: enough to tell that none has changed, without reading them. */
function fingerprint(files) {
  const hash = createHash('sha256');
  for (const file of files.sort()) {
    const { size, mtimeMs } = statSync(file);
    hash.update(`${file} ${size} ${mtimeMs}\n`);
  }
  return hash.digest('hex');
}

function filesBelow(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name));
}

/** npm by the Node it runs on, if npm called us: the one in node_modules is about to be replaced. */
function npm(args) {
  const { npm_execpath: script, npm_node_execpath: node } = process.env;
  if (script?.endsWith('.js')) return run(node ?? process.execPath, [script, ...args], { quiet: true });
  return run('npm', args, { quiet: true });
}

function read(file) {
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
}

function seconds(started) {
  return `${((Date.now() - started) / 1000).toFixed(1)} s`;
}

/** @returns {never} */
function fail(message, output = '') {
  if (output.trim()) console.error(output.trim());
  console.error(`\nSET-UP FAILED: ${message}`);
  process.exit(1);
}
