/**
 * Random commands of the model, as requests to a server and back: each command knows its request, and an answer is
 * compared with what the model says came of it.
 */
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import type { Answer, Client, Headers, Json } from './client.js';
import type { Command, Condition, Match, Model, Op, OpOutcome, Outcome } from './model.js';

const KEYS = ['a', 'A', 'á', 'a ', 'b/c', '%', '😀', '\ufffd'];
const NAMES = ['n', 'm', 'list', 'constructor', 'é 😀'];
export const COLLECTIONS = ['c1', 'c2'];

/** A revision that is only known when the command is sent: that of the item at that time, or one that it isn't. */
type When = 'current' | 'stale' | 'none';
type Drawn<T> = T extends { op: string } ? Omit<T, 'if'> & { if?: { revision?: When; exists?: boolean } } : never;
type DrawnOp = Drawn<Op>;
export type DrawnCommand =
  | {
      kind: 'single';
      op: DrawnOp;
      match?: { header: Match['header']; tag: '*' | When } | undefined;
      via: 'item' | 'attribute';
    }
  | {
      kind: 'batch';
      ops: DrawnOp[];
      if: { collection: string; key: string; revision?: When; exists?: boolean }[];
      atomic: boolean;
      dryRun: boolean;
    }
  | { kind: 'deletePrefix'; collection: string; prefix: string }
  | { kind: 'makeCollection'; collection: string }
  | { kind: 'dropCollection'; collection: string };

const key = fc.constantFrom(...KEYS);
const collection = fc.constantFrom(...COLLECTIONS);
const attribute = fc.constantFrom(...NAMES);
const small = fc.integer({ min: -3, max: 3 });
const scalar: fc.Arbitrary<Json> = fc.oneof(
  small,
  fc.constantFrom('', 'x', '123', 'null', '\'"\\', '😀'),
  fc.boolean(),
  fc.constant(0.5),
);
const value: fc.Arbitrary<Json> = fc.oneof(
  { weight: 5, arbitrary: scalar },
  { weight: 2, arbitrary: fc.array(scalar, { maxLength: 3 }) },
  {
    weight: 2,
    arbitrary: fc.dictionary(
      attribute,
      fc.oneof(scalar, fc.constant(null), fc.dictionary(attribute, scalar, { maxKeys: 2 })),
      { maxKeys: 2 },
    ),
  },
);
const orNull = fc.oneof({ weight: 5, arbitrary: value }, { weight: 1, arbitrary: fc.constant(null) });
const attributes = fc.dictionary(attribute, orNull, { maxKeys: 3 });
const place = { collection, key };
const when = fc.constantFrom<When>('current', 'current', 'stale', 'none');
const opIf = fc.oneof(
  { weight: 4, arbitrary: fc.constant({}) },
  {
    weight: 1,
    arbitrary: fc.record({ if: fc.record({ revision: when, exists: fc.boolean() }, { requiredKeys: [] }) }),
  },
);
const bound = fc.record(
  { min: fc.integer({ min: -6, max: 0 }), max: fc.integer({ min: 0, max: 6 }) },
  { requiredKeys: [] },
);

const put = fc.record({
  op: fc.constantFrom('put' as const, 'merge' as const, 'create' as const),
  ...place,
  attributes,
});
const remove = fc.record({ op: fc.constant('delete' as const), ...place });
const increment = fc
  .tuple(fc.record({ op: fc.constant('increment' as const), ...place, attribute, by: small }), bound)
  .map(([op, bounds]) => ({ ...op, ...bounds }));
const listOp = fc.record({
  op: fc.constantFrom('append' as const, 'remove' as const),
  ...place,
  attribute: fc.constantFrom('list', 'list', 'm'),
  value: fc.oneof(scalar, fc.constant(null)),
});
const unset = fc.record({ op: fc.constant('unset' as const), ...place, names: fc.array(attribute, { maxLength: 3 }) });
const unsetOne = fc.record({ op: fc.constant('unset' as const), ...place, names: fc.tuple(attribute) });
const set = fc.record({ op: fc.constant('set' as const), ...place, attribute, value: orNull });

const batchOp = fc
  .tuple(fc.oneof(put, remove, increment, listOp, unset), opIf)
  .map(([op, more]): DrawnOp => ({ ...op, ...more }));
const match = fc.option(
  fc.record({
    header: fc.constantFrom<Match['header']>('If-Match', 'If-None-Match'),
    tag: fc.oneof(fc.constant('*' as const), when),
  }),
  { nil: undefined, freq: 3 },
);
const onItem = fc.record({
  kind: fc.constant('single' as const),
  op: fc.oneof(put, put, remove, increment),
  match,
  via: fc.constant('item' as const),
});
const onAttribute = fc.record({
  kind: fc.constant('single' as const),
  op: fc.oneof(set, set, unsetOne),
  match,
  via: fc.constant('attribute' as const),
});
const batch = fc.record({
  kind: fc.constant('batch' as const),
  ops: fc.array(batchOp, { minLength: 1, maxLength: 6 }),
  if: fc.array(fc.record({ ...place, revision: when, exists: fc.boolean() }, { requiredKeys: ['collection', 'key'] }), {
    maxLength: 1,
  }),
  atomic: fc.constantFrom(true, true, false),
  dryRun: fc.constantFrom(false, false, false, false, true),
});
const rare = fc.oneof(
  fc.record({ kind: fc.constant('deletePrefix' as const), collection, prefix: fc.constantFrom('', 'a', '%', '😀') }),
  fc.record({ kind: fc.constantFrom('makeCollection' as const, 'dropCollection' as const), collection }),
);

export const command: fc.Arbitrary<DrawnCommand> = fc.oneof(
  { weight: 10, arbitrary: onItem },
  { weight: 5, arbitrary: onAttribute },
  { weight: 8, arbitrary: batch },
  { weight: 1, arbitrary: rare },
);

/** The command with the revisions that it means at this moment. `create` takes no condition of the header kind. */
export function resolve(command: DrawnCommand, model: Model): Command {
  // As it will be in the request: fast-check's objects have no prototype.
  const drawn = JSON.parse(JSON.stringify(command)) as DrawnCommand;
  const revisionOf = (at: { collection: string; key: string }, when: When) => {
    const revision = model.item(at.collection, at.key)?.revision ?? 0;
    return when === 'current' ? revision : when === 'none' ? 0 : revision + 1;
  };
  const condition = <T extends { revision?: When; exists?: boolean }>(
    at: { collection: string; key: string },
    { revision, ...rest }: T,
  ) => (revision === undefined ? rest : { ...rest, revision: revisionOf(at, revision) });
  if (drawn.kind === 'single') {
    const { op, match } = drawn;
    if (!match || op.op === 'create') return { kind: 'single', op: op as Op, via: drawn.via };
    const tag = match.tag === '*' ? '*' : revisionOf(op, match.tag);
    return { kind: 'single', op: op as Op, via: drawn.via, match: { header: match.header, tag } };
  }
  if (drawn.kind === 'batch') {
    const ops = drawn.ops.map((op) => (op.if ? { ...op, if: condition(op, op.if) } : op) as Op);
    return { ...drawn, ops, if: drawn.if.map((each) => condition(each, each) as Condition) };
  }
  return drawn;
}

export function send(client: Client, pool: string, command: Command): Promise<Answer> {
  const P = `/v1/pools/${pool}`;
  const C = (name: string) => `${P}/collections/${name}`;
  if (command.kind === 'batch') {
    const { ops, if: conditions, atomic, dryRun } = command;
    return client.call(`POST ${P}/batch`, { ops, if: conditions, atomic, dryRun });
  }
  if (command.kind === 'deletePrefix')
    return client.call(`POST ${C(command.collection)}/delete`, { prefix: command.prefix });
  if (command.kind === 'makeCollection') return client.call(`PUT ${C(command.collection)}`);
  if (command.kind === 'dropCollection') return client.call(`DELETE ${C(command.collection)}`);
  const { op, match } = command;
  const item = `${C(op.collection)}/items/${encodeURIComponent(op.key)}`;
  const headers: Headers = match ? { [match.header]: match.tag === '*' ? '*' : `"${match.tag}"` } : {};
  switch (op.op) {
    case 'put':
      return client.call(`PUT ${item}`, { attributes: op.attributes }, headers);
    case 'merge':
      return client.call(`PATCH ${item}`, { attributes: op.attributes }, headers);
    case 'create':
      return client.call(`POST ${C(op.collection)}/items`, { key: op.key, attributes: op.attributes });
    case 'delete':
      return client.call(`DELETE ${item}`, undefined, headers);
    case 'set':
      return client.call(`PUT ${item}/attributes/${encodeURIComponent(op.attribute)}`, { value: op.value }, headers);
    case 'unset':
      return client.call(`DELETE ${item}/attributes/${encodeURIComponent(op.names[0] as string)}`, undefined, headers);
    case 'increment': {
      const { attribute, by, min, max } = op;
      return client.call(`POST ${item}/increment`, { attribute, by, min, max }, headers);
    }
    case 'append':
    case 'remove':
      throw new Error('only in batches');
  }
}

/** How the answer differs from what the model says; undefined where it doesn't. */
export function difference(command: Command, outcome: Outcome, { status, headers, body }: Answer): object | undefined {
  const expected: { status: number; body: Record<string, unknown>; etag?: string } = { status: 200, body: {} };
  const { revision, results, keys } = outcome;
  if (outcome.refused) {
    const index = command.kind === 'batch' ? outcome.index : undefined;
    expected.status = outcome.refused;
    expected.body = { status: outcome.refused, ...(index !== undefined && { index }) };
    return compare(expected, {
      status,
      body: { status: body.status, ...(index !== undefined && { index: body.errors?.[0]?.index }) },
    });
  }
  // A refusal has none of the members that are compared below: it differs from any answer that isn't one.
  if (status >= 400) return compare(expected, { status, body });
  if (command.kind === 'batch') {
    expected.body = { revision, results: results.map((result, index) => ({ index, ...withoutItem(result) })) };
    const told = body.results.map(({ index, status, revision, changed }: OpOutcome & { index: number }) => ({
      index,
      status,
      revision,
      changed: [...changed].sort(),
    }));
    return compare(expected, { status, body: { revision: body.revision, results: told } });
  }
  if (command.kind === 'deletePrefix')
    return compare({ ...expected, body: { revision, deleted: keys.length, keys } }, { status, body });
  if (command.kind === 'makeCollection') {
    return compare(
      { ...expected, status: outcome.committed ? 201 : 200, body: { collection: command.collection } },
      { status, body: { collection: body.collection } },
    );
  }
  if (command.kind === 'dropCollection') {
    return compare(
      { ...expected, body: { collection: command.collection, revision } },
      { status, body: { collection: body.collection, revision: body.revision } },
    );
  }
  const { op } = command;
  const [result] = results as [OpOutcome];
  const { item } = result;
  const names = { changed: [...result.changed].sort() };
  const told = body.changed ? { ...body, changed: [...body.changed].sort() } : body;
  const etag = item && `"${item.revision}"`;
  switch (op.op) {
    case 'delete':
      return compare({ ...expected, body: { revision, existed: result.existed } }, { status, body: told });
    case 'increment':
      return compare(
        {
          status: 200,
          etag,
          body: { attribute: op.attribute, value: item?.attributes[op.attribute], revision: result.revision, ...names },
        },
        { status, etag: headers.etag, body: told },
      );
    case 'set':
    case 'unset': {
      const name = op.op === 'set' ? op.attribute : (op.names[0] as string);
      const value = item && Object.hasOwn(item.attributes, name) ? item.attributes[name] : null;
      return compare(
        { status: result.status, etag, body: { name, value, revision: result.revision, ...names } },
        { status, etag: headers.etag, body: told },
      );
    }
    default:
      return compare(
        { status: result.status, etag, body: { ...item, ...names } },
        { status, etag: headers.etag, body: told },
      );
  }
}

function withoutItem({ status, revision, changed }: OpOutcome) {
  return { status, revision, changed: [...changed].sort() };
}

function compare(expected: object, answered: object): object | undefined {
  return isDeepStrictEqual(expected, answered) ? undefined : { expected, answered };
}
