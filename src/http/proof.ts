/** The proof that a request without a body brings along. */
import { Problem } from '../engine/errors.js';
import type { Call } from './route.js';

export function proofOf({ request }: Call): string | undefined {
  const header = request.headers['stargus-proof'];
  if (header === undefined) return undefined;
  if (typeof header === 'string' && header !== '') return header;
  throw new Problem('badRequest', 'Stargus-Proof must be one JWS in the compact form.');
}
