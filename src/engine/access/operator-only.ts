/** Who may do what concerns the whole server: the operator, by a token that isn't narrowed, and everybody at an open server. */
import { Problem } from '../errors.js';
import type { Subject } from '../subject.js';

export function isOperator({ isUnbound, restrictions }: Subject): boolean {
  return isUnbound && restrictions.length === 0;
}

/** Refuses with `forbidden` who isn't the operator. `what` is what only the operator does, as in “approving keys”. */
export function checkOperator(subject: Subject, what: string): void {
  if (!isOperator(subject)) throw new Problem('forbidden', `${what} is the operator’s alone.`);
}
