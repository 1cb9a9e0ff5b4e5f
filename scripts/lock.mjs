/**
 * Completes package-lock.json after a change of dependencies: `npm install --ignore-scripts && node scripts/lock.mjs`.
 *
 * A registry mirror may lack the packages that a dependency ships for other platforms. `npm install` then leaves them out of
 * the lock file without a word, and `npm ci` refuses the lock file as out of step. The entry needs no more than the version
 * and the platform that the package's name tells: npm never fetches a package made for another platform, and on that
 * platform it asks the registry there.
 */
import { readFileSync, writeFileSync } from 'node:fs';

const LOCK = new URL('../package-lock.json', import.meta.url);
const OPERATING_SYSTEMS = [
  'aix',
  'android',
  'darwin',
  'freebsd',
  'linux',
  'netbsd',
  'openbsd',
  'openharmony',
  'sunos',
  'win32',
];
const PROCESSORS = ['arm', 'arm64', 'ia32', 'loong64', 'mips64el', 'ppc64', 'riscv64', 's390x', 'wasm32', 'x64'];

const lock = JSON.parse(readFileSync(LOCK, 'utf8'));
const added = [];
for (const [where, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    if (where === '' || resolves(where, name) || !/^\d/.test(version)) continue;
    const words = name.split(/[-/]/);
    const os = words.filter((word) => OPERATING_SYSTEMS.includes(word));
    const cpu = words.filter((word) => PROCESSORS.includes(word));
    if (os.length === 0 || cpu.length === 0) continue;
    const libc = words.some((word) => word.startsWith('musl'))
      ? ['musl']
      : words.some((word) => word === 'gnu')
        ? ['glibc']
        : [];
    lock.packages[`node_modules/${name}`] = {
      version,
      cpu,
      ...(entry.dev ? { dev: true } : {}),
      ...(libc.length > 0 && os.includes('linux') ? { libc } : {}),
      optional: true,
      os,
    };
    added.push(`${name}@${version}`);
  }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => a.localeCompare(b, 'en')));
writeFileSync(LOCK, `${JSON.stringify(lock, null, 2)}\n`);
for (const line of added) console.log(`added ${line}`);

/** Whether the package `name`, asked for by the package at `where`, has an entry at `where` or at a folder above it. */
function resolves(where, name) {
  for (let at = where; ; at = at.slice(0, Math.max(0, at.lastIndexOf('/node_modules/')))) {
    if (lock.packages[`${at === '' ? '' : `${at}/`}node_modules/${name}`]) return true;
    if (at === '') return false;
  }
}
