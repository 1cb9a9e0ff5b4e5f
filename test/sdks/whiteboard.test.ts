/** The whiteboard that programs of several languages share, as README has it: each sees what the others draw. */
import path from 'node:path';
import { expect, test } from 'vitest';
import { environmentOfUser } from '../support/environment.js';
import { type Run, runCommand } from '../support/program.js';
import { startServer } from '../support/server.js';
import { BUILD_MS, pythonOfClient, SDKS } from './languages.js';

const STROKES = 4;

interface Painter {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly folder: string;
  readonly env?: Record<string, string>;
}

function paint({ command, args, folder, env }: Painter): Promise<Run> {
  return runCommand(command, args, { cwd: folder, env: { ...environmentOfUser(), ...env } });
}

test('each painter sees the strokes of the others', { timeout: BUILD_MS }, async () => {
  const server = await startServer({ database: 'sqlite' });
  const python = await pythonOfClient();
  const named = [
    { name: 'cleo', ...python, before: ['examples/whiteboard.py'], folder: path.join(SDKS, 'python') },
    {
      name: 'ann',
      command: process.execPath,
      before: ['examples/whiteboard.mjs'],
      folder: path.join(SDKS, 'typescript'),
    },
    { name: 'bob', command: 'go', before: ['run', './examples/whiteboard'], folder: path.join(SDKS, 'go') },
  ];
  const all = String(named.length * STROKES);
  const painters: Painter[] = named.map(({ before, ...painter }) => ({
    ...painter,
    args: [...before, server.url, painter.name, String(STROKES), '--expect', all],
  }));
  const paintings = await Promise.all(painters.map(paint));
  for (const [index, { code, out, err }] of paintings.entries()) {
    expect({ code, err }).toEqual({ code: 0, err: '' });
    const others = named.map(({ name }) => name).filter((name) => name !== named[index]?.name);
    const seen = out.trim().split('\n');
    expect(seen.length).toBe(others.length * STROKES);
    for (const line of seen) expect(line).toMatch(new RegExp(`^(${others.join('|')}) drew [a-z]+ at \\d+,\\d+$`));
  }
});
