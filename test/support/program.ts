/** The built program as a person or a script runs it: a process of its own that ends by itself, and what it said. */
import { spawn } from 'node:child_process';
import path from 'node:path';
import { environmentOfUser } from './environment.js';

const PROGRAM = path.resolve(import.meta.dirname, '../../dist/server/main.js');

export interface Run {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export function runProgram(args: readonly string[], env: Record<string, string> = {}): Promise<Run> {
  return runScript(PROGRAM, args, env);
}

/** A script, such as an example's. The settings of the one who runs the tests don't reach it. */
export function runScript(file: string, args: readonly string[], env: Record<string, string> = {}): Promise<Run> {
  return runCommand(process.execPath, [file, ...args], { env: { ...environmentOfUser(), ...env } });
}

export interface How {
  readonly env: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** What it reads from its standard input. */
  readonly input?: string;
  /** It is sent SIGINT when it has written this. */
  readonly interrupt?: string;
  /** What to do as soon as it has written a text. */
  readonly reaction?: { readonly to: string; readonly by: () => Promise<unknown> };
}

/** Any program, to its end. */
export function runCommand(
  command: string,
  args: readonly string[],
  { env, cwd, input, interrupt, reaction }: How,
): Promise<Run> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env, cwd, stdio: ['pipe', 'pipe', 'pipe'] });
    let out = '';
    let err = '';
    let reacted = false;
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
      if (interrupt !== undefined && out.includes(interrupt)) child.kill('SIGINT');
      if (reaction === undefined || reacted || !out.includes(reaction.to)) return;
      reacted = true;
      reaction.by().catch((error) => {
        child.kill();
        reject(error);
      });
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
    // One that asks for nothing may be gone before it was given anything.
    child.stdin.on('error', () => undefined).end(input);
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, out, err }));
  });
}

/** @throws Error with what `stargus-server doctor` finds in the database, whoever uses it at the moment */
export async function checkHealth(databaseUrl: string): Promise<void> {
  const { code, out, err } = await runProgram(['doctor'], { STARGUS_DATABASE_URL: databaseUrl });
  if (code !== 0) throw new Error(`The doctor has findings:\n${out}${err}`);
}
