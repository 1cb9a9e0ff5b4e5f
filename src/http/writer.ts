/** What a request says of its session: the header `Stargus-Session`, on any call about a pool. */
import type { FastifyRequest } from 'fastify';
import { Problem } from '../engine/errors.js';
import type { SessionRef } from '../engine/sessions/session-states.js';
import type { Writer } from '../engine/sessions/writer.js';

const SESSION = /^\s*([A-Za-z0-9_][A-Za-z0-9_.~-]{0,127})\s*;\s*epoch\s*=\s*(\d{1,15})\s*$/;

/** Undefined where the request names no session. */
export function writerOf({ headers }: FastifyRequest): Writer | undefined {
  const session = headers['stargus-session'];
  return session === undefined ? undefined : { session: parseSession(session) };
}

function parseSession(header: string | string[]): SessionRef {
  const match = typeof header === 'string' ? SESSION.exec(header) : null;
  if (!match) {
    throw new Problem(
      'badRequest',
      'Stargus-Session must be `<session>;epoch=<n>`, as the session’s answer gave them.',
    );
  }
  return { session: match[1] as string, epoch: Number(match[2]) };
}

/** The session that the header names, where the call can't do without. */
export function neededSession(writer: Writer | undefined): SessionRef {
  if (writer?.session) return writer.session;
  throw new Problem(
    'badRequest',
    'Send the header `Stargus-Session: <session>;epoch=<n>`, with the epoch that the session’s answer gave.',
  );
}
