// The load generator, bench/load, seen from JavaScript: built when its source is newer, run once for each workload.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { cacheDir } from './places.mjs';

const sourceDir = path.join(import.meta.dirname, 'load');
const program = path.join(cacheDir, 'load');

export function buildGenerator() {
  const newest = Math.max(...fs.readdirSync(sourceDir).map((file) => fs.statSync(path.join(sourceDir, file)).mtimeMs));
  if (fs.existsSync(program) && fs.statSync(program).mtimeMs > newest) return;
  execFileSync('go', ['build', '-trimpath', '-buildvcs=false', '-o', program, '.'], {
    cwd: sourceDir,
    stdio: 'inherit',
  });
}

// Runs one workload against a started target and gives its measurements. Flags are those of load/main.go.
export async function generate(target, flags) {
  const { lines, ended } = startGenerator(target, flags);
  let result;
  for await (const line of lines) result = JSON.parse(line);
  await ended;
  return result;
}

// Opens watchers that only listen, or sessions (mode: 'sessions'). What is told of the opening is in `told`; release() closes them and gives
// what they received.
export async function holdWatchers(target, flags) {
  const { child, lines, ended } = startGenerator(target, { mode: 'hold', seconds: 600, ...flags });
  const told = lines[Symbol.asyncIterator]();
  const opened = await told.next();
  if (opened.done) await ended;
  return {
    told: JSON.parse(opened.value),
    async release() {
      child.stdin.end();
      const result = await told.next();
      await ended;
      return JSON.parse(result.value);
    },
  };
}

function startGenerator(target, flags) {
  const all = { address: target.address, dialect: target.dialect, pids: target.pids.join(','), ...flags };
  const args = Object.entries(all).map(([name, value]) => `-${name}=${value}`);
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  let problem = '';
  child.stderr.on('data', (text) => (problem = (problem + text).slice(-2000)));
  const ended = once(child, 'exit').then(([code]) => {
    if (code !== 0) throw new Error(`load ${args.join(' ')}: ${problem}`);
  });
  ended.catch(() => {}); // told where it is awaited
  return { child, lines: createInterface({ input: child.stdout }), ended };
}
