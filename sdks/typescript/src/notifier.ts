/** Making a notifier: a saved watch with a place to deliver (docs/NOTIFIERS.md). */
import { poolPath } from './paths.js';
import type { Pipeline } from './pipeline.js';
import type { Where } from './where.js';
import type { WriteOptions } from './writes.js';

export interface NotifierDefinition {
  /** `add`, `change`, `delete`, `attach`, `detach`, `lock`. */
  readonly events: readonly string[];
  readonly collection?: string;
  readonly where?: Where;
  readonly prefix?: string;
  readonly values?: 'changed' | 'full' | 'none';
  readonly target:
    | { readonly webhook: { readonly url: string } }
    | { readonly session: string }
    | { readonly log: string };
  /** Where a new one begins: `now`, `start` or a cursor. */
  readonly since?: string;
  readonly retry?: { readonly delaysMs: readonly number[] };
  readonly description?: string;
}

export interface Notifier {
  /** Told once, when it is made: keep it for `verifyWebhook`. */
  readonly secret?: string;
  readonly status: string;
  /** All that the server says of it. */
  readonly [member: string]: unknown;
}

export async function putNotifier(
  pipeline: Pipeline,
  pool: string,
  name: string,
  definition: NotifierDefinition,
  { idempotencyKey, signal }: WriteOptions = {},
): Promise<Notifier> {
  const { json } = await pipeline.request({
    method: 'PUT',
    path: `${poolPath(pool)}/notifiers/${encodeURIComponent(name)}`,
    body: definition,
    idempotencyKey,
    signal,
  });
  return (json ?? {}) as Notifier;
}
