/** Who writes, as far as the request says so: the session that speaks, and the locks that it proves to hold. */
import type { SessionRef } from './session-states.js';

export interface Writer {
  readonly session?: SessionRef | undefined;
  /** The same session as it is named elsewhere in the request. */
  readonly alias?: SessionRef | undefined;
  readonly locks?: readonly LockProof[] | undefined;
}

/** A lock that is held since the revision `fence`, says the client. */
export interface LockProof {
  readonly lock: string;
  readonly fence: number;
}
