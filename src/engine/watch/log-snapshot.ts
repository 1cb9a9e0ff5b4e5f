/**
 * The snapshot of the collection `_changes` at a revision: the commits that the log retains up to it. The log only grows at
 * its end, so nothing of later commits has to be undone. Throws LogExpired where compaction overtakes the reader.
 */
import { limits } from '../limits.js';
import { CHANGES, keyOfRevision, revisionsIn, stateOfCommit } from '../state/log-items.js';
import type { ItemState } from '../state/model.js';
import type { Replica } from '../state/replica.js';
import { turn } from '../turn.js';
import type { LogReader } from './log-reader.js';
import { seenCommit } from './sight.js';
import type { View } from './view.js';

const TURN_COMMITS = 500;

export async function* logSnapshot(
  log: LogReader,
  replica: Replica,
  view: View,
  revision: number,
): AsyncGenerator<{ key: string; state: ItemState }[]> {
  const { first, last } = revisionsIn(view.range, { oldestRevision: replica.oldestRevision, revision });
  let page: { key: string; state: ItemState }[] = [];
  let bytes = 0;
  let commits = 0;
  for await (const commit of log.between(replica, first - 1, last)) {
    const key = keyOfRevision(commit.revision);
    const past = await view.sight.past?.(commit.revision);
    const seen = seenCommit(past?.after ?? view.sight, commit, past?.before);
    const state = view.itemOf(CHANGES, key, stateOfCommit(seen));
    if (state) page.push({ key, state });
    bytes += state?.json.length ?? 0;
    // Of commits that nobody may see there may be many in a row.
    if (++commits % TURN_COMMITS === 0) await turn();
    if (bytes < limits.snapshotPartBytesMax) continue;
    yield page;
    page = [];
    bytes = 0;
    // From the ring they come without a pause, and others want their turn.
    await turn();
  }
  yield page;
}
