/**
 * The committer: one queue for each pool, from which everything that waits is judged and committed as one group. The
 * cost of a transaction (the pool's lock, round trips, the sync to disk) is shared by all that arrived while the last
 * one ran. Each command settles with its own revision or its own problem; a refused one doesn't harm its group.
 *
 * Invariants: one group of a pool is under way at a time on this node, and the pool's row lock orders groups across
 * nodes; what is remembered is used only when the replica stands at the locked row's revision; nothing is told to
 * anybody before the transaction is durable.
 */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import {
  OutcomeUnknown,
  type PoolContent,
  type PoolHead,
  RetryTransaction,
  type Store,
  type StoredAnswer,
  type StoredItem,
  type StoreTransaction,
  type Telemetry,
} from '../ports.js';
import { isSystemName } from './collections.js';
import type { Command, Settled } from './commands.js';
import { newEpoch } from './cursor.js';
import { Draft, GroupState, refId } from './draft.js';
import { type Change, type Collection, type Commit, type ItemRef, ItemState } from './model.js';
import { type Replica, rowsOf } from './replica.js';
import type { Replicas } from './replicas.js';

/** An answer as it was or will be sent, for repetition. */
export interface Reply {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: string;
}

/** Asks that the answer be stored with the write, so that a repetition gets the same one. */
export interface Idempotency<Answer> {
  readonly key: string;
  readonly fingerprint: string;
  shape(answer: Answer): Reply;
}

export type Submitted<Answer> =
  | { readonly answer: Answer; readonly replayed?: undefined }
  | { readonly replayed: Reply };

interface Waiting {
  readonly command: Command<unknown>;
  readonly idempotency: Idempotency<unknown> | undefined;
  resolve(submitted: Submitted<unknown>): void;
  reject(reason: unknown): void;
}

interface Queue {
  readonly waiting: Waiting[];
  bytes: number;
  running: boolean;
}

/** How a group ended for one of its commands. */
type Verdict = { readonly submitted: Submitted<unknown> } | { readonly problem: unknown };

interface Judged {
  readonly verdicts: Verdict[];
  readonly commits: Commit[];
  /** Set when the group brought the pool into being. */
  readonly created?: PoolContent;
  readonly replica?: Replica | undefined;
  readonly newCollections: Collection[];
  readonly dropped: boolean;
  readonly described?: { description: string | undefined };
}

export interface CommitterOptions {
  /** Whether a pool comes into being on its first write. */
  readonly createPools: boolean;
}

export class Committer {
  readonly #queues = new Map<string, Queue>();
  #closing = false;
  #idle: (() => void) | undefined;

  constructor(
    private readonly store: Store,
    private readonly replicas: Replicas,
    private readonly telemetry: Telemetry,
    private readonly options: CommitterOptions,
  ) {}

  /** Judges and commits the command. Resolves when the commit is durable; rejects with a Problem and without a trace. */
  submit<Answer>(
    pool: string,
    command: Command<Answer>,
    idempotency?: Idempotency<Answer>,
  ): Promise<Submitted<Answer>> {
    if (this.#closing) return Promise.reject(new Problem('unavailable', 'The server is stopping.'));
    let queue = this.#queues.get(pool);
    if (!queue) {
      queue = { waiting: [], bytes: 0, running: false };
      this.#queues.set(pool, queue);
    }
    if (queue.waiting.length >= limits.queueCommandsMax || queue.bytes + command.bytes > limits.queueBytesMax) {
      this.telemetry.groupFailed('queueFull');
      return Promise.reject(
        new Problem('unavailable', 'Too many writes wait for this pool.', { headers: { 'retry-after': '1' } }),
      );
    }
    const { waiting } = queue;
    const promise = new Promise<Submitted<Answer>>((resolve, reject) => {
      waiting.push({
        command,
        idempotency: idempotency as Idempotency<unknown> | undefined,
        resolve: resolve as (submitted: Submitted<unknown>) => void,
        reject,
      });
    });
    queue.bytes += command.bytes;
    if (!queue.running) this.#start(pool, queue);
    return promise;
  }

  /** Commands that wait or are under way. */
  get depth(): number {
    let depth = 0;
    for (const { waiting } of this.#queues.values()) depth += waiting.length;
    return depth;
  }

  /** Takes no more commands, and resolves when those taken have settled. */
  async close(): Promise<void> {
    this.#closing = true;
    if (this.#queues.size > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
  }

  #start(pool: string, queue: Queue): void {
    queue.running = true;
    // After the present turn of the event loop, so that requests which arrived together are one group.
    setImmediate(() => void this.#drain(pool, queue));
  }

  async #drain(pool: string, queue: Queue): Promise<void> {
    while (queue.waiting.length > 0) await this.#runGroup(pool, takeGroup(queue));
    queue.running = false;
    this.#queues.delete(pool);
    if (this.#queues.size === 0) this.#idle?.();
  }

  async #runGroup(pool: string, group: readonly Waiting[]): Promise<void> {
    const began = performance.now();
    try {
      const judged = await this.#attempt(pool, group);
      this.#publish(judged);
      for (const [i, verdict] of judged.verdicts.entries()) {
        const { resolve, reject } = group[i] as Waiting;
        if ('submitted' in verdict) resolve(verdict.submitted);
        else reject(verdict.problem);
      }
      this.telemetry.groupCommitted(pool, group.length, judged.commits.length, (performance.now() - began) / 1000);
    } catch (error) {
      const problem = this.#explain(error);
      for (const { reject } of group) reject(problem);
    }
  }

  async #attempt(pool: string, group: readonly Waiting[]): Promise<Judged> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.store.transact((tx) => this.#judge(pool, group, tx));
      } catch (error) {
        if (!(error instanceof RetryTransaction) || attempt >= limits.groupAttemptsMax) throw error;
        this.telemetry.groupFailed('retried');
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 20 * attempt));
      }
    }
  }

  async #judge(pool: string, group: readonly Waiting[], tx: StoreTransaction): Promise<Judged> {
    const { head, now } = await tx.lockPool(pool);
    const replica = head && (await this.replicas.locked(head, tx));
    const state = new GroupState(
      head !== undefined,
      head?.epoch ?? newEpoch(),
      head?.revision ?? 0,
      replica?.collections ?? new Map(),
      head?.description,
    );
    const answers = await this.#storedAnswers(pool, group, tx, now);
    await loadItems(group, state, replica, tx);

    const commits: Commit[] = [];
    const kept: StoredAnswer[] = [];
    const verdicts: Verdict[] = [];
    for (const { command, idempotency } of group) {
      try {
        const answerId = idempotency && `${command.subject.id}\n${idempotency.key}`;
        const former = answerId === undefined ? undefined : answers.get(answerId);
        if (former) {
          verdicts.push({ submitted: { replayed: replay(former, (idempotency as Idempotency<unknown>).fingerprint) } });
          continue;
        }
        if (command.explore) await command.explore(explorerOf(state, replica, tx));
        const { answer, changes } = decide(command, state, this.options);
        if (changes.length > 0)
          commits.push({ revision: state.revision, time: now, subject: command.subject.id, changes });
        if (idempotency && !command.dryRun) {
          const stored = toStored(pool, command.subject.id, idempotency, answer, now);
          answers.set(answerId as string, stored);
          kept.push(stored);
        }
        verdicts.push({ submitted: { answer } });
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        if (head) error.at = { epoch: state.epoch, revision: state.revision };
        verdicts.push({ problem: error });
      }
    }
    const written = await this.#write(pool, head, replica, state, commits, tx);
    if (kept.length > 0) await tx.keepAnswers(kept);
    return { verdicts, commits, replica, ...written };
  }

  async #write(
    pool: string,
    former: PoolHead | undefined,
    replica: Replica | undefined,
    state: GroupState,
    commits: readonly Commit[],
    tx: StoreTransaction,
  ): Promise<Pick<Judged, 'created' | 'newCollections' | 'dropped' | 'described'>> {
    if (!state.exists) return { newCollections: [], dropped: false };
    const head = former ?? (await tx.createPool(pool, state.epoch));
    if (state.description !== head.description) await tx.describePool(head.id, state.description);
    if (state.dropped) {
      await tx.dropPool(head.id);
      return { newCollections: [], dropped: true };
    }
    const touched: Collection[] = [];
    for (const collection of state.collections.values()) {
      touched.push(
        collection.id > 0 ? collection : { ...collection, id: await tx.createCollection(head.id, collection.name) },
      );
    }
    const ids = new Map(touched.map(({ name, id }) => [name, id]));
    const idOf = (name: string) => ids.get(name) ?? (replica?.collections.get(name)?.id as number);
    if (commits.length > 0) {
      const { upserts, deletions } = finalStates(commits, idOf);
      const log = commits.flatMap((commit) => rowsOf(commit, idOf));
      await tx.append({ poolId: head.id, revision: state.revision, log, upserts, deletions, collections: touched });
    }
    const newCollections = touched.filter(({ name }) => state.collections.get(name)?.id === 0);
    return {
      newCollections,
      dropped: false,
      described: { description: state.description },
      ...(former ? {} : { created: { head: { ...head, description: state.description }, collections: [] } }),
    };
  }

  async #storedAnswers(
    pool: string,
    group: readonly Waiting[],
    tx: StoreTransaction,
    now: number,
  ): Promise<Map<string, StoredAnswer>> {
    const keys = group.flatMap(({ command, idempotency }) =>
      idempotency ? [{ subject: command.subject.id, idempotencyKey: idempotency.key }] : [],
    );
    const answers = keys.length > 0 ? await tx.answers(pool, keys, now) : [];
    return new Map(answers.map((answer) => [`${answer.subject}\n${answer.idempotencyKey}`, answer]));
  }

  /** After the transaction is durable: brings this node's replica forward, which tells the watchers. */
  #publish({ created, commits, replica: present, newCollections, dropped, described }: Judged): void {
    const replica = created ? this.replicas.adopt(created) : present;
    if (!replica) return;
    if (dropped) {
      this.replicas.drop(replica);
      return;
    }
    if (described) replica.description = described.description;
    // Under their ids, but still without content: `advance` counts what the commits bring.
    replica.setCollections(
      newCollections
        .filter(({ name }) => !replica.collections.has(name))
        .map((collection) => ({ ...collection, present: isSystemName(collection.name), items: 0, revision: 0 })),
    );
    // A reader may have seen the new revision in the database first and brought the replica forward already.
    replica.advance(commits.filter(({ revision }) => revision > replica.revision));
  }

  #explain(error: unknown): unknown {
    const unknown = error instanceof OutcomeUnknown;
    this.telemetry.groupFailed(unknown ? 'outcomeUnknown' : 'failed');
    this.telemetry.warn('A group of writes failed', {
      error: String(error instanceof Error ? (error.stack ?? error.message) : error),
    });
    const detail = unknown
      ? 'The connection to the database broke during the commit: the write may or may not have been applied.'
      : 'The database did not take the write; nothing was applied.';
    return new Problem('unavailable', detail, { headers: { 'retry-after': '1' } });
  }
}

/** Takes from the queue what one transaction may hold. A command that explores is a group of its own. */
function takeGroup(queue: Queue): Waiting[] {
  let count = 0;
  let bytes = 0;
  for (const { command } of queue.waiting) {
    if (
      count > 0 &&
      (command.explore || count >= limits.groupCommandsMax || bytes + command.bytes > limits.groupBytesMax)
    )
      break;
    count++;
    bytes += command.bytes;
    if (command.explore) break;
  }
  queue.bytes -= bytes;
  return queue.waiting.splice(0, count);
}

/** Fills the state with every item that the group's commands name: remembered ones, and one read for all others. */
async function loadItems(
  group: readonly Waiting[],
  state: GroupState,
  replica: Replica | undefined,
  tx: StoreTransaction,
): Promise<void> {
  const missing = new Map<string, ItemRef>();
  for (const { command } of group) {
    for (const ref of command.touches) {
      const id = refId(ref);
      if (state.items.has(id) || missing.has(id)) continue;
      const remembered = replica?.remembered(ref);
      if (remembered) state.items.set(id, remembered.state);
      else if (replica?.collections.has(ref.collection)) missing.set(id, ref);
      else state.items.set(id, undefined);
    }
  }
  if (!replica || missing.size === 0) return;
  const places = [...missing.values()].map(({ collection, key }) => ({
    collectionId: (replica.collections.get(collection) as Collection).id,
    key,
  }));
  const found = new Map((await tx.items(replica.id, places)).map((item) => [`${item.collectionId}/${item.key}`, item]));
  for (const [id, ref] of missing) {
    const item = found.get(`${(replica.collections.get(ref.collection) as Collection).id}/${ref.key}`);
    const itemState = item && stateOf(item);
    state.items.set(id, itemState);
    replica.remember(ref, itemState);
  }
}

export function stateOf(item: StoredItem): ItemState {
  return new ItemState(item.json, item.revision, item.createdRevision);
}

/** Reads for a command that explores. It is alone in its group, so the database's state is the group's. */
function explorerOf(state: GroupState, replica: Replica | undefined, tx: StoreTransaction) {
  return {
    async range(collection: string, range: { start?: string | undefined; end?: string | undefined }, limit: number) {
      const stored = replica?.collections.get(collection);
      if (!replica || !stored) return { items: [], more: false };
      const page = await tx.range(replica.id, {
        collectionId: stored.id,
        ...range,
        limit,
        bytesMax: limits.commitBytesMax,
      });
      if (page.more && page.items.length < limit) {
        throw new Problem(
          'tooLarge',
          `The items that match are more than ${limits.commitBytesMax} bytes; give a smaller \`limit\`.`,
        );
      }
      for (const item of page.items) state.items.set(refId({ collection, key: item.key }), stateOf(item));
      return page;
    },
  };
}

function decide(
  command: Command<unknown>,
  state: GroupState,
  options: CommitterOptions,
): { answer: unknown; changes: Change[] } {
  const draft = new Draft(state);
  const finish = command.decide(draft);
  if (!state.exists && !draft.createsPool && !draft.dropsPool && !options.createPools) {
    throw new Problem(
      'notFound',
      'There is no such pool, and this server does not make pools on their first write. Make it with PUT.',
    );
  }
  const changes = draft.accept(command.dryRun ?? false);
  const committed = changes.length > 0 && !command.dryRun;
  const settled: Settled = { revision: state.revision, epoch: state.epoch, committed };
  return { answer: finish(settled), changes: committed ? changes : [] };
}

function replay(stored: StoredAnswer, fingerprint: string): Reply {
  if (stored.fingerprint !== fingerprint) {
    throw new Problem(
      'idempotencyKeyReused',
      'The Idempotency-Key was used for another request within the last 24 hours.',
    );
  }
  return { status: stored.status, headers: JSON.parse(stored.headers) as Record<string, string>, body: stored.body };
}

function toStored(
  pool: string,
  subject: string,
  idempotency: Idempotency<unknown>,
  answer: unknown,
  now: number,
): StoredAnswer {
  const { status, headers, body } = idempotency.shape(answer);
  const { key, fingerprint } = idempotency;
  return {
    pool,
    subject,
    idempotencyKey: key,
    fingerprint,
    status,
    headers: JSON.stringify(headers),
    body,
    expiresAt: now + limits.storedAnswerMs,
  };
}

/** What the items are after all commits of the group: an item that changed twice is stored once. */
function finalStates(commits: readonly Commit[], idOf: (name: string) => number) {
  const last = new Map<string, Change>();
  for (const { changes } of commits) for (const change of changes) last.set(refId(change), change);
  const upserts: StoredItem[] = [];
  const deletions: { collectionId: number; key: string }[] = [];
  for (const { collection, key, after } of last.values()) {
    const collectionId = idOf(collection);
    if (after)
      upserts.push({
        collectionId,
        key,
        json: after.json,
        revision: after.revision,
        createdRevision: after.createdRevision,
      });
    else deletions.push({ collectionId, key });
  }
  return { upserts, deletions };
}
