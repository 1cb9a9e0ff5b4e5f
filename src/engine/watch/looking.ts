/**
 * A view of the log by the policy of the revision that was read last: what a subject sees of each commit, in order, and of one that
 * changes the policy what that makes of what they saw. Who reads pages of changes and who delivers them look so.
 */
import type { Change, Commit } from '../state/model.js';
import type { Outlook } from './outlook.js';
import { View, type ViewRequest } from './view.js';

/** What a commit that changes the policy makes of a view; undefined where that is too much to tell. */
export type TurnOf = (commit: Commit, before: View, after: View) => Promise<readonly Change[] | undefined>;

export class Looking {
  view: View;

  constructor(
    private readonly request: ViewRequest,
    private readonly outlook: Outlook,
    private readonly turnOf: TurnOf,
  ) {
    this.view = this.#newView();
  }

  get isFree(): boolean {
    return this.outlook.isFree;
  }

  /** Looks on by the policy of a revision that the replica has reached. Throws LogExpired where it can't be told any more. */
  async lookAt(revision: number): Promise<void> {
    if (this.isFree) return;
    await this.outlook.lookAt(revision);
    this.view = this.#newView();
  }

  /** What is seen of the next commit; undefined where it changes the policy, and more of what is seen than is told. */
  see(commit: Commit): readonly Change[] | Promise<readonly Change[] | undefined> {
    return this.outlook.isTurnedBy(commit) ? this.#turn(commit) : this.view.seeAll(commit);
  }

  async #turn(commit: Commit): Promise<readonly Change[] | undefined> {
    const { view: before } = this;
    await this.lookAt(commit.revision);
    return this.turnOf(commit, before, this.view);
  }

  #newView(): View {
    return new View(this.request, undefined, this.outlook.sight(this.request.collection));
  }
}
