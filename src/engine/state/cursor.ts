/**
 * A cursor is `<epoch>-<revision>`: a place in one life of a pool's log. The epoch changes when a pool is restored or
 * made anew, so that a cursor of the old life is recognized instead of being read as a place in the new one.
 */
import { randomBytes } from 'node:crypto';
import { Problem } from '../errors.js';

export interface Cursor {
  epoch: string;
  revision: number;
}

const CURSOR = /^([A-Za-z0-9-]{1,47})-(0|[1-9]\d{0,15})$/;

export function formatCursor(epoch: string, revision: number): string {
  return `${epoch}-${revision}`;
}

/** `place` names the parameter or header for the message. */
export function parseCursor(text: string, place: string): Cursor {
  const match = CURSOR.exec(text);
  if (!match) throw new Problem('invalidCursor', `${place} is not a cursor that this server gave out.`);
  return { epoch: match[1] as string, revision: Number(match[2]) };
}

export function newEpoch(): string {
  return randomBytes(6).toString('hex');
}
