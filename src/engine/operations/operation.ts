/**
 * An operation is a write that was accepted and is done later, by whichever process does such work. Everything that it takes is kept
 * with it: the request as it was sent, and who asked. What holds for them is looked up when it is done.
 */
import { createHash } from 'node:crypto';
import type { Reply } from '../state/reply.js';
import { ownerOf, type Subject } from '../subject.js';

/** The request as it came, as far as it matters for what is done. */
export interface OperationRequest {
  readonly method: string;
  /** The path with its query, not a byte of it changed. */
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Under which the server was asked, for the links in its answer. */
  readonly origin: string;
  readonly address: string;
}

/** What everybody who may see an operation is told of it. Times are the database's, in ms since 1970. */
export interface Operation {
  readonly id: string;
  readonly pool: string;
  /** What is asked for, by the name that the contract gives it. */
  readonly call: string;
  /** Whose it is; see `callerOf`. */
  readonly caller: string;
  readonly acceptedAt: number;
  /** When it was last begun; undefined while it waits. */
  readonly startedAt: number | undefined;
  readonly doneAt: number | undefined;
  /** One that isn't done by then is given up, one that is done forgotten. */
  readonly expiresAt: number;
  /** What the request came to, once it is done. */
  readonly answer: Reply | undefined;
}

/** An operation that is to be done. */
export interface OperationTask {
  readonly id: string;
  readonly pool: string;
  /** The id of the session that is told. */
  readonly session: string | undefined;
  readonly subject: Subject;
  readonly request: OperationRequest;
  readonly body: Buffer | undefined;
}

export type OperationStatus = 'waiting' | 'running' | 'done';

export function statusOf({ startedAt, doneAt }: Pick<Operation, 'startedAt' | 'doneAt'>): OperationStatus {
  if (doneAt !== undefined) return 'done';
  return startedAt === undefined ? 'waiting' : 'running';
}

/** Long enough that nobody finds another one's. */
const CALLER_LENGTH = 32;

/**
 * Whose an operation is, and whose other operations it waits for: everybody who has the same sessions, locks and stored answers. A
 * digest, for it names work in queues that have rules for names.
 */
export function callerOf(subject: Subject): string {
  return createHash('sha256').update(ownerOf(subject)).digest('base64url').slice(0, CALLER_LENGTH);
}

/** The subject as it is kept. Its token's end isn't: what was accepted is done, however short a token is good for. */
export function subjectText({ expiresAt: _expiresAt, channel: _channel, ...subject }: Subject): string {
  return JSON.stringify(subject);
}
