// Where the bench keeps what it makes: all under bench/.cache, which git ignores and which lies on the project's own disk
// (a database in a /tmp in memory would have free fsyncs).
import fs from 'node:fs';
import path from 'node:path';

export const projectDir = path.dirname(import.meta.dirname);
export const cacheDir = path.join(import.meta.dirname, '.cache');
export const programsDir = path.join(cacheDir, 'bin');

fs.mkdirSync(programsDir, { recursive: true });

const dirs = new Set();
process.once('exit', () => dirs.forEach(removeDir)); // after Ctrl-C

export function freshDir(name) {
  const dir = fs.mkdtempSync(path.join(cacheDir, `${name}-`));
  dirs.add(dir);
  return dir;
}

export function removeDir(dir) {
  fs.rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
  dirs.delete(dir);
}
