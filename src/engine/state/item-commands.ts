/** The commands on items: operations as one commit, deletions by query, and the ends of items whose time is over. */

import type { Action as AccessAction } from '../access/grant.js';
import { applyAsSeen, namedUnseen, namesOf } from '../access/writing.js';
import { checkSystemItem } from '../dictionary/system-items.js';
import { type ErrorPlace, Problem } from '../errors.js';
import { limits } from '../limits.js';
import { NOTIFIERS } from '../notifiers/notifier.js';
import { completedNotifier } from '../notifiers/notifier-items.js';
import type { IndexEntry } from '../ports.js';
import type { Selection } from '../query/run.js';
import { type Ack, type AckResult, acknowledgeIn, touchesOfAcks } from '../queues/queue-batch.js';
import type { Writer } from '../sessions/writer.js';
import type { Subject } from '../subject.js';
import { DICTIONARY, entryRef, isSystemName } from './collections.js';
import type { Command, Explorer, Settled } from './commands.js';
import { DefinitionChecks } from './definition-checks.js';
import { type Draft, refId } from './draft.js';
import { getMember, type Json } from './json.js';
import { type Attributes, type ItemRef, ItemState } from './model.js';
import { type Action, apply, checkAction, checkAttributes } from './operations.js';
import { type Condition, checkCondition, checkPreconditions, type Preconditions } from './preconditions.js';

/** One operation on one item. */
export interface Op extends ItemRef {
  readonly action: Action;
  readonly conditions?: readonly Condition[];
  readonly preconditions?: Preconditions;
  /** The preconditions are those of this attribute of the item, not of the item. */
  readonly attribute?: string;
  /** Which op of its batch it is, where that holds others than these. */
  readonly index?: number;
}

export interface OpResult extends ItemRef {
  readonly index: number;
  readonly status: number;
  readonly revision: number;
  /** The names that this op set or removed. */
  readonly changed: readonly string[];
  /** The item after the whole command; undefined where there is none. */
  readonly item: ItemState | undefined;
  /** Whether there was such an item before this op. */
  readonly existed: boolean;
  /** What an increment came to. */
  readonly value?: Json | undefined;
  /** Where the item isn't as the dictionary says, in the mode `warn`. */
  readonly warnings?: readonly ErrorPlace[];
  readonly problem?: Problem;
}

export interface WriteAnswer extends Settled {
  readonly results: readonly OpResult[];
  /** What became of the ops that acknowledge. */
  readonly acks: readonly AckResult[];
}

export interface WriteRequest {
  readonly subject: Subject;
  readonly bytes: number;
  readonly ops: readonly Op[];
  readonly conditions?: readonly Condition[];
  readonly writer?: Writer | undefined;
  /** Only in this life of the pool. */
  readonly epoch?: string;
  /** False: ops that can't be applied are left out, the others are one commit. */
  readonly atomic?: boolean;
  /** Whether refusals tell which op they are about. */
  readonly batch?: boolean;
  readonly dryRun?: boolean;
  /** The writer means to lose the right to write policies. */
  readonly isForced?: boolean | undefined;
  /** What the writer's session is to remember for its client, as JSON text. */
  readonly memento?: string | undefined;
  /** Entries of the writer's queues that it is done with. */
  readonly acks?: readonly Ack[] | undefined;
}

/** Operations on items as one commit. */
export function writeItems(request: WriteRequest): Command<WriteAnswer> {
  const { ops, conditions = [], atomic = true, batch = false } = request;
  const touches: ItemRef[] = [...ops, ...conditions];
  for (const op of ops) if (op.conditions) touches.push(...op.conditions);
  if (request.acks) touches.push(...touchesOfAcks(request.acks));
  const indexOf = (index: number) => ops[index]?.index ?? index;
  // What one op does is judged as a whole; so is what all of them do together, where they are one.
  const isOne = atomic && batch;
  /** Ops that were refused for what isn't in the draft. */
  const refusals = new Map<number, Problem>();
  let judged: Judged[] = [];
  const checks = ops.some(({ collection }) => collection === DICTIONARY) ? new DefinitionChecks() : undefined;
  return {
    subject: request.subject,
    bytes: request.bytes,
    epoch: request.epoch,
    writer: request.writer,
    dryRun: request.dryRun ?? false,
    isForced: request.isForced,
    touches,
    ...(checks && {
      explore: (explorer: Explorer) => checks.check(explorer, ops, isOne ? judge : judgeWhole, refusals, atomic),
    }),
    reset: () => refusals.clear(),
    refuse(ref, problem) {
      if (isOne) throw problem.atOp(indexOf(lastOpOn(ops, ref)));
      if (atomic) return false;
      // What the item would be is its last op's doing; where it still is without that, the one's before it.
      const index = judged.findLastIndex(
        ({ changed }, i) => changed.length > 0 && !refusals.has(i) && isSame(ops[i] as Op, ref),
      );
      if (index < 0) return false;
      refusals.set(index, problem);
      return true;
    },
    decide(draft) {
      for (const condition of conditions) checkIn(draft, condition);
      const acks = request.acks ? acknowledgeIn(draft, request.acks) : [];
      const refused = atomic ? acks.find(({ problem }) => problem) : undefined;
      judged = ops.map((op, index): Judged => {
        // Of ops that can't be applied the first is told.
        if (refused && refused.index < indexOf(index)) throw refusedAck(refused);
        try {
          const refusal = refusals.get(index);
          if (refusal) throw refusal;
          return isOne ? judge(draft, op) : judgeWhole(draft, op);
        } catch (error) {
          if (!(error instanceof Problem)) throw error;
          if (atomic) throw isOne ? error.atOp(indexOf(index)) : error;
          return { existed: draft.seen(op) !== undefined, changed: [], status: error.status, problem: error };
        }
      });
      if (refused) throw refusedAck(refused);
      const warnings = isOne ? checkAll(draft, ops) : undefined;
      if (request.memento !== undefined) remember(draft, request.writer, request.memento);
      const results = judged;
      return (settled) => ({
        ...settled,
        acks,
        results: results.map((result, index) => {
          const { collection, key } = ops[index] as Op;
          const item = draft.shown({ collection, key });
          const told = warnings?.get(index) ?? result.warnings;
          return {
            ...result,
            ...(told && { warnings: told }),
            index,
            collection,
            key,
            item,
            revision: item?.revision ?? settled.revision,
          };
        }),
      });
    },
  };
}

function refusedAck({ index, problem }: AckResult): Problem {
  return (problem as Problem).atOp(index);
}

function remember(draft: Draft, writer: Writer | undefined, memento: string): void {
  const session = writer?.session && draft.session(writer.session.session);
  if (!session) throw new Problem('badRequest', 'A memento is a session’s: the batch needs a `session`.');
  draft.saveSession({ ...session, memento });
}

/** Judges each item that the ops touched as they leave it; what is told of one is told of its last op. */
function checkAll(draft: Draft, ops: readonly Op[]): Map<number, readonly ErrorPlace[]> {
  const last = new Map(ops.map((op, index) => [refId(op), index]));
  const warnings = new Map<number, readonly ErrorPlace[]>();
  for (const index of last.values()) {
    try {
      const told = draft.check(ops[index] as Op);
      if (told.length > 0) warnings.set(index, told);
    } catch (error) {
      throw error instanceof Problem ? error.atOp(ops[index]?.index ?? index) : error;
    }
  }
  return warnings;
}

function lastOpOn(ops: readonly Op[], ref: ItemRef): number {
  return ops.findLastIndex((op) => isSame(op, ref));
}

function isSame(a: ItemRef, b: ItemRef): boolean {
  return a.collection === b.collection && a.key === b.key;
}

/** One op that stands for itself: if it is refused, nothing of it is left in the draft. */
function judgeWhole(draft: Draft, op: Op): Judged {
  const undo = draft.savepoint(op);
  try {
    const judged = judge(draft, op);
    const warnings = draft.check(op);
    return warnings.length > 0 ? { ...judged, warnings } : judged;
  } catch (error) {
    undo();
    throw error;
  }
}

interface Judged {
  readonly existed: boolean;
  readonly value?: Json | undefined;
  readonly changed: readonly string[];
  readonly status: number;
  readonly warnings?: readonly ErrorPlace[];
  readonly problem?: Problem;
}

function checkIn(draft: Draft, condition: Condition): void {
  checkCondition(condition, draft.seen(condition), (steps) => draft.charge(steps));
}

function judge(draft: Draft, op: Op): Judged {
  const present = draft.item(op);
  const seen = draft.seen(op);
  const { action } = op;
  const isBound = !draft.access.isUnbound;
  if (isBound) draft.access.checkEver(op, ACTIONS_OF[action.op] ?? ['create', 'write']);
  if (op.preconditions) {
    const missing = op.attribute !== undefined && getMember(seen?.attributes ?? {}, op.attribute) === undefined;
    checkPreconditions(op.preconditions, missing ? undefined : seen?.revision);
  }
  for (const condition of op.conditions ?? []) checkIn(draft, condition);
  checkAction(action);
  if (present === undefined || seen !== undefined) return carryOut(draft, op, present, seen);
  const undo = draft.savepoint(op);
  try {
    return carryOut(draft, op, present, seen);
  } catch (error) {
    if (!(error instanceof Problem && error.code === 'forbidden')) throw error;
    undo();
    return judgeAsMissing(draft, op);
  }
}

/** What a writer neither sees nor may write is to them as if it weren't there, down to the words of a refusal. */
function judgeAsMissing(draft: Draft, op: Op): Judged {
  const applied = apply(op.action, undefined);
  if (!applied) return { existed: false, changed: [], status: 200 };
  throw draft.access.refusal(op, 'create', Object.keys(applied));
}

function carryOut(draft: Draft, op: Op, present: ItemState | undefined, seen: ItemState | undefined): Judged {
  const { action } = op;
  const isBound = !draft.access.isUnbound;
  const applied = isBound ? applyAsSeen(draft.access, op, present, seen) : apply(action, present?.attributes);
  const names = isBound ? namesOf(draft.access, op, present, applied) : [];
  if (isBound && (applied || present)) {
    // Before anything that could be refused for what the item is: who may not write it isn't told that.
    const wished = applied && new ItemState(undefined, draft.nextRevision, present?.createdRevision ?? 0, applied);
    draft.access.checkWrite(op, present, wished, names);
    const unseen = namedUnseen(draft.access, op, present);
    if (unseen.length > 0) draft.writeBlindly(op, unseen);
  }
  if (applied === present?.attributes) {
    if (isBound && present) draft.permit(op);
    return { existed: seen !== undefined, changed: [], status: 200 };
  }
  const next = applied && transformed(draft, op, applied, present);
  const change = draft.write(op, next, next === applied ? growthOf(action) : undefined);
  if (isBound) {
    if (next !== applied) draft.access.checkWrite(op, present, draft.item(op), names);
    draft.permit(op);
  }
  if (isSystemName(op.collection)) checkSystemItem(draft, op);
  return {
    existed: present !== undefined,
    changed:
      isBound && change
        ? draft.access.namesShown(op, present, draft.item(op), change.changed)
        : (change?.changed ?? []),
    status: change?.op === 'add' ? 201 : 200,
    ...(action.op === 'increment' && { value: getMember(next ?? {}, action.attribute) }),
  };
}

/** What an action may be of an item; of those that aren't named, creating and writing. */
const ACTIONS_OF: { readonly [op in Action['op']]?: readonly AccessAction[] } = {
  create: ['create'],
  delete: ['delete'],
};

/** The attributes after the write transforms of the item's collection; of a notifier, what the system adds. */
function transformed(draft: Draft, ref: ItemRef, attributes: Attributes, present: ItemState | undefined): Attributes {
  if (ref.collection === NOTIFIERS) return completedNotifier(draft, ref.key, attributes, present?.attributes);
  if (isSystemName(ref.collection)) return attributes;
  const definition = draft.definition(ref.collection);
  if (!definition.transforms) return attributes;
  draft.charge(0);
  let next: Attributes;
  try {
    next = definition.onWrite(attributes, present?.attributes);
  } catch (error) {
    // What failed may say what it failed on.
    if (!(error instanceof Problem) || draft.access.seesAll(ref.collection)) throw error;
    throw new Problem(
      'schemaViolation',
      `What the dictionary makes of ${ref.collection}/${ref.key} when it is written failed.`,
    );
  } finally {
    // Also what came to nothing has held up the others.
    draft.charge(definition.cost);
  }
  if (next !== attributes) checkAttributes(next);
  return next;
}

/** By how many bytes an action makes an item's JSON text grow at most. */
function growthOf(action: Action): number {
  switch (action.op) {
    case 'delete':
    case 'unset':
    case 'remove':
      return 0;
    case 'increment':
      // A number's longest text, a name escaped at its worst, and punctuation.
      return 40 + action.attribute.length * 6;
    case 'append':
    case 'set':
      return 10 + action.attribute.length * 6 + Buffer.byteLength(JSON.stringify(action.value));
    case 'put':
    case 'create':
    case 'merge':
    case 'patch':
      return Number.POSITIVE_INFINITY;
  }
}

export interface DeleteAnswer extends Settled {
  readonly keys: readonly string[];
}

/** Deletes the items that match as one commit. */
export function deleteMatching(request: {
  subject: Subject;
  collection: string;
  selection: Selection;
  limit?: number | undefined;
  expectCount?: number | undefined;
  writer?: Writer | undefined;
}): Command<DeleteAnswer> {
  const { subject, collection, selection, expectCount, writer } = request;
  const limit = request.limit ?? limits.deleteItemsMax;
  // Whether others than so many match is seen by one more.
  const lookedFor = Math.max(limit, expectCount ?? 0);
  let found: ItemRef[] = [];
  let moreMatch = false;
  return {
    subject,
    bytes: 256,
    touches: [entryRef(collection)],
    writer,
    async explore(explorer) {
      explorer.draft().access.checkEver({ collection, key: '' }, ['delete']);
      const { keys, more } = await explorer.matching(collection, selection, lookedFor);
      if (more && request.limit === undefined && expectCount === undefined) {
        const detail = `More than ${limit} items match. Give a \`limit\` of at most ${limit} and repeat until \`deleted\` is less.`;
        throw new Problem('invalid', detail, { errors: [{ pointer: '/limit', code: 'invalid', detail }] });
      }
      found = keys.map((key) => ({ collection, key }));
      moreMatch = more;
    },
    decide(draft) {
      if (expectCount !== undefined && (moreMatch || expectCount !== found.length)) {
        const detail = `${moreMatch ? `More than ${found.length}` : found.length} items match, not the expected ${expectCount}.`;
        throw new Problem('preconditionFailed', detail, moreMatch ? {} : { members: { count: found.length } });
      }
      found.splice(limit);
      for (const ref of found) {
        draft.access.checkWrite(ref, draft.item(ref), undefined, []);
        draft.write(ref, undefined);
        draft.permit(ref);
        if (isSystemName(collection)) checkSystemItem(draft, ref);
      }
      return (settled) => ({ ...settled, keys: found.map(({ key }) => key) });
    },
  };
}

/** Deletes items of a collection whose time is over, a bounded number at once, as one commit with that reason. */
export function expireItems(request: {
  readonly subject: Subject;
  readonly collection: string;
  readonly limit: number;
  /** Only what is due beyond this entry. */
  readonly after: IndexEntry | undefined;
}): Command<Settled & { readonly expired: number; readonly last: IndexEntry | undefined }> {
  const { subject, collection, limit, after } = request;
  let found: Awaited<ReturnType<Explorer['expired']>> = { keys: [], last: undefined };
  return {
    subject,
    bytes: 256,
    touches: [],
    isUpkeep: true,
    async explore(explorer) {
      found = await explorer.expired(collection, limit, after);
    },
    decide(draft) {
      for (const key of found.keys) draft.write({ collection, key }, undefined, undefined, 'expired');
      return (settled) => ({ ...settled, expired: found.keys.length, last: found.last });
    },
  };
}
