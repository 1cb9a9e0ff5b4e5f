/**
 * How a session is told of its operations: each session that has had one done has an item in the system collection `_operations`,
 * which says of the last one what it came to, and is written in the same transaction as that is. So the news lie in the log
 * in their place, one after the other, and whoever resumes the session's stream misses none. What the answer says in its body isn't
 * repeated, but for a refusal.
 */
import type { Definitions } from '../dictionary/definitions.js';
import type { Telemetry } from '../ports.js';
import { Draft, type GroupState } from '../state/draft.js';
import type { JsonObject } from '../state/json.js';
import type { Attributes, Change, Commit, ItemRef } from '../state/model.js';
import type { Reply } from '../state/reply.js';
import { system } from '../subject.js';

export const OPERATIONS = '_operations';

export function newsRef(session: string): ItemRef {
  return { collection: OPERATIONS, key: session };
}

export interface OperationNews {
  /** The session's id. */
  readonly session: string;
  readonly operation: string;
  readonly pool: string;
  readonly answer: Reply;
}

/**
 * The commit that tells a session, after the one that its operation came to. The session's item must be loaded. Undefined where
 * the pool has no room for it: that is no reason to refuse what is judged already.
 */
export function commitNews(
  news: OperationNews,
  state: GroupState,
  { definitions, telemetry }: { definitions: Definitions; telemetry: Telemetry },
): Commit | undefined {
  const draft = new Draft(state, definitions, system, true);
  try {
    draft.write(newsRef(news.session), attributesOf(news));
    const changes = draft.accept(false);
    return { revision: state.revision, time: state.now, subject: system.id, changes };
  } catch (error) {
    telemetry.warn('A session could not be told of its operation', { pool: news.pool, error: String(error) });
    return undefined;
  }
}

function attributesOf({ operation, pool, answer: { status, headers, body } }: OperationNews): Attributes {
  const revision = headers['stargus-revision'];
  return {
    operation,
    status: 'done',
    location: operationPath(pool, operation),
    result: {
      status,
      ...(revision !== undefined && { revision: Number(revision) }),
      ...(status >= 400 && { problem: JSON.parse(body) as JsonObject }),
    },
  };
}

/** What a change of the session's item tells it. Pure: replayed from the log it is the same. */
export function operationEventOf({
  collection,
  key,
  after,
}: Change): { session: string; data: JsonObject } | undefined {
  return collection === OPERATIONS && after ? { session: key, data: after.attributes } : undefined;
}

export function operationPath(pool: string, id: string): string {
  return `/v1/pools/${pool}/operations/${id}`;
}
