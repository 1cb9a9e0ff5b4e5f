/** `batch`: several writes in one commit, all or nothing. */
import { jsonOf } from '../assignments.js';
import { type CommandSpec, textOf } from '../command.js';
import { EXIT, Fault } from '../fault.js';
import { contentOf, standardInput } from '../input.js';

type Op = Record<string, unknown>;

export const batch: CommandSpec = {
  name: 'batch',
  words: '[file]',
  about:
    'write several items in one commit: ops as the API has them, a JSON list or a line for each, from a file or the standard input',
  examples: [
    'echo \'{"op":"increment","collection":"rooms","key":"hall","attribute":"visits","by":1}\' | stargus batch',
  ],
  options: [
    {
      flags: '--if <conditions>',
      about: 'only if these hold: a JSON list of {collection, key, revision?, exists?, where?}',
    },
  ],
  async run(given) {
    const file = given.words[0] as string | undefined;
    const written = file === undefined || file === '-' ? await standardInput() : contentOf(file);
    const conditions = textOf(given, 'if');
    const list = conditions === undefined ? undefined : jsonOf(conditions, '--if');
    if (list !== undefined && !Array.isArray(list)) throw new Fault('--if must be a JSON list.');
    const ops = opsOf(written);
    const { revision, results } = await (await given.client()).batch(ops as never, { conditions: list });
    given.output.give({ revision, results }, () => `${ops.length} done in revision ${revision}.`);
    return EXIT.done;
  },
};

export function opsOf(written: string): Op[] {
  const isList = written.trimStart().startsWith('[');
  const ops = isList
    ? (jsonOf(written, 'the list of ops') as unknown[])
    : written.split('\n').flatMap((line, index) => (line.trim() === '' ? [] : [jsonOf(line, `line ${index + 1}`)]));
  if (ops.length === 0) throw new Fault('There are no ops: give a JSON list, or a JSON object on each line.');
  const wrong = ops.findIndex((op) => op === null || typeof op !== 'object' || Array.isArray(op));
  if (wrong >= 0) throw new Fault(`Op ${wrong + 1} is no JSON object.`);
  return ops as Op[];
}
