/** Batches over HTTP: many operations as one commit. */
import { Controller, Inject } from '@nestjs/common';
import { v7 as uuidv7 } from 'uuid';
import { Engine } from '../engine/engine.js';
import { Problem } from '../engine/errors.js';
import { limits } from '../engine/limits.js';
import { parseFilter } from '../engine/query/filter.js';
import { formatCursor } from '../engine/state/cursor.js';
import type { Reply } from '../engine/state/group.js';
import { type Op, type OpResult, type WriteAnswer, writeItems } from '../engine/state/item-commands.js';
import { checkItemKey, checkName, checkOwnName, checkWritableCollection } from '../engine/state/names.js';
import type { Action } from '../engine/state/operations.js';
import type { Condition } from '../engine/state/preconditions.js';
import { idempotencyOf, poolHeaders, sendWritten } from './answers.js';
import { rawBody } from './body.js';
import * as schema from './items.schema.js';
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
    const { ops, if: conditions = [], atomic, dryRun } = call.body;
    if (ops.length > limits.batchOpsMax) {
      const detail = `A batch holds at most ${limits.batchOpsMax} ops, not ${ops.length}.`;
      throw new Problem('invalid', detail, { errors: [{ pointer: '/ops', code: 'invalid', detail }] });
    }
    const raw = call.request.body as RawBatch;
    const taken: TakenOp[] = [];
    const refused: OpResult[] = [];
    for (const [index, op] of ops.entries()) {
      try {
        taken.push({ ...toOp(op, raw.ops[index]), index });
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        if (atomic) throw error.atOp(index);
        refused.push(refusalOf(op, index, error));
      }
    }
    const command = writeItems({
      subject: call.subject,
      writer: call.writer,
      bytes: rawBody(call.request).length * 2 + 256,
      ops: taken,
      conditions: conditions.map((condition, i) => toCondition(condition, condition, `/if/${i}`)),
      atomic,
      batch: true,
      dryRun,
    });
    const shape = shapeOf(taken, refused);
    sendWritten(call, await this.engine.committer.submit(pool, command, idempotencyOf(call, shape)), shape);
  }
}

/** An op that can be judged, and which one it was. */
type TakenOp = Op & { readonly index: number };

/** What becomes of an op of a batch that isn't atomic and that says nothing that could be judged. */
function refusalOf({ collection, key = '' }: schema.BatchOp, index: number, problem: Problem): OpResult {
  const { status } = problem;
  return { index, status, collection, key, revision: 0, changed: [], item: undefined, existed: false, problem };
}

/** `own` is the item that a condition without a place of its own is about. */
function toCondition(
  { where, ...condition }: schema.OpCondition,
  own: { collection: string; key: string },
  pointer: string,
): Condition {
  const collection = checkName('collection', condition.collection ?? own.collection);
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
  const collection = checkWritableCollection(op.collection);
  const key = checkItemKey(op.key ?? (op.op === 'create' ? uuidv7() : wanting('key')));
  const isList = Array.isArray(raw?.if);
  const conditions = op.if?.map((condition, i) =>
    toCondition(condition, { collection, key }, isList ? `/if/${i}` : '/if'),
  );
  return { collection, key, action: toAction(op), ...(conditions && { conditions }) };
}

/** The members that each op takes, beside `op`, `collection`, `key` and `if`. */
const MEMBERS: Record<schema.BatchOp['op'], readonly string[]> = {
  put: ['attributes'],
  merge: ['attributes'],
  create: ['attributes'],
  delete: [],
  unset: ['names'],
  increment: ['attribute', 'by', 'min', 'max'],
  append: ['attribute', 'value'],
  remove: ['attribute', 'value'],
};
const OPTIONAL = new Set(['min', 'max']);
const COMMON = new Set(['op', 'collection', 'key', 'if']);

function toAction(op: schema.BatchOp): Action {
  const members = MEMBERS[op.op];
  for (const member of Object.keys(op)) {
    if (!COMMON.has(member) && !members.includes(member) && op[member as keyof typeof op] !== undefined) {
      throw new Problem('badRequest', `The op ${op.op} takes no member \`${member}\`.`);
    }
  }
  for (const member of members)
    if (!OPTIONAL.has(member) && op[member as keyof typeof op] === undefined) wanting(member);
  return op as unknown as Action;
}

function wanting(member: string): never {
  throw new Problem('badRequest', `The member \`${member}\` is missing.`);
}

function shapeOf(taken: readonly TakenOp[], refused: readonly OpResult[]): (answer: WriteAnswer) => Reply {
  return ({ revision, epoch, results }) => {
    const judged = results.map((result) => ({ ...result, index: (taken[result.index] as TakenOp).index }));
    const all = refused.length === 0 ? judged : [...judged, ...refused].sort((a, b) => a.index - b.index);
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
