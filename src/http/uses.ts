/**
 * What each request about a pool uses, told where it ends: that it came, whether it changed anything, and its bytes. They are
 * those of bodies, as their lengths say; of an answer without a length, as an export has, those that went over the connection
 * meanwhile. Streams are told of by themselves while they are open. Who isn't known isn't told of, nor are public routes.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Subject } from '../engine/subject.js';
import { rawBody } from './body.js';
import type { RouteSpec } from './route.js';

/** Hears of what is used; the engine's metering. */
export interface Uses {
  request(pool: string, subject: string, isWrite: boolean, bytesIn: number, bytesOut: number): void;
  /** What this answers is to be called when the stream ends, or was refused. */
  stream(pool: string, subject: string, bytesSent: () => number): (cameAbout: boolean) => void;
}

/** What of a route matters here. */
export interface UseKind {
  readonly isWrite: boolean;
  readonly isStream: boolean;
  /** Its answers may have no length. */
  readonly isMeasured: boolean;
}

interface Noted {
  readonly subject: string;
  /** What the connection had sent when the request began. */
  readonly sentBefore: number;
  /** Of a body that is read as it arrives. */
  bytesIn: number;
}

const NOTED = Symbol('noted');
type WithNoted = FastifyRequest & { [NOTED]?: Noted };

export function useKindOf(spec: RouteSpec, isWrite: boolean): UseKind | undefined {
  if (spec.public || !spec.path.includes('/:pool')) return undefined;
  const isStream = spec.streaming ?? false;
  const isMeasured = !isStream && Object.values(spec.answers).some(({ contentType }) => contentType !== undefined);
  return { isWrite, isStream, isMeasured };
}

/** Who asks is known. */
export function noteUser(request: FastifyRequest, { id }: Subject, { isMeasured }: UseKind): void {
  const sentBefore = isMeasured ? request.raw.socket.bytesWritten : 0;
  (request as WithNoted)[NOTED] = { subject: id, sentBefore, bytesIn: 0 };
}

/** So much has come of a body that is read as it arrives. */
export function noteBytesIn(request: FastifyRequest, bytes: number): void {
  const noted = (request as WithNoted)[NOTED];
  if (noted) noted.bytesIn += bytes;
}

/** The request has ended. `identify` tells who asked where that wasn't looked at before it was refused. */
export function tellUse(
  uses: Uses,
  request: FastifyRequest,
  reply: FastifyReply,
  kind: UseKind,
  identify: () => Subject | undefined,
): void {
  const { pool } = request.params as { pool: string };
  const noted = (request as WithNoted)[NOTED];
  const subject = noted?.subject ?? identify()?.id;
  if (subject === undefined) return;
  const isWrite = kind.isWrite && reply.statusCode < 400;
  uses.request(pool, subject, isWrite, bytesInOf(request, noted), bytesOutOf(request, reply, kind, noted));
}

/** Tells of a stream for as long as the work lasts. */
export async function telling(
  uses: Uses,
  call: { request: FastifyRequest; reply: FastifyReply; subject: Subject },
  work: () => Promise<unknown>,
): Promise<void> {
  const { request, reply, subject } = call;
  const { socket } = request.raw;
  const { pool } = request.params as { pool: string };
  const ended = uses.stream(pool, subject.id, () => socket.bytesWritten);
  try {
    await work();
  } finally {
    // A refusal is sent later.
    ended(reply.raw.headersSent);
  }
}

function bytesInOf(request: FastifyRequest, noted: Noted | undefined): number {
  const { 'content-length': length, 'transfer-encoding': encoding } = request.headers;
  if (length !== undefined) return Number(length);
  return encoding === undefined ? 0 : rawBody(request).length || (noted?.bytesIn ?? 0);
}

function bytesOutOf(
  { method, raw }: FastifyRequest,
  reply: FastifyReply,
  kind: UseKind,
  noted: Noted | undefined,
): number {
  if (method === 'HEAD') return 0;
  const length = reply.getHeader('content-length');
  if (length !== undefined) return Number(length);
  return kind.isMeasured && noted ? raw.socket.bytesWritten - noted.sentBefore : 0;
}
