/**
 * Judges one command on a draft over what the commands before it left: explores, decides, compares what it would take of
 * unique indexes, and leaves the draft to the group. A refused command leaves nothing.
 */
import type { Definitions } from '../dictionary/definitions.js';
import { errorTable, Problem } from '../errors.js';
import { limits } from '../limits.js';
import type { TargetRules } from '../notifiers/notifier.js';
import type { StoreTransaction, Telemetry } from '../ports.js';
import { turn } from '../turn.js';
import type { Command, Settled } from './commands.js';
import { Draft, type GroupState, refId } from './draft.js';
import { Exploring, type ExploringOptions } from './exploring.js';
import type { Change } from './model.js';
import type { Replica } from './replica.js';
import type { Clash, UniqueValues } from './unique.js';

export interface JudgingOptions extends ExploringOptions {
  /** Whether a pool comes into being on its first write. */
  readonly createPools: boolean;
  /** What a notifier's target may be here. */
  readonly targets: TargetRules;
}

/** What a group's commands are judged with. */
export interface Court {
  readonly state: GroupState;
  readonly replica: Replica | undefined;
  readonly unique: UniqueValues;
  readonly definitions: Definitions;
  readonly options: JudgingOptions;
  readonly telemetry: Telemetry;
  readonly tx: StoreTransaction;
}

/** What one command came to. */
export interface Decided {
  readonly answer: unknown;
  readonly changes: readonly Change[];
}

/** Judges a command, and anew without what another item's values forbid, as often as that takes. */
export async function judge(command: Command<unknown>, court: Court): Promise<Decided> {
  const { locks } = court.state;
  const mark = locks.mark();
  try {
    const decided = await decide(command, mark, court);
    if (command.dryRun) locks.rollback(mark);
    return decided;
  } catch (error) {
    locks.rollback(mark);
    throw error;
  }
}

async function decide(command: Command<unknown>, mark: number, court: Court): Promise<Decided> {
  const { state, replica, unique, options, telemetry, tx } = court;
  const newDraft = () => draftFor(command, court);
  const { explore } = command;
  for (let judgings = 1; ; judgings++) {
    if (judgings > 1) await turn();
    // What is refused bears upon what else the command does.
    if (explore) await explore(new Exploring(state, replica, tx, newDraft, options));
    state.locks.rollback(mark);
    const draft = newDraft();
    const finish = guarded(telemetry, () => begin(command, draft, options));
    const wishes = unique.wishes(draft);
    // Ops may hang on one another in a chain that takes a judging for each: after some, nobody gets what another gives up.
    const last = judgings >= limits.judgingsMax;
    const clashes = wishes.length > 0 ? await unique.clashes(wishes, draft, last) : [];
    if (clashes.length === 0)
      return guarded(telemetry, () => settle(command, draft, finish, () => unique.grant(wishes)));
    refuseEach(command, clashes, last);
  }
}

/** A fault of ours in one command is no reason to refuse its neighbours; its draft is thrown away like any other. */
function guarded<T>(telemetry: Telemetry, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof Problem) throw error;
    telemetry.warn('A command could not be judged', { error: String((error as Error).stack) });
    throw new Problem('internal', errorTable.internal.advice);
  }
}

function draftFor({ writer, subject, isUpkeep, isForced }: Command<unknown>, { state, definitions }: Court): Draft {
  const draft = new Draft(state, definitions, subject, isUpkeep);
  if (isForced) draft.isForced = true;
  if (writer) draft.admit(writer, subject);
  return draft;
}

function begin(command: Command<unknown>, draft: Draft, options: JudgingOptions): (settled: Settled) => unknown {
  if (command.epoch !== undefined && command.epoch !== draft.group.epoch)
    throw new Problem('notFound', 'The pool was deleted meanwhile.');
  const finish = command.decide(draft);
  if (!draft.group.exists && !draft.createsPool && !draft.dropsPool && !options.createPools) {
    throw new Problem(
      'notFound',
      'There is no such pool, and this server does not make pools on their first write. Make it with PUT.',
    );
  }
  return finish;
}

function settle(
  command: Command<unknown>,
  draft: Draft,
  finish: (settled: Settled) => unknown,
  grant: () => void,
): Decided {
  const changes = draft.accept(command.dryRun ?? false);
  const committed = changes.length > 0 && !command.dryRun;
  if (committed) grant();
  const { revision, epoch } = draft.group;
  return { answer: finish({ revision, epoch, committed }), changes: committed ? changes : [] };
}

/** In the end all that an op does to a clashing item is refused, whether or not it would have done without its last. */
function refuseEach(command: Command<unknown>, clashes: readonly Clash[], wholly: boolean): void {
  const told = new Set<string>();
  for (const { ref, problem } of clashes) {
    if (told.has(refId(ref))) continue;
    told.add(refId(ref));
    if (!command.refuse?.(ref, problem)) throw problem;
    while (wholly && command.refuse(ref, problem));
  }
}
