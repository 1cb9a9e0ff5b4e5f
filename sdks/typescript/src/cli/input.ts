/** What commands read: files, and the standard input. */
import { readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { Fault } from './fault.js';

export function contentOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new Fault(`${file} can’t be read: ${(error as Error).message}`);
  }
}

/** To its end. */
export function standardInput(): Promise<string> {
  return text(process.stdin);
}
