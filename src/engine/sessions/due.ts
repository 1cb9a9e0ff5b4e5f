/** Ends the sessions whose lease is over and the waits and graces that are, and forgets what was remembered long enough: by a commit for each pool. */
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
    for (let more = true; more; ) {
      const due = await this.store.dueSessions(limits.dueSessionsMax);
      more = false;
      for (const { pool, sessions } of due) {
        more ||= sessions.length >= limits.dueSessionsMax;
        try {
          await this.committer.submit(pool, endDue({ subject: system, sessions }));
        } catch (error) {
          more = false;
          // One pool that can't be swept now is no reason to let all others wait.
          this.telemetry.warn('Sessions could not be ended', { error: String((error as Error).stack) });
        }
        if (!(await pause())) return;
      }
    }
  }
}
