/**
 * What sessions and locks mean, as simply as can be: who waits for whom, and who may be granted, is worked out anew from the list
 * of locks whenever it is asked.
 */
import type { LockCommand, Place, SessionRef } from './lock-commands.js';
import { type Claim, clash, covers, isWithin } from './lock-points.js';

export interface Outcome {
  readonly status: number;
  readonly code?: string;
  /** It made the next revision. */
  readonly committed: boolean;
  /** What the answer holds at least. */
  readonly body: Readonly<Record<string, unknown>>;
}

/** The ids that the server made up for what the command brought into being. */
export interface Made {
  readonly lock?: string;
  readonly session?: string;
}

export interface ModelLock {
  readonly id: string;
  readonly session: string;
  readonly held?: (Claim & { readonly fence: number }) | undefined;
  readonly wanted?: (Claim & { readonly queued: number }) | undefined;
}

type Waiter = ModelLock & { readonly wanted: NonNullable<ModelLock['wanted']> };

export class LockModel {
  revision = 0;
  /** Those that live, by id. */
  sessions = new Map<string, { readonly name: string; readonly epoch: number }>();
  locks = new Map<string, ModelLock>();
  items = new Map<string, Record<string, number>>();

  copy(): LockModel {
    const copy = new LockModel();
    copy.revision = this.revision;
    copy.locks = new Map(this.locks);
    copy.sessions = new Map(this.sessions);
    copy.items = structuredClone(this.items);
    return copy;
  }

  run(command: LockCommand, made: Made): Outcome {
    switch (command.kind) {
      case 'begin':
        return this.#begin(command.name, made);
      case 'end':
        return this.#end(command.session);
      case 'acquire':
        return this.#acquire(command, made);
      case 'change':
        return this.#change(command);
      case 'release':
        return this.#release(command);
      case 'break':
        return this.#break(command.lock);
      case 'write':
        return this.#write(command);
    }
  }

  get waiters(): Waiter[] {
    const waiting = [...this.locks.values()].filter((lock): lock is Waiter => lock.wanted !== undefined);
    return waiting.sort((a, b) => (isAhead(a, b) ? -1 : 1));
  }

  /** What others hold in the way of a waiting lock, or want ahead of it. */
  blockers(waiter: Waiter): ModelLock[] {
    return [...this.locks.values()].filter((other) => {
      if (other.session === waiter.session) return false;
      if (clash(other.held, waiter.wanted)) return true;
      return other.wanted !== undefined && isAhead(other, waiter) && clash(other.wanted, waiter.wanted);
    });
  }

  position(waiter: Waiter): number {
    return this.blockers(waiter).filter(({ wanted }) => wanted).length + 1;
  }

  /** Whether the session waits, by way of others that wait, for itself. */
  isInCycle(session: string): boolean {
    const waitsOf = (waiting: string) =>
      this.waiters.filter((waiter) => waiter.session === waiting).flatMap((waiter) => this.blockers(waiter));
    const reached = new Set(waitsOf(session).map((blocker) => blocker.session));
    for (const other of reached) for (const blocker of waitsOf(other)) reached.add(blocker.session);
    return reached.has(session);
  }

  #begin(name: string, made: Made): Outcome {
    const [id, living] = [...this.sessions].find(([, session]) => session.name === name) ?? [];
    const epoch = (living?.epoch ?? 0) + 1;
    const session = id ?? (made.session as string);
    this.sessions.set(session, { name, epoch });
    for (const lock of this.locks.values())
      if (lock.session === session && lock.held)
        this.locks.set(lock.id, { ...lock, held: { ...lock.held, fence: this.revision + 1 } });
    return this.#commit(living ? 200 : 201, () => ({ session, name, epoch }));
  }

  #end(ref: SessionRef): Outcome {
    const session = this.sessions.get(ref.session);
    if (!session) return this.#nothing(200, { existed: false });
    if (session.epoch !== ref.epoch) return refused(409, 'sessionFenced');
    this.sessions.delete(ref.session);
    for (const lock of this.locks.values()) if (lock.session === ref.session) this.locks.delete(lock.id);
    return this.#commit(200, () => ({ existed: true, session: ref.session }));
  }

  #acquire({ session, mode, scopes, wait }: LockCommand & { kind: 'acquire' }, made: Made): Outcome {
    if (!this.#isLiving(session)) return refused(409, 'sessionFenced');
    const wanted = { mode, scopes, queued: this.revision + 1 };
    return this.#take({ id: made.lock ?? 'new', session: session.session, wanted }, wait, 201);
  }

  #change({ session, lock: id, mode, scopes, wait }: LockCommand & { kind: 'change' }): Outcome {
    if (!this.#isLiving(session)) return refused(409, 'sessionFenced');
    const lock = this.locks.get(id);
    if (!lock) return refused(404, 'notFound');
    if (lock.session !== session.session) return refused(403, 'forbidden');
    if (!mode && !scopes) return this.#nothing(lock.wanted ? 202 : 200, this.#told(id));
    const base = (lock.held ?? lock.wanted) as Claim;
    const next = { mode: mode ?? base.mode, scopes: scopes ?? base.scopes };
    if (!isWithin(next, base)) {
      const wanted = { ...next, queued: this.revision + 1 };
      return this.#take({ ...lock, wanted }, wait, 200);
    }
    return lock.held ? this.#narrow({ ...lock, held: { ...lock.held, ...next } }) : this.#narrowWait(lock, next, wait);
  }

  /** What it waited for beyond what it holds it gives up. */
  #narrow(lock: ModelLock): Outcome {
    const before = JSON.stringify(this.#told(lock.id));
    this.locks.set(lock.id, { ...lock, wanted: undefined });
    const told = () => this.#told(lock.id);
    return JSON.stringify(told()) === before ? this.#nothing(200, told()) : this.#commit(200, told);
  }

  /** It keeps its place; to wait from now on, or not at all, is a wish of its own. */
  #narrowWait(lock: ModelLock, next: Claim, wait: boolean): Outcome {
    const waiter: Waiter = { ...lock, wanted: { ...(lock as Waiter).wanted, ...next } };
    const blockers = this.blockers(waiter);
    if (!wait && blockers.length > 0) return this.#conflict(blockers);
    this.locks.set(lock.id, waiter);
    return this.#commit(
      () => this.#statusOf(lock.id, 200),
      () => this.#told(lock.id),
    );
  }

  #release({ session, lock: id }: LockCommand & { kind: 'release' }): Outcome {
    if (!this.#isLiving(session)) return refused(409, 'sessionFenced');
    const lock = this.locks.get(id);
    if (!lock) return this.#nothing(200, { existed: false });
    if (lock.session !== session.session) return refused(403, 'forbidden');
    this.locks.delete(id);
    return this.#commit(200, () => ({ existed: true }));
  }

  #break(id: string): Outcome {
    if (!this.locks.delete(id)) return refused(404, 'notFound');
    return this.#commit(200, () => ({ lock: id, state: 'broken' }));
  }

  #write({ places, value, as }: LockCommand & { kind: 'write' }): Outcome {
    let speaker: string | undefined;
    if (as.kind === 'session') {
      if (!this.#isLiving(as.session)) return refused(409, 'sessionFenced');
      speaker = as.session.session;
    } else if (as.kind === 'proof') {
      const lock = this.locks.get(as.lock);
      if (lock?.held?.fence !== as.fence) return refused(412, 'lockLost', { fence: lock?.held?.fence ?? null });
      speaker = lock.session;
    }
    const news = places.filter(({ key, name }) => this.items.get(key)?.[name] !== value);
    const held = [...this.locks.values()].filter((lock) => lock.held && lock.session !== speaker);
    if (news.some((place) => held.some(({ held: claim }) => covers(claim, place)))) return refused(423, 'locked');
    const [first] = places as [Place];
    const status = places.length === 1 && !this.items.has(first.key) ? 201 : 200;
    if (news.length === 0) return this.#nothing(status, {});
    for (const { key, name } of news) this.items.set(key, { ...this.items.get(key), [name]: value });
    return this.#commit(status, () => ({}));
  }

  /** Grants what the lock wants, or lets it wait, or refuses and leaves everything as it was. */
  #take(lock: Waiter, wait: boolean, status: number): Outcome {
    const blockers = this.blockers(lock);
    if (!wait && blockers.length > 0) return this.#conflict(blockers);
    const before = new Map(this.locks);
    this.locks.set(lock.id, blockers.length > 0 ? lock : grantedAt(lock, this.revision + 1));
    const outcome = this.#commit(
      () => this.#statusOf(lock.id, status),
      () => this.#told(lock.id),
    );
    // Granted at once, more for who holds already is still ahead of those that wait.
    if (!this.isInCycle(lock.session)) return outcome;
    this.locks = before;
    this.revision--;
    return refused(409, 'deadlock');
  }

  #conflict(blockers: readonly ModelLock[]): Outcome {
    return refused(409, 'lockConflict', { holders: blockers.map(({ id }) => ({ lock: id })) });
  }

  /** The next revision, in which all that wait for nothing any more are granted. */
  #commit(status: number | (() => number), body: () => object): Outcome {
    this.revision++;
    let ready: Waiter | undefined;
    do {
      ready = this.waiters.find((waiter) => this.blockers(waiter).length === 0);
      if (ready) this.locks.set(ready.id, grantedAt(ready, this.revision));
    } while (ready);
    const told = { ...body(), revision: this.revision };
    return { status: typeof status === 'number' ? status : status(), committed: true, body: told };
  }

  #nothing(status: number, body: object): Outcome {
    return { status, committed: false, body: { ...body } };
  }

  #statusOf(id: string, granted: number): number {
    return this.locks.get(id)?.wanted ? 202 : granted;
  }

  #told(id: string): object {
    const lock = this.locks.get(id) as ModelLock;
    return { lock: id, ...tell(lock), ...(lock.wanted && { position: this.position(lock as Waiter) }) };
  }

  #isLiving({ session, epoch }: SessionRef): boolean {
    return this.sessions.get(session)?.epoch === epoch;
  }
}

/** A lock as the server tells of it. */
export function tell({ session, held, wanted }: ModelLock): object {
  const { mode, scopes } = (held ?? wanted) as Claim;
  return {
    ...{ session, mode, scopes, state: wanted ? 'waiting' : 'granted' },
    ...(held && { fence: held.fence }),
    ...(held && wanted && { wanted: { mode: wanted.mode, scopes: wanted.scopes } }),
  };
}

function grantedAt({ wanted: { mode, scopes }, ...lock }: Waiter, fence: number): ModelLock {
  return { ...lock, held: { mode, scopes, fence }, wanted: undefined };
}

function refused(status: number, code: string, body: object = {}): Outcome {
  return { status, code, committed: false, body: { code, ...body } };
}

/** In the queue: those that hold something already, then by when they asked. */
function isAhead(a: ModelLock, b: ModelLock): boolean {
  const [first, second] = [a, b] as [Waiter, Waiter];
  if (!first.held !== !second.held) return first.held !== undefined;
  return first.wanted.queued < second.wanted.queued;
}
