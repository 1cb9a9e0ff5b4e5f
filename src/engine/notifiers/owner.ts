/**
 * Whose a notifier is: the subject that wrote it last, with what its token was narrowed to. It watches by these rights for as long
 * as there is whoever has them, whether or not they are logged in.
 */
import type { Restriction } from '../access/grant.js';
import type { Subject } from '../subject.js';

/** What is kept of a subject, as JSON. */
interface Kept {
  readonly id: string;
  readonly isUnbound: boolean;
  readonly host?: string | undefined;
  readonly restrictions: readonly Restriction[];
  readonly isBound?: boolean | undefined;
  readonly application?: string | undefined;
  readonly publisher?: string | undefined;
  readonly assistants?: readonly string[] | undefined;
  /** API keys by which it was written, which end it. */
  readonly keys: readonly string[];
}

export interface Owner {
  readonly subject: Subject;
  readonly keys: readonly string[];
}

/** The subject as text. */
export function keepOwner(subject: Subject): string {
  const { id, isUnbound, host, restrictions, isBound, application, publisher, assistants, login, lineage } = subject;
  const keys = [login, ...(lineage ?? [])].filter((name) => name?.startsWith('apikey:')) as string[];
  const kept: Kept = { id, isUnbound, host, restrictions, isBound, application, publisher, assistants, keys };
  return JSON.stringify(kept);
}

export function readOwner(text: string): Owner {
  const { keys, ...subject } = JSON.parse(text) as Kept;
  return { subject, keys };
}
