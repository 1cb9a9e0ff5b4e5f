/**
 * Who asks, and how far their token lets them go. Whoever authenticates makes one for each request; the engine asks the policy of
 * the pool what its subject may do, whichever way the request came.
 */
import { createHash } from 'node:crypto';
import type { Channel } from './access/channel.js';
import type { Restriction } from './access/grant.js';

export interface Subject {
  /** A stable name, written into the log beside what the subject did: of a person or program the URL of its identity. */
  readonly id: string;
  /** No policy binds it: the operator, the system, and everybody at a server that is open. */
  readonly isUnbound: boolean;
  /** The host of the identity's URL, in lower case. */
  readonly host?: string | undefined;
  /** What its token is narrowed to, link by link: each of them must allow what is done. */
  readonly restrictions: readonly Restriction[];
  /** When its token is over, in ms since 1970: its streams end no later. */
  readonly expiresAt?: number | undefined;
  /** The login that its token is of, or the key: once that is revoked, what is open under it ends. */
  readonly login?: string | undefined;
  /** The logins and delegations that its login was made from, which end it as well. */
  readonly lineage?: readonly string[] | undefined;
  /** Its token is bound to a key, which has signed this request. */
  readonly isBound?: boolean | undefined;
  /** What its requests and answers are encrypted under. */
  readonly channel?: Channel | undefined;
  /** The application that its token was made for, and who publishes that. */
  readonly application?: string | undefined;
  readonly publisher?: string | undefined;
  /** Who acts for it: an assistant, the last of them first. */
  readonly assistants?: readonly string[] | undefined;
}

/**
 * Nothing binds the subject, so that no policy has to be looked at: the operator, by a token that isn't narrowed, and everybody at
 * an open server.
 */
export function isFree({ isUnbound, restrictions }: Subject): boolean {
  return isUnbound && restrictions.length === 0;
}

/** Everybody, where no authentication is required. */
export const anonymous: Subject = { id: 'anonymous', isUnbound: true, restrictions: [] };

/** Who the commits are by that nobody asked for. */
export const system: Subject = { id: 'system', isUnbound: true, restrictions: [] };

/** Long enough that nobody finds another restriction with it. */
const DIGEST_LENGTH = 22;
const owners = new WeakMap<Subject, string>();

/**
 * Whose sessions, locks and stored answers are the subject's: its own, and of a weaker token its own again, so that it neither takes
 * over what the stronger one has nor reads what that was answered.
 */
export function ownerOf(subject: Subject): string {
  const { id, restrictions } = subject;
  if (restrictions.length === 0) return id;
  let owner = owners.get(subject);
  if (owner === undefined) {
    const digest = createHash('sha256').update(JSON.stringify(restrictions)).digest('base64url');
    owner = `${id}#${digest.slice(0, DIGEST_LENGTH)}`;
    owners.set(subject, owner);
  }
  return owner;
}
/** Who has not said who they are, where that isn't needed: a public answer, or a request that proves by itself that it may. */
export const nobody: Subject = { id: 'nobody', isUnbound: false, restrictions: [] };
