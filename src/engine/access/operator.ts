/** The operator: whom no policy binds, and who alone may do what concerns the whole server, as everybody may at an open one. */
import { Problem } from '../errors.js';
import { isFree, type Subject } from '../subject.js';

export const operator: Subject = { id: 'operator', isUnbound: true, restrictions: [] };

/** Refuses with `forbidden` who isn't the operator. `what` is what only the operator does, as in “approving keys”. */
export function checkOperator(subject: Subject, what: string): void {
  if (!isFree(subject)) throw new Problem('forbidden', `${what} is the operator’s alone.`);
}

/** Refuses who has a token that was narrowed: it is for pools, and says nothing of `what`. */
export function checkUnrestricted({ restrictions }: Subject, what: string): void {
  if (restrictions.length > 0)
    throw new Problem(
      'forbidden',
      `The token is narrowed to what its authorization_details name, which ${what} are not.`,
    );
}
