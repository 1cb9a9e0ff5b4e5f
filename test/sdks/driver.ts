/** A client's driver (sdks/conformance/README.md) as the scenarios speak to it: a process with a line of JSON for each command and answer. */
import { type ChildProcess, spawn } from 'node:child_process';
import { environmentOfUser } from '../support/environment.js';
import { markRunning } from '../support/server.js';

/** Longer than any command may take by itself. */
const ANSWER_MS = 45_000;
const END_MS = 10_000;

export interface Answer {
  readonly ok: boolean;
  // biome-ignore lint/suspicious/noExplicitAny: JSON that the scenario compares
  readonly value?: any;
  readonly error?: { readonly code: string; readonly message?: string; readonly status?: number };
}

export interface Driver {
  ask(command: Record<string, unknown>): Promise<Answer>;
  /** Closes its input, and waits for its end. @throws Error unless it ends by itself and in order */
  end(): Promise<void>;
  kill(): void;
}

export interface DriverProgram {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Record<string, string>;
}

export function startDriver({ command, args, env = {} }: DriverProgram): Driver {
  const child = spawn(command, args, { env: { ...environmentOfUser(), ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
  const forget = markRunning(child);
  const waiting = new Map<number, (answer: Answer) => void>();
  let errors = '';
  let count = 0;
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-20_000);
  });
  const ended = endOf(child).then((how) => {
    forget();
    for (const settle of waiting.values())
      settle({ ok: false, error: { code: 'ended', message: `The driver ended (${how}). It said: ${errors}` } });
    waiting.clear();
    return how;
  });
  child.stdin.on('error', () => {});
  const hear = (line: string) => {
    try {
      const { id, ...answer } = JSON.parse(line) as Answer & { id: number };
      waiting.get(id)?.(answer);
      waiting.delete(id);
    } catch {
      errors += `\nNot a line of JSON: ${line.slice(0, 500)}`;
    }
  };
  // Not by node:readline, to which U+2028 ends a line too.
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) hear(line);
  });
  return {
    ask: (command) =>
      new Promise((resolve) => {
        const id = ++count;
        const timer = setTimeout(() => {
          waiting.delete(id);
          resolve({
            ok: false,
            error: { code: 'hangs', message: `No answer to ${JSON.stringify(command)}. ${errors}` },
          });
        }, ANSWER_MS);
        waiting.set(id, (answer) => {
          clearTimeout(timer);
          resolve(answer);
        });
        child.stdin.write(`${lineOf({ id, ...command })}\n`);
      }),
    end: async () => {
      child.stdin.end();
      const timer = setTimeout(() => child.kill('SIGKILL'), END_MS);
      const how = await ended;
      clearTimeout(timer);
      if (how !== 0) throw new Error(`The driver ended with ${how} instead of 0. It said: ${errors}`);
    },
    kill: () => child.kill('SIGKILL'),
  };
}

/** Drivers may read lines by what ends them at U+2028 and U+2029. */
function lineOf(command: Record<string, unknown>): string {
  return JSON.stringify(command).replaceAll(/[\u2028\u2029]/g, (one) => `\\u${one.charCodeAt(0).toString(16)}`);
}

function endOf(child: ChildProcess): Promise<number | string> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => resolve(code ?? String(signal)));
  });
}
