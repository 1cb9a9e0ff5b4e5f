/** What commands read: files, and the standard input. */
import { readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { Fault } from './fault.js';

export function contentOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new Fault(`${file} can’t be read: ${(error as Error).message}`);
  }
}

/** Of a text that comes in pieces. node:readline would also end a line at U+2028, which JSON may have in it. */
export async function* linesOf(source: Readable): AsyncGenerator<string> {
  let rest = '';
  for await (const piece of source.setEncoding('utf8')) {
    const parts = (rest + String(piece)).split('\n');
    rest = parts.pop() ?? '';
    yield* parts;
  }
  if (rest !== '') yield rest;
}

/** To its end. */
export function standardInput(): Promise<string> {
  return text(process.stdin);
}
