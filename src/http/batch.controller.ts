/** Batches over HTTP: many operations as one commit. */
import { Controller, Inject } from '@nestjs/common';
import { v7 as uuidv7 } from 'uuid';
import { Engine } from '../engine/engine.js';
import { Problem } from '../engine/errors.js';
import { limits } from '../engine/limits.js';
import { parseFilter } from '../engine/query/filter.js';
import { findQueue } from '../engine/queues/addressing.js';
import type { Ack } from '../engine/queues/queue-batch.js';
import type { Writer } from '../engine/sessions/writer.js';
import { formatCursor } from '../engine/state/cursor.js';
import { type Op, type OpResult, type WriteAnswer, writeItems } from '../engine/state/item-commands.js';
import { type Json, nestingOf } from '../engine/state/json.js';
import { CHANGES } from '../engine/state/log-items.js';
import { checkItemKey, checkName, checkOwnName, checkWritableCollection } from '../engine/state/names.js';
import type { Action } from '../engine/state/operations.js';
import type { Condition } from '../engine/state/preconditions.js';
import type { Reply } from '../engine/state/repetition.js';
import { ownerOf } from '../engine/subject.js';
import { idempotencyOf, poolHeaders, sendWritten } from './answers.js';
import { rawBody } from './body.js';
import * as schema from './items.schema.js';
import { operationOf } from './performing.js';
import { type Call, Route } from './route.js';

@Controller()
export class BatchController {
  constructor(@Inject(Engine) private readonly engine: Engine) {}

  @Route({
    method: 'POST',
    path: '/v1/pools/:pool/batch',
    operationId: 'runBatch',
    tag: 'items',
    summary: 'Apply several operations as one commit',
    description:
      'Atomic by default: one revision, all or nothing; the first op that fails is named by its index in `errors`.',
    body: { schema: schema.batchBody, bytesMax: limits.batchBodyBytesMax },
    headers: ['Idempotency-Key'],
    answers: { 200: { description: 'What became of each op.', schema: schema.batchAnswer } },
  })
  async run(call: Call<unknown, schema.Batch>): Promise<void> {
    const pool = checkOwnName('pool', call.params.pool as string);
    const { ops, if: conditions = [], atomic, dryRun, force, session } = call.body;
    const writer = writerOfBatch(call);
    if (ops.length > limits.batchOpsMax) {
      const detail = `A batch holds at most ${limits.batchOpsMax} ops, not ${ops.length}.`;
      throw new Problem('invalid', detail, { errors: [{ pointer: '/ops', code: 'invalid', detail }] });
    }
    const raw = call.request.body as RawBatch;
    const taken: TakenOp[] = [];
    // What isn't judged as an op on an item: refused ones, and notes.
    const others: OpResult[] = [];
    let memento: string | undefined;
    const acks: (Omit<Ack, 'queue'> & { readonly path: string })[] = [];
    for (const [index, op] of ops.entries()) {
      try {
        if (op.op === 'memento') {
          memento = mementoText(op, writer);
          others.push(resultOf(op, index, 200));
        } else if (op.op === 'ack') acks.push({ index, ...toAck(op, writer) });
        else taken.push({ ...toOp(op, raw.ops[index]), index });
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        if (atomic) throw error.atOp(index);
        others.push(resultOf(op, index, error.status, error));
      }
    }
    const command = writeItems({
      subject: call.subject,
      writer,
      memento,
      acks: await this.#acks(pool, call, acks),
      bytes: rawBody(call.request).length * 2 + 256,
      ops: taken,
      conditions: conditions.map((condition, i) => toCondition(condition, condition, `/if/${i}`)),
      atomic,
      batch: true,
      dryRun,
      isForced: force,
    });
    const shape = shapeOf(taken, others);
    const sequence = session?.sequence;
    // Of two ways to know a repetition the session's own goes before.
    const repeatable =
      session && sequence !== undefined
        ? { batch: { ...session, sequence }, operation: operationOf(call.request), shape }
        : idempotencyOf(call, shape);
    sendWritten(call, await this.engine.committer.submit(pool, command, repeatable), shape);
  }

  /** What is acknowledged, of queues of who asks. */
  async #acks(
    pool: string,
    { subject }: Call,
    ops: readonly (Omit<Ack, 'queue'> & { readonly path: string })[],
  ): Promise<Ack[]> {
    const named = ops.reduce((sum, { deliveries }) => sum + deliveries.length, 0);
    if (named > limits.queueDeliveriesMax)
      throw new Problem('invalid', `A batch acknowledges at most ${limits.queueDeliveriesMax} deliveries.`);
    const acks: Ack[] = [];
    for (const { path, ...ack } of ops)
      acks.push({ ...ack, queue: await findQueue(this.engine, pool, path, ownerOf(subject)) });
    return acks;
  }
}

/** An op that can be judged, and which one it was. */
type TakenOp = Op & { readonly index: number };

/** What becomes of an op that is no operation on an item, or that says nothing that could be judged. */
function resultOf(
  { collection = '', key = '' }: schema.BatchOp,
  index: number,
  status: number,
  problem?: Problem,
): OpResult {
  const result = { index, status, collection, key, revision: 0, changed: [], item: undefined, existed: false };
  return problem ? { ...result, problem } : result;
}

/** Who writes, by the headers and by the body. */
function writerOfBatch({ body: { session, locks }, writer }: Call<unknown, schema.Batch>): Writer | undefined {
  const named = writer?.session;
  const proofs = [...(writer?.locks ?? []), ...(locks ?? [])];
  if (!session && !named && proofs.length === 0) return undefined;
  return { session: session ?? named, alias: session && named, locks: proofs };
}

function mementoText(op: schema.BatchOp, writer: Writer | undefined): string {
  checkMembers(op, ['value']);
  if (op.collection !== undefined || op.key !== undefined || op.if !== undefined)
    throw new Problem('badRequest', 'The op memento takes no member but `value`.');
  if (!writer?.session) throw new Problem('badRequest', 'A memento is a session’s: the batch needs a `session`.');
  if (nestingOf(op.value as Json, limits.nestingMax) > limits.nestingMax)
    throw new Problem('badRequest', `A memento is nested at most ${limits.nestingMax} levels.`);
  const text = JSON.stringify(op.value);
  if (Buffer.byteLength(text) > limits.mementoBytesMax)
    throw new Problem('tooLarge', `A memento has at most ${limits.mementoBytesMax} bytes of JSON.`);
  return text;
}

/** What an op acknowledges, and which queue it means: where it names none, that of the session that speaks. */
function toAck(op: schema.BatchOp, writer: Writer | undefined): { path: string; deliveries: string[] } {
  const { delivery, deliveries, queue } = op;
  checkMembers(op, [delivery === undefined ? 'deliveries' : 'delivery', 'queue']);
  if (op.collection !== undefined || op.key !== undefined || op.if !== undefined)
    throw new Problem('badRequest', 'The op ack takes no member but `delivery` or `deliveries`, and `queue`.');
  const path = queue ?? writer?.session?.session;
  if (path === undefined)
    throw new Problem('badRequest', 'A queue is a session’s: name it by `queue`, or give the batch a `session`.');
  return { path, deliveries: [...new Set(deliveries ?? [delivery as string])] };
}

/** `own` is the item that a condition without a place of its own is about. */
function toCondition(
  { where, ...condition }: schema.OpCondition,
  own: { collection: string; key: string },
  pointer: string,
): Condition {
  const collection = checkName('collection', condition.collection ?? own.collection);
  if (collection === CHANGES) {
    const detail = 'can’t be `_changes`: what the commit comes to isn’t in the log before it is made.';
    throw new Problem('badRequest', `${pointer}/collection ${detail}`, {
      errors: [{ pointer: `${pointer}/collection`, code: 'badRequest', detail }],
    });
  }
  const key = checkItemKey(condition.key ?? own.key);
  const filter = where === undefined ? undefined : parseFilter(where, `${pointer}/where`);
  return { ...condition, collection, key, pointer, where: filter };
}

/** A batch as it was sent: an op's only condition may stand without an array around it. */
interface RawBatch {
  readonly ops: readonly RawOp[];
}
type RawOp = { readonly if?: unknown };

function toOp(op: schema.BatchOp, raw: RawOp | undefined): Op {
  const collection = checkWritableCollection(op.collection ?? wanting('collection'));
  const key = checkItemKey(op.key ?? (op.op === 'create' ? uuidv7() : wanting('key')));
  const isList = Array.isArray(raw?.if);
  const conditions = op.if?.map((condition, i) =>
    toCondition(condition, { collection, key }, isList ? `/if/${i}` : '/if'),
  );
  return { collection, key, action: toAction(op), ...(conditions && { conditions }) };
}

/** The members that each op takes, beside `op`, `collection`, `key` and `if`. */
const MEMBERS: Record<Exclude<schema.BatchOp['op'], 'memento' | 'ack'>, readonly string[]> = {
  put: ['attributes'],
  merge: ['attributes'],
  create: ['attributes'],
  delete: [],
  unset: ['names'],
  increment: ['attribute', 'by', 'min', 'max'],
  append: ['attribute', 'value'],
  remove: ['attribute', 'value'],
};
const OPTIONAL = new Set(['min', 'max', 'queue']);
const COMMON = new Set(['op', 'collection', 'key', 'if']);

function toAction(op: schema.BatchOp): Action {
  checkMembers(op, MEMBERS[op.op as keyof typeof MEMBERS]);
  return op as unknown as Action;
}

function checkMembers(op: schema.BatchOp, members: readonly string[]): void {
  for (const member of Object.keys(op)) {
    if (!COMMON.has(member) && !members.includes(member) && op[member as keyof typeof op] !== undefined) {
      throw new Problem('badRequest', `The op ${op.op} takes no member \`${member}\`.`);
    }
  }
  for (const member of members)
    if (!OPTIONAL.has(member) && op[member as keyof typeof op] === undefined) wanting(member);
}

function wanting(member: string): never {
  throw new Problem('badRequest', `The member \`${member}\` is missing.`);
}

function shapeOf(taken: readonly TakenOp[], others: readonly OpResult[]): (answer: WriteAnswer) => Reply {
  return ({ revision, epoch, results, acks }) => {
    const judged = results.map((result) => ({ ...result, index: (taken[result.index] as TakenOp).index }));
    const acked = acks.map(({ index, problem }) => resultOf({ op: 'ack' }, index, problem?.status ?? 200, problem));
    const beside = others.length + acked.length > 0;
    const all = beside ? [...judged, ...others, ...acked].sort((a, b) => a.index - b.index) : judged;
    return {
      status: 200,
      headers: poolHeaders(epoch, revision),
      body: JSON.stringify({
        revision,
        cursor: formatCursor(epoch, revision),
        results: all.map((result) => ({
          index: result.index,
          status: result.status,
          collection: result.collection,
          key: result.key,
          revision: result.revision || revision,
          changed: result.changed,
          warnings: result.warnings,
          value: result.value,
          problem: result.problem?.toJSON(),
        })),
      }),
    };
  };
}
