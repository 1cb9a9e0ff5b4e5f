/**
 * The judge of histories: a Go program (judge/) with porcupine and etcd's own validators, built here when it is first needed. It
 * is run on the file of a history, prints what it found, and can be run again on a history that was kept.
 */
import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import path from 'node:path';
import { program } from '../../scripts/daemon.mjs';

const ROOT = path.resolve(import.meta.dirname, '../..');
const SOURCE = path.join(import.meta.dirname, 'judge');
/** Where its installer puts it, which is not on everybody's PATH. */
const GO = '/usr/local/go/bin/go';
const PROGRAM = path.join(ROOT, '.cache', 'judge');
/** Histories that were found at fault are kept here. */
const KEPT = path.join(ROOT, '.cache', 'failed-histories');

/** The first build fetches modules and compiles parts of etcd, on cores that others use too. */
const BUILD_MS = 900_000;
const JUDGE_MS = 600_000;

export interface Verdict {
  readonly faults: readonly { readonly by: string; readonly what: string }[];
  readonly operations: number;
  readonly commits: number;
  readonly unknown: number;
  readonly unknownApplied: number;
  readonly refused: number;
  readonly watches: number;
  readonly resumed: number;
  readonly events: number;
  readonly milliseconds: Readonly<Record<string, number>>;
}

let building: Promise<void> | undefined;

/** Builds the judge, once for this process; the Go tool knows what it has built before. */
export function buildJudge(): Promise<void> {
  building ??= build();
  return building;
}

async function build(): Promise<void> {
  const go = program('go') ?? GO;
  if (!existsSync(go))
    throw new Error(
      'The judge of histories is a Go program, and there is no `go` here. Install Go 1.24 or later (https://go.dev/dl).',
    );
  mkdirSync(path.dirname(PROGRAM), { recursive: true });
  // Another test file may build it at the same time, or run it.
  const built = `${PROGRAM}.${process.pid}`;
  const { code, output } = await run(go, ['build', '-o', built, '.'], BUILD_MS);
  if (code !== 0) throw new Error(`The judge of histories could not be built from ${SOURCE}:\n${output}`);
  renameSync(built, PROGRAM);
}

/** Judges the history in a folder. */
export async function judge(folder: string): Promise<Verdict> {
  await buildJudge();
  const { code, output } = await run(PROGRAM, [folder], JUDGE_MS);
  try {
    return JSON.parse(readFileSync(path.join(folder, 'verdict.json'), 'utf8')) as Verdict;
  } catch {
    throw new Error(`The judge came to no verdict on ${keep(folder)} (exit code ${code}):\n${output}`);
  }
}

/** Fails with all that the judge found, and says where the history is that it found it in. */
export function expectSound(folder: string, verdict: Verdict, seed: number): void {
  if (verdict.faults.length === 0) return;
  const found = verdict.faults.map(({ by, what }) => `${by}: ${what}`).join('\n');
  const kept = keep(folder);
  throw new Error(
    `${found}\nThe history is kept in ${kept}; \`${path.relative(ROOT, PROGRAM)} ${kept}\` judges it again, STARGUS_TEST_SEED=${seed} draws the same.`,
  );
}

/** Copies a history to where nobody removes it. */
function keep(folder: string): string {
  const kept = path.join(KEPT, path.basename(folder));
  cpSync(folder, kept, { recursive: true });
  return kept;
}

function run(file: string, args: readonly string[], timeout: number): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    // The judge needs nothing of Stargus, and a workspace of whoever runs the tests is none of its business.
    const env = { ...process.env, GOFLAGS: '-mod=readonly', GOWORK: 'off' };
    execFile(file, args, { cwd: SOURCE, timeout, env, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      const code = error ? (typeof error.code === 'number' ? error.code : 1) : 0;
      resolve({ code, output: `${stdout}${stderr}${error?.message ?? ''}`.slice(-20_000) });
    });
  });
}
