import { describe, expect, test } from 'vitest';
import { Problem } from '../errors.js';
import type { Command } from '../state/commands.js';
import type { Committer } from '../state/committer.js';
import type { WriteAnswer } from '../state/item-commands.js';
import type { Reader } from '../state/reader.js';
import { type ByteSource, Import, type ImportEvent } from './import.js';
import { Slots } from './slots.js';

const UNAVAILABLE = new Problem('unavailable', 'Not now.');

/** A committer that takes writes as `judge` says: with the commit's number it throws, or says the epoch of its pool. */
function committerOf(judge: (write: number) => string): { committer: Committer; writes: () => number } {
  let writes = 0;
  const submit = (_pool: string, { touches, epoch: wanted }: Command<WriteAnswer>) => {
    const epoch = judge(++writes);
    if (wanted !== epoch) throw new Problem('notFound', 'The pool was deleted meanwhile.');
    const results = touches.map((ref, index) => ({ ...ref, index, status: 201, changed: [] }));
    return Promise.resolve({ answer: { epoch, revision: writes, committed: true, results } });
  };
  return { committer: { closing: false, submit } as unknown as Committer, writes: () => writes };
}

function sourceOf(...chunks: string[]): ByteSource {
  const rest = chunks.map((chunk) => Buffer.from(chunk));
  return { gone: false, next: () => Promise.resolve(rest.shift()) };
}

/** Lines of the system, each of which is a commit of its own. */
const scripts = (count: number): string => '{"collection":"_scripts","key":"a","attributes":{}}\n'.repeat(count);

async function run(committer: Committer, source: ByteSource, skip = 0): Promise<ImportEvent[]> {
  const reader = { current: () => Promise.resolve({ epoch: 'e', revision: 0 }) } as unknown as Reader;
  const imports = new Import(committer, reader, new Slots(), { createPools: false });
  const { run: events } = await imports.open('p', {
    subject: { id: 'me', isUnbound: true, restrictions: [] },
    skip,
    newKey: () => 'key',
  });
  const told: ImportEvent[] = [];
  for await (const event of events(source)) told.push(event);
  return told;
}

describe.concurrent('an import', () => {
  test('waits while the node or its database can’t take it, and goes on where it was', async () => {
    const { committer, writes } = committerOf((write) => {
      if (write === 2 || write === 3) throw UNAVAILABLE;
      return 'e';
    });
    const told = await run(committer, sourceOf(scripts(3)));
    expect(writes()).toBe(5);
    expect(told.at(-1)).toEqual({ kind: 'done', lines: 3, applied: 3, unchanged: 0, refused: 0, revision: 5 });
    expect(told.map((event) => (event.kind === 'progress' ? event.line : event.kind))).toEqual([1, 2, 3, 3, 'done']);
  });

  test('ends after some attempts, and tells the last line that is durable', { timeout: 20_000 }, async () => {
    const { committer, writes } = committerOf((write) => {
      if (write > 2) throw UNAVAILABLE;
      return 'e';
    });
    const told = await run(committer, sourceOf('\n'.repeat(7), scripts(4)), 3);
    expect(writes()).toBe(2 + 6);
    expect(told.at(-1)).toEqual({ kind: 'failed', line: 9, problem: UNAVAILABLE });
  });

  test('of which the first commit fails goes on after what was passed over', async () => {
    const { committer } = committerOf(() => {
      throw new Problem('unauthenticated', 'The token is over.');
    });
    expect(await run(committer, sourceOf(scripts(4)), 3)).toEqual([
      { kind: 'failed', line: 3, problem: expect.objectContaining({ code: 'unauthenticated' }) },
    ]);
  });

  test('notices that its pool is another one now', async () => {
    const { committer } = committerOf((write) => (write < 3 ? 'e' : 'other'));
    expect((await run(committer, sourceOf(scripts(4)))).at(-1)).toEqual({
      kind: 'failed',
      line: 0,
      problem: expect.objectContaining({ code: 'conflict' }),
    });
  });

  test('finds the lines for which a commit as a whole is refused', async () => {
    const line = (key: string) => `{"collection":"c","key":"${key}","attributes":{}}\n`;
    const { committer } = committerOf(() => 'e');
    const submit = committer.submit.bind(committer);
    Object.assign(committer, {
      submit: (pool: string, command: Command<WriteAnswer>) => {
        const bad = command.touches.filter(({ key }) => key === 'bad').length;
        if (bad > 0) return Promise.reject(new Problem('tooLarge', 'Too large.'));
        return submit(pool, command);
      },
    });
    const told = await run(committer, sourceOf(['a', 'bad', 'b', 'c', 'd', 'bad', 'e'].map(line).join('')));
    expect(told.flatMap((event) => (event.kind === 'refused' ? [event.line] : []))).toEqual([2, 6]);
    expect(told.at(-1)).toMatchObject({ kind: 'done', applied: 5, refused: 2 });
  });

  test('of which there are too many is refused', async () => {
    const slots = new Slots();
    const taken = Array.from({ length: 64 }, () => slots.take());
    expect(() => slots.take()).toThrow(Problem);
    taken[0]?.();
    taken[0]?.();
    slots.take();
    expect(() => slots.take()).toThrow(Problem);
  });
});
