/** placeholder */
import type { Command } from '../cli/command.js';
export function doctor(_url: string): Command {
  return { summary: '', about: '', options: {}, async run() {} };
}
