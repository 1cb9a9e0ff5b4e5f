/**
 * Secrets that a person gives: from the environment, for scripts; else asked for on the terminal, where they are not shown; else
 * from the first line of standard input. Never as an argument, which everybody on the machine can see.
 */
import { randomInt } from 'node:crypto';
import { CommandFault } from './command.js';

const PASSPHRASE_LENGTH_MIN = 12;
/** Crockford's base 32: no letter that is taken for another. */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const CODE_GROUPS = 5;
const CODE_GROUP_LENGTH = 5;

/** A passphrase that something is to be sealed with. */
export async function newPassphrase(): Promise<string> {
  const passphrase = await secret('STARGUS_PASSPHRASE', 'A passphrase for the envelope (six random words are good): ');
  if ([...passphrase].length < PASSPHRASE_LENGTH_MIN)
    throw new CommandFault(
      `A passphrase has at least ${PASSPHRASE_LENGTH_MIN} characters: whoever has the envelope can guess for as long as they like.`,
    );
  if (process.stdin.isTTY && process.env.STARGUS_PASSPHRASE === undefined) {
    if ((await ask('The same again: ')) !== passphrase) throw new CommandFault('These are not the same.');
  }
  return passphrase;
}

export function passphrase(): Promise<string> {
  return secret('STARGUS_PASSPHRASE', 'Passphrase: ');
}

export async function recoveryCode(): Promise<string> {
  return normalCode(await secret('STARGUS_RECOVERY_CODE', 'Recovery code: '));
}

export function operatorKey(): Promise<string> {
  return secret('STARGUS_OPERATOR_KEY', 'The operator’s key: ');
}

/** A code of 125 random bits, to be written down. */
export function newRecoveryCode(): string {
  const group = () => Array.from({ length: CODE_GROUP_LENGTH }, () => ALPHABET[randomInt(ALPHABET.length)]).join('');
  return Array.from({ length: CODE_GROUPS }, group).join('-');
}

/** The code as it is derived from, however it was typed. */
export function normalCode(text: string): string {
  return text.toUpperCase().replaceAll(/[\s-]/g, '').replaceAll('O', '0').replaceAll(/[IL]/g, '1');
}

async function secret(variable: string, prompt: string): Promise<string> {
  const given = process.env[variable] ?? (process.stdin.isTTY ? await ask(prompt) : await firstLine(variable));
  if (given === '') throw new CommandFault(`Nothing was given: ${variable} is empty, or nothing was typed.`);
  return given;
}

async function firstLine(variable: string): Promise<string> {
  let text = '';
  process.stdin.setEncoding('utf8');
  for await (const chunk of process.stdin as AsyncIterable<string>) {
    text += chunk;
    if (text.includes('\n')) break;
  }
  const line = (text.split('\n', 1)[0] as string).replace(/\r$/, '');
  if (line === '')
    throw new CommandFault(
      `A secret is needed: on a terminal, in ${variable}, or as the first line of standard input.`,
    );
  return line;
}

/** Asks on the terminal without showing what is typed. */
function ask(prompt: string): Promise<string> {
  const { stdin, stderr } = process;
  stderr.write(prompt);
  stdin.setRawMode(true).setEncoding('utf8').resume();
  return new Promise((resolve, reject) => {
    let typed: string[] = [];
    const end = (settle: () => void) => {
      stdin.off('data', hear).setRawMode(false).pause();
      stderr.write('\n');
      settle();
    };
    const hear = (data: string) => {
      for (const character of data) {
        if (character === '\r' || character === '\n') return end(() => resolve(typed.join('')));
        // Ctrl-C and Ctrl-D.
        if (character === '\u0003' || character === '\u0004') return end(() => reject(new CommandFault('Stopped.')));
        if (character === '\u007f' || character === '\b') typed.pop();
        else if (character === '\u0015') typed = [];
        else if (character >= ' ') typed.push(character);
      }
    };
    stdin.on('data', hear);
  });
}
