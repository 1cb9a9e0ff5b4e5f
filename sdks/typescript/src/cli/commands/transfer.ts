/** `export` and `import`: a pool or a part of it as lines of JSON, streamed both ways. */
import { createReadStream, createWriteStream } from 'node:fs';
import { access, constants, stat } from 'node:fs/promises';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import { setTimeout as sleep } from 'node:timers/promises';
import { ProblemError, StargusError } from '../../errors.js';
import { notStargus } from '../../refusal.js';
import { type CommandSpec, type Given, textOf } from '../command.js';
import { proofOfLock } from '../connecting.js';
import { EXIT, Fault } from '../fault.js';
import { linesOf } from '../input.js';
import { safeJson } from '../output.js';

const TELL_EVERY_MS = 200;
/** In a row without a line that became durable. */
const ATTEMPTS = 5;

export const exported: CommandSpec = {
  name: 'export',
  words: '[file]',
  about: 'write all items as they are at one revision, a line of JSON for each, to a file or the standard output',
  examples: ['stargus export backup.ndjson', 'stargus export --collection rooms | gzip > rooms.gz'],
  options: [
    { flags: '--collection <name>', about: 'only this one' },
    { flags: '--prefix <keys>', about: 'keys that begin so' },
  ],
  async run(given) {
    const file = given.words[0] as string | undefined;
    const { api } = await given.client();
    const { raw } = await api.transfer.exportItemsRaw(
      { pool: given.pool, collection: textOf(given, 'collection'), prefix: textOf(given, 'prefix') },
      { signal: given.signal },
    );
    const toFile = file !== undefined && file !== '-';
    const telling = counting(toFile, (lines) => `${lines} items`);
    const source = Readable.fromWeb((raw.body ?? new Blob().stream()) as ReadableStream);
    try {
      if (toFile) await pipeline(source, telling.counter, createWriteStream(file, { mode: 0o600 }));
      else if (process.stdout.isTTY) {
        for await (const line of linesOf(source)) given.output.line(safeJson(line));
      } else await pipeline(source, telling.counter, process.stdout, { end: false });
    } catch (error) {
      telling.clear();
      const { syscall } = error as NodeJS.ErrnoException;
      if (toFile && syscall !== undefined) throw new Fault(`${file} can’t be written: ${(error as Error).message}`);
      if (error instanceof StargusError) given.output.note('What was written isn’t all.');
      throw error;
    }
    telling.end();
    return EXIT.done;
  },
};

export const imported: CommandSpec = {
  name: 'import',
  words: '[file]',
  about:
    'put items from lines of JSON {collection, key?, attributes}, of a file or the standard input. Exit code 1: some lines were refused',
  examples: ['stargus import backup.ndjson', 'zcat rooms.gz | stargus import'],
  async run(given) {
    const file = given.words[0] as string | undefined;
    const fromFile = file !== undefined && file !== '-';
    const isRepeatable = fromFile && (await canBeReadAgain(file));
    const state: State = { line: 0, refused: 0, applied: 0, unchanged: 0, fault: '', exitCode: EXIT.unreachable };
    // What was interrupted goes on after the last line that is durable.
    for (let attempt = 1; ; attempt++) {
      const source = fromFile ? createReadStream(file) : process.stdin;
      const query = state.line > 0 ? `?skip=${state.line}` : '';
      const before = state.line;
      if (await once(given, query, source, state)) break;
      if (state.line > before) attempt = 1;
      if (!isRepeatable || attempt >= ATTEMPTS)
        throw new Fault(
          `The import ended early, after line ${state.line}${state.fault}. What is in is in; send the same file again to go on.`,
          state.exitCode,
        );
      await sleep(attempt * 500);
    }
    const { applied, unchanged, refused } = state;
    if (!given.output.isJson)
      given.output.note(
        `${applied} items written, ${unchanged} were so already${refused > 0 ? `, ${refused} lines refused` : ''}.`,
      );
    return refused > 0 ? EXIT.no : EXIT.done;
  },
};

interface Told {
  readonly line?: number;
  readonly done?: boolean;
  readonly applied?: number;
  readonly unchanged?: number;
  readonly refused?: number;
  readonly collection?: string;
  readonly key?: string;
  readonly problem?: { readonly code?: string; readonly detail?: string };
}

interface State {
  /** Everything up to it is durable. */
  line: number;
  refused: number;
  applied: number;
  unchanged: number;
  /** Why it ended early. */
  fault: string;
  exitCode: number;
}

/** Sends it, reads the server's lines while it does, and answers whether all was judged. */
async function once(given: Given, query: string, source: Readable, state: State): Promise<boolean> {
  const { output } = given;
  const progress = progressLine();
  // What isn't durable is judged, and counted, once more.
  const before = { ...state };
  try {
    const body = await sent(given, query, source);
    for await (const text of linesOf(Readable.fromWeb(body))) {
      if (text.trim() === '') continue;
      const told = JSON.parse(text) as Told;
      if (output.isJson) output.json(told);
      if (told.applied !== undefined) {
        state.applied = before.applied + told.applied;
        state.unchanged = before.unchanged + (told.unchanged ?? 0);
        state.refused = before.refused + (told.refused ?? 0);
      }
      if (told.done === true) return true;
      if (told.done === false) {
        state.fault = `: ${told.problem?.detail ?? ''}`;
        state.exitCode = EXIT.refused;
      } else if (told.problem) {
        progress.clear();
        if (!output.isJson) output.note(`line ${told.line}: ${told.problem.code}: ${told.problem.detail ?? ''}`);
      } else if (told.applied !== undefined) progress.tell(`${told.line ?? 0} lines …`);
      if ((told.applied !== undefined || told.done === false) && told.line !== undefined) state.line = told.line;
    }
  } catch (error) {
    if (given.signal.aborted || (error instanceof StargusError && !error.retryable)) throw error;
    state.fault = `: ${(error as Error).message}`;
    state.exitCode = EXIT.unreachable;
  } finally {
    progress.clear();
    source.destroy();
  }
  return false;
}

function counting(isTold: boolean, words: (lines: number) => string) {
  const progress = progressLine();
  let lines = 0;
  const counter = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      for (const byte of chunk) if (byte === 10) lines++;
      if (isTold) progress.tell(`${words(lines)} …`);
      done(null, chunk);
    },
  });
  return {
    counter,
    clear: progress.clear,
    end: () => {
      progress.clear();
      if (isTold) process.stderr.write(`${words(lines)}\n`);
    },
  };
}

/** One line of the standard error that is written anew; nothing where that is no terminal. */
function progressLine(): { tell(text: string): void; clear(): void } {
  let told = 0;
  const isTerminal = process.stderr.isTTY === true;
  return {
    tell: (text) => {
      if (!isTerminal || performance.now() - told < TELL_EVERY_MS) return;
      told = performance.now();
      process.stderr.write(`\r${text}\u001b[K`);
    },
    clear: () => {
      if (isTerminal && told > 0) process.stderr.write('\r\u001b[K');
    },
  };
}

/** Sends it, and answers the answer's body, which comes while it is still sent. @throws ProblemError; StargusError `unreachable`, `notStargus` */
async function sent(given: Given, query: string, source: Readable): Promise<ReadableStream> {
  const token = await (await given.client()).token();
  const proof = proofOfLock();
  let response: Response;
  try {
    response = await fetch(`${given.url}/v1/pools/${encodeURIComponent(given.pool)}/import${query}`, {
      method: 'POST',
      signal: given.signal,
      headers: {
        'content-type': 'application/x-ndjson',
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
        ...(proof !== undefined && { 'stargus-lock': proof }),
      },
      body: Readable.toWeb(source),
      duplex: 'half',
    } as RequestInit);
  } catch (cause) {
    given.signal.throwIfAborted();
    const message = `Nobody answers at ${given.url}, or the connection broke.`;
    throw new StargusError('unreachable', message, { cause, retryable: true });
  }
  const type = response.headers.get('content-type') ?? undefined;
  if (response.ok && response.body && type?.startsWith('application/x-ndjson')) return response.body as ReadableStream;
  const problem = (await response.json().catch(() => undefined)) as Record<string, unknown> | null | undefined;
  if (typeof problem?.code === 'string') throw new ProblemError(problem, response.status);
  throw notStargus(response.status, type);
}

/** Of a pipe nothing is there a second time. @throws Fault where it can't be read at all */
async function canBeReadAgain(file: string): Promise<boolean> {
  try {
    await access(file, constants.R_OK);
    const found = await stat(file);
    if (found.isDirectory()) throw new Error('it is a folder');
    return found.isFile();
  } catch (error) {
    throw new Fault(`${file} can’t be read: ${(error as Error).message}`);
  }
}
