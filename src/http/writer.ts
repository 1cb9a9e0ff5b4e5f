/** What a request says of itself: its session, in `Stargus-Session`, and the locks that it holds, in `Stargus-Lock`. */
import type { FastifyRequest } from 'fastify';
import { Problem } from '../engine/errors.js';
import { limits } from '../engine/limits.js';
import type { SessionRef } from '../engine/sessions/session-states.js';
import type { LockProof, Writer } from '../engine/sessions/writer.js';

const SESSION = /^\s*([A-Za-z0-9_][A-Za-z0-9_.~-]{0,127})\s*;\s*epoch\s*=\s*(\d{1,15})\s*$/;

const LOCK = /^\s*([A-Za-z0-9_.~-]{1,128})\s*;\s*fence\s*=\s*(\d{1,15})\s*$/;

/** Undefined where the request says nothing. */
export function writerOf({ headers }: FastifyRequest): Writer | undefined {
  const session = headers['stargus-session'];
  const locks = headers['stargus-lock'];
  if (session === undefined && locks === undefined) return undefined;
  return {
    ...(session !== undefined && { session: parseSession(session) }),
    ...(locks !== undefined && { locks: parseLocks(String(locks)) }),
  };
}

export function namesSession({ headers }: FastifyRequest): boolean {
  return headers['stargus-session'] !== undefined;
}

function parseLocks(header: string): LockProof[] {
  const parts = header.split(',');
  return parts.map((part) => {
    const match = LOCK.exec(part);
    if (!match || parts.length > limits.lockProofsMax)
      throw new Problem(
        'badRequest',
        `Stargus-Lock must be \`<lock>;fence=<n>\`, or up to ${limits.lockProofsMax} of them separated by commas.`,
      );
    return { lock: match[1] as string, fence: Number(match[2]) };
  });
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
