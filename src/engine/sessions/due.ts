/** Ends the sessions whose lease is over and the waits and graces that are, and forgets what was remembered long enough: by a commit for each pool. */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import type { Store, Telemetry } from '../ports.js';
import type { Committer } from '../state/committer.js';
import { system } from '../subject.js';
import { endDue } from './session-commands.js';

export class Due {
  constructor(
    private readonly store: Store,
    private readonly committer: Committer,
    private readonly telemetry: Telemetry,
  ) {}

  /** Does everything that is due. `pause` is awaited between commits, and ends the sweep when it answers false. */
  async sweep(pause: () => Promise<boolean>): Promise<void> {
    // A pool that can't be swept now is no reason to let all others wait.
    const failed: number[] = [];
    for (let more = true; more; ) {
      const due = await this.store.dueSessions(limits.dueSessionsMax, failed);
      let count = 0;
      for (const { pool, poolId, sessions } of due) {
        count += sessions.length;
        if (!(await this.#end(pool, sessions))) failed.push(poolId);
        if (!(await pause())) return;
      }
      more = count >= limits.dueSessionsMax && failed.length < limits.duePoolsFailedMax;
    }
  }

  /** All in one commit, or as many as they need; if that can't be made, each in its own, so that one which can't be ended is no reason to keep all others. */
  async #end(pool: string, sessions: readonly string[]): Promise<boolean> {
    try {
      for (let left = sessions; left.length > 0; ) {
        const submitted = await this.committer.submit(pool, endDue({ subject: system, sessions: left }));
        left = submitted.replayed ? [] : submitted.answer.left;
      }
      return true;
    } catch (error) {
      if (error instanceof Problem && error.code === 'unavailable') return false;
      if (sessions.length === 1) {
        this.telemetry.warn('A session could not be ended', { error: String((error as Error).stack) });
        return false;
      }
      for (const session of sessions) await this.#end(pool, [session]);
      return false;
    }
  }
}
