/** Secrets are never arguments, which others on the computer can see: from the environment, the standard input, or asked for without being shown. */
import { createInterface } from 'node:readline';
import { Fault } from './fault.js';

export async function secret(what: string, variable: string): Promise<string> {
  const given = process.env[variable];
  if (given) return given;
  const line = process.stdin.isTTY ? await asked(what) : await firstLine();
  if (line === '')
    throw new Fault(
      `No ${what.toLowerCase()} was given: type it, set ${variable}, or send it as the first line of the standard input.`,
    );
  return line;
}

async function firstLine(): Promise<string> {
  for await (const line of createInterface({ input: process.stdin })) return line;
  return '';
}

function asked(what: string): Promise<string> {
  const { stdin, stderr } = process;
  stderr.write(`${what}: `);
  return new Promise((resolve, reject) => {
    let typed = '';
    const done = (end: () => void) => {
      stdin.setRawMode(false).pause().off('data', hear);
      stderr.write('\n');
      end();
    };
    const hear = (bytes: Buffer) => {
      for (const one of bytes.toString('utf8')) {
        if (one === '\r' || one === '\n') return done(() => resolve(typed));
        if (one === '\u0003' || one === '\u0004') return done(() => reject(new Fault('Nothing was typed.', 130)));
        typed = one === '\u007f' || one === '\b' ? [...typed].slice(0, -1).join('') : typed + one;
      }
    };
    stdin.setRawMode(true).resume().on('data', hear);
  });
}
