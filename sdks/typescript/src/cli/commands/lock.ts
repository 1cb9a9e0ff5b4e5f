/** `lock`: runs a command while nobody else may write what it is about. */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { type CommandSpec, type Given, textOf, wordOf } from '../command.js';
import { EXIT, Fault, Interruption } from '../fault.js';
import { placeOrCollection } from '../place.js';

const WAIT_MS = 30_000;
/** Between SIGTERM and SIGKILL to a command whose lock was lost. */
const GRACE_MS = 5_000;
const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000 };

export const lock: CommandSpec = {
  name: 'lock',
  words: '<item> [command...]',
  about: `run a command while nobody else may write an item or a collection, and answer its exit code. The command finds the proof of the lock in
STARGUS_LOCK, which \`stargus\` commands in it send by themselves. If the lock is lost it is ended: exit code 5`,
  examples: [
    "stargus lock rooms/hall -- sh -c 'stargus set rooms/hall wall=green'",
    'stargus lock rooms --wait 5s -- ./tidy-up',
  ],
  options: [
    { flags: '--wait <time>', about: 'wait for the turn so long, as 500ms, 30s, 2m (30s); 0s: not at all' },
    {
      flags: '--mode <mode>',
      about: 'exclusive, update or shared (exclusive)',
      choices: ['exclusive', 'update', 'shared'],
    },
    { flags: '--prefix <keys>', about: 'of a collection only keys that begin so' },
    { flags: '--attributes <names>', about: 'only these attributes' },
  ],
  endsItself: true,
  async run(given) {
    const [program, ...args] = (given.words[1] ?? []) as readonly string[];
    if (program === undefined) throw new Fault('Name the command to run after --: stargus lock rooms/hall -- ./deploy');
    const mode = textOf(given, 'mode') ?? 'exclusive';
    if (mode !== 'exclusive' && mode !== 'update' && mode !== 'shared')
      throw new Fault('--mode must be exclusive, update or shared.');
    const waitMs = durationOf(textOf(given, 'wait') ?? `${WAIT_MS}ms`, '--wait');
    const scope = {
      ...placeOrCollection(wordOf(given, 0)),
      prefix: textOf(given, 'prefix'),
      attributes: textOf(given, 'attributes')?.split(','),
    };
    const client = await given.client();
    await using held = await client.lock(scope, { mode, waitMs, signal: given.signal });
    const env = { STARGUS_LOCK: `${held.lock};fence=${held.fence}`, STARGUS_URL: given.url, STARGUS_POOL: given.pool };
    return await given.unhurried(() => run(given, program, args, env, held.signal));
  },
};

/** Ctrl-C reaches the command too, which is waited for, whatever it makes of that; what was told to us alone is handed on, and the loss of the lock ends it by us. */
function run(
  given: Given,
  program: string,
  args: readonly string[],
  env: Record<string, string>,
  lost: AbortSignal,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: 'inherit', env: { ...process.env, ...env } });
    let killing: NodeJS.Timeout | undefined;
    const end = () => {
      given.output.note('The lock was lost: its command is ended.');
      child.kill('SIGTERM');
      killing = setTimeout(() => child.kill('SIGKILL'), GRACE_MS);
    };
    const handOn = () => {
      const { reason } = given.signal;
      if (!(reason instanceof Interruption) || reason.by !== 'SIGINT') child.kill('SIGTERM');
    };
    if (lost.aborted) end();
    if (given.signal.aborted) handOn();
    lost.addEventListener('abort', end, { once: true });
    given.signal.addEventListener('abort', handOn, { once: true });
    child.once('error', (error) => reject(new Fault(`${program} can’t be run: ${error.message}`, 127)));
    child.once('close', (code, signal) => {
      clearTimeout(killing);
      lost.removeEventListener('abort', end);
      resolve(lost.aborted ? EXIT.lockLost : (code ?? 128 + (signal ? constants.signals[signal] : 0)));
    });
  });
}

export function durationOf(text: string, option: string): number {
  const [, amount, unit = 's'] = /^(\d{1,9})(ms|s|m)?$/.exec(text) ?? [];
  if (amount === undefined) throw new Fault(`${option} must be a time such as 500ms, 30s or 2m; it is ${text}.`);
  return Number(amount) * (UNITS[unit] as number);
}
