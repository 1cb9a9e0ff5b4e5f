/** Who writes, as far as the request says so: the session that speaks. */
import type { SessionRef } from './session-states.js';

export interface Writer {
  readonly session?: SessionRef | undefined;
}
