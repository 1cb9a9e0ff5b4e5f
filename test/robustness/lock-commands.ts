/**
 * Random commands on sessions and locks, as requests to a server and back. What is drawn names locks and sessions by number; it
 * becomes a command when it is known which there are.
 */
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import type { Answer, Client, Headers } from './client.js';
import type { LockModel, Outcome } from './lock-model.js';

export type Mode = 'shared' | 'update' | 'exclusive';

export interface Scope {
  readonly collection?: string;
  readonly key?: string;
  readonly prefix?: string;
  readonly start?: string;
  readonly end?: string;
  readonly attributes?: readonly string[];
}

export interface SessionRef {
  readonly session: string;
  readonly epoch: number;
}

export interface Place {
  readonly key: string;
  readonly name: string;
}

export type LockCommand =
  | { readonly kind: 'begin'; readonly name: string }
  | { readonly kind: 'end'; readonly session: SessionRef }
  | {
      readonly kind: 'acquire';
      readonly session: SessionRef;
      readonly mode: Mode;
      readonly scopes: readonly Scope[];
      readonly wait: boolean;
    }
  | {
      readonly kind: 'change';
      readonly session: SessionRef;
      readonly lock: string;
      readonly mode?: Mode | undefined;
      readonly scopes?: readonly Scope[] | undefined;
      readonly wait: boolean;
    }
  | { readonly kind: 'release'; readonly session: SessionRef; readonly lock: string }
  | { readonly kind: 'break'; readonly lock: string }
  | {
      readonly kind: 'write';
      readonly places: readonly Place[];
      readonly value: number;
      readonly as:
        | { readonly kind: 'nobody' }
        | { readonly kind: 'session'; readonly session: SessionRef }
        | { readonly kind: 'proof'; readonly lock: string; readonly fence: number };
    };

export const SESSIONS = ['s0', 's1', 's2', 's3'];

const SCOPES: readonly Scope[] = [
  {},
  { collection: 'things' },
  { collection: 'others' },
  { collection: 'things', key: 'a' },
  { collection: 'things', key: 'b' },
  { collection: 'things', prefix: 'a' },
  { collection: 'things', start: 'b' },
  { collection: 'things', start: 'ab', end: 'c' },
  { collection: 'things', attributes: ['x'] },
  { collection: 'things', key: 'a', attributes: ['x', 'y'] },
  { collection: 'things', prefix: 'a', attributes: ['y'] },
  { attributes: ['z'] },
];

const slot = fc.nat({ max: SESSIONS.length - 1 });
/** Mostly the first ones: a lock that is there; also its own session's. */
const pick = fc.nat({ max: 20 });
const isOwn = fc.nat({ max: 9 }).map((n) => n > 0);
const mode = fc.constantFrom<Mode>('shared', 'update', 'exclusive', 'exclusive');
const scopes = fc.array(fc.constantFrom(...SCOPES), { minLength: 1, maxLength: 2 });
const wait = fc.nat({ max: 3 }).map((n) => n > 0);
const place = fc.record({ key: fc.constantFrom('a', 'ab', 'b', 'c'), name: fc.constantFrom('x', 'y', 'z') });

const drawnOf = {
  acquire: fc.record({ kind: fc.constant('acquire' as const), slot, mode, scopes, wait }),
  change: fc.record(
    { kind: fc.constant('change' as const), pick, isOwn, slot, mode, scopes, wait },
    { requiredKeys: ['kind', 'pick', 'isOwn', 'slot', 'wait'] },
  ),
  release: fc.record({ kind: fc.constant('release' as const), pick, isOwn, slot }),
  break: fc.record({ kind: fc.constant('break' as const), pick }),
  session: fc.record({ kind: fc.constantFrom('begin' as const, 'end' as const), slot }),
  write: fc.record({
    kind: fc.constant('write' as const),
    places: fc.uniqueArray(place, { minLength: 1, maxLength: 2, selector: ({ key, name }) => key + name }),
    value: fc.integer({ min: 1, max: 3 }),
    as: fc.constantFrom('nobody' as const, 'session' as const, 'proof' as const, 'stale' as const),
    pick,
    slot,
  }),
};

export const drawn = fc.oneof(
  { weight: 6, arbitrary: drawnOf.acquire },
  { weight: 4, arbitrary: drawnOf.change },
  { weight: 4, arbitrary: drawnOf.release },
  { weight: 1, arbitrary: drawnOf.break },
  { weight: 1, arbitrary: drawnOf.session },
  { weight: 4, arbitrary: drawnOf.write },
);
export type Drawn = typeof drawn extends fc.Arbitrary<infer D> ? D : never;

/** The command that was drawn, where the model stands. */
export function resolve(each: Drawn, model: LockModel): LockCommand {
  const locks = [...model.locks.values()];
  const lockAt = (n: number) => locks[n % (locks.length + 1)];
  switch (each.kind) {
    case 'begin':
      return { kind: 'begin', name: SESSIONS[each.slot] as string };
    case 'end':
      return { kind: 'end', session: sessionAt(model, each.slot) };
    case 'acquire': {
      const { slot: by, ...rest } = each;
      return { ...rest, session: sessionAt(model, by) };
    }
    case 'change':
    case 'release': {
      const { pick: n, isOwn: own, slot: by, ...rest } = each;
      const lock = lockAt(n);
      const session = (own && lock && sessionOf(model, lock.session)) || sessionAt(model, by);
      return { ...rest, session, lock: lock?.id ?? 'gone' };
    }
    case 'break':
      return { kind: 'break', lock: lockAt(each.pick)?.id ?? 'gone' };
    case 'write': {
      const { kind, places, value, as } = each;
      if (as === 'nobody') return { kind, places, value, as: { kind: 'nobody' } };
      if (as === 'session')
        return { kind, places, value, as: { kind: 'session', session: sessionAt(model, each.slot) } };
      const lock = lockAt(each.pick);
      const fence = (lock?.held?.fence ?? 1) - (as === 'stale' ? 1 : 0);
      return { kind, places, value, as: { kind: 'proof', lock: lock?.id ?? 'gone', fence } };
    }
  }
}

function sessionAt(model: LockModel, n: number): SessionRef {
  const [session] = [...model.sessions].find(([, { name }]) => name === SESSIONS[n]) ?? [];
  return (session !== undefined && sessionOf(model, session)) || { session: 'nobody', epoch: 1 };
}

function sessionOf(model: LockModel, session: string): SessionRef | undefined {
  const living = model.sessions.get(session);
  return living && { session, epoch: living.epoch };
}

/** Long enough that no lease and no wait ends during a test. */
const LONG_MS = 600_000;
let waits = 0;

/** Of different lengths, so that to wait anew alters the lock. */
function waitOf(isWaiting: boolean): { waitMs: number } {
  return { waitMs: isWaiting ? LONG_MS - (++waits % 50) * 7_000 : 0 };
}

export function send(client: Client, pool: string, command: LockCommand): Promise<Answer> {
  const P = `/v1/pools/${pool}`;
  switch (command.kind) {
    case 'begin':
      return client.call(`PUT ${P}/sessions/${command.name}`, { ttlMs: LONG_MS });
    case 'end':
      return client.call(`DELETE ${P}/sessions/${command.session.session}`, undefined, as(command.session));
    case 'acquire': {
      const { session, mode: wanted, scopes: on } = command;
      return client.call(`POST ${P}/locks`, { ...session, mode: wanted, scopes: on, ...waitOf(command.wait) });
    }
    case 'change': {
      const { session, lock, mode: wanted, scopes: on } = command;
      return client.call(
        `PATCH ${P}/locks/${lock}`,
        // Without either it would be about the wait only.
        { mode: wanted, scopes: on, ...(wanted || on ? waitOf(command.wait) : {}) },
        as(session),
      );
    }
    case 'release':
      return client.call(`DELETE ${P}/locks/${command.lock}`, undefined, as(command.session));
    case 'break':
      return client.call(`POST ${P}/locks/${command.lock}/break`);
    case 'write':
      return sendWrite(client, P, command);
  }
}

/** One place as a patch, with headers; two as a batch, with members. */
function sendWrite(client: Client, P: string, { places, value, as: who }: LockCommand & { kind: 'write' }) {
  const [first] = places as [Place];
  if (places.length === 1) {
    const headers =
      who.kind === 'session'
        ? as(who.session)
        : who.kind === 'proof'
          ? { 'stargus-lock': `${who.lock};fence=${who.fence}` }
          : {};
    const attributes = { [first.name]: value };
    return client.call(`PATCH ${P}/collections/things/items/${first.key}`, { attributes }, headers);
  }
  const ops = places.map(({ key, name }) => ({
    op: 'merge',
    collection: 'things',
    key,
    attributes: { [name]: value },
  }));
  const members =
    who.kind === 'session'
      ? { session: who.session }
      : who.kind === 'proof'
        ? { locks: [{ lock: who.lock, fence: who.fence }] }
        : {};
  return client.call(`POST ${P}/batch`, { ...members, ops });
}

function as({ session, epoch }: SessionRef): Headers {
  return { 'stargus-session': `${session};epoch=${epoch}` };
}

/** Undefined: the answer is what the model says. */
export function difference(outcome: Outcome, answer: Answer): string | undefined {
  const { status, body } = answer;
  if (status !== outcome.status) return `${status} instead of ${outcome.status} ${outcome.code ?? ''}`;
  for (const [member, expected] of Object.entries(outcome.body)) {
    const told = comparable(member, body[member]);
    if (!isDeepStrictEqual(told, comparable(member, expected)))
      return `${member} is ${JSON.stringify(told)} instead of ${JSON.stringify(expected)}`;
  }
  return undefined;
}

/** Holders in whichever order they are told; until when it waits is not the model's. */
function comparable(member: string, told: unknown): unknown {
  if (member === 'holders') return (told as { lock: string }[]).map(({ lock }) => lock).sort();
  if (member !== 'wanted' || told === undefined) return told;
  const { mode: wanted, scopes: on } = told as { mode: Mode; scopes: Scope[] };
  return { mode: wanted, scopes: on };
}
