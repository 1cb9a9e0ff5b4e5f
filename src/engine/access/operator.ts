/** The operator: whom no policy binds, and who alone may do what concerns the whole server. */
import { Problem } from '../errors.js';
import type { Subject } from '../subject.js';

export const operator: Subject = { id: 'operator', isUnbound: true, restrictions: [] };

/** Refuses who has a token that was narrowed: it is for pools, and says nothing of `what`. */
export function checkUnrestricted({ restrictions }: Subject, what: string): void {
  if (restrictions.length > 0)
    throw new Problem(
      'forbidden',
      `The token is narrowed to what its authorization_details name, which ${what} are not.`,
    );
}
