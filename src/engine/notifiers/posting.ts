/** Sends an event to a notifier's target: signed to a webhook, or into the queue of a session. */
import type { PublicUrl } from '../access/public-url.js';
import { Problem } from '../errors.js';
import { type JsonObject, parseJson } from '../state/json.js';
import type { Replica } from '../state/replica.js';
import { type Tracing, traceHeaders } from '../tracing.js';
import type { NotifierMessage, Origin } from './events.js';
import type { NotifierDefinition } from './notifier.js';
import type { StoredNotifier } from './notifier-store.js';
import type { Outcome, QueueTarget, Webhooks } from './targets.js';
import type { WebhookSecrets } from './webhook-secrets.js';

/** A way to a target that is open. */
export interface Post {
  /** Rejects only when `signal` ends it. */
  send(message: NotifierMessage, signal: AbortSignal): Promise<Outcome>;
  close(): void;
}

type Opened =
  | { readonly post: Post }
  /** As many are delivered to at once as this node does. */
  | { readonly crowded: true }
  /** It can't be delivered to before somebody does something. */
  | { readonly stopped: string };

const EVENT_TYPE = 'application/cloudevents+json';

export class Posting {
  constructor(
    readonly webhooks: Webhooks,
    private readonly queues: QueueTarget,
    private readonly secrets: WebhookSecrets,
    private readonly url: Pick<PublicUrl, 'href'>,
    /** The database's clock, in ms since 1970. */
    private readonly now: () => Promise<number>,
    private readonly tracing: Tracing,
  ) {}

  originOf(pool: string, epoch: string, notifier: string): Origin {
    return { notifier, epoch, source: `${this.url.href}/v1/pools/${pool}` };
  }

  async open(
    pool: Pick<Replica, 'name' | 'epoch'>,
    notifier: StoredNotifier,
    { target }: NotifierDefinition,
  ): Promise<Opened> {
    if ('session' in target) return this.#openQueue(pool, notifier, target.session);
    const { url } = target.webhook;
    // The server may have been told otherwise since it was written.
    const wrong = this.webhooks.faultOf(url);
    if (wrong !== undefined) return { stopped: `Its URL ${wrong}` };
    const signer = await this.secrets.of(notifier);
    if (!signer) {
      return {
        stopped:
          'Its secret was encrypted under another STARGUS_SECRET than this server’s. Set that one, or make a new secret: POST …/rotateSecret, and then POST …/resume.',
      };
    }
    const channel = this.webhooks.open(url);
    if (!channel) return { crowded: true };
    // One clock for all nodes; between two events of a run it goes on as this process's does.
    const offset = (await this.now()) - performance.now();
    const send = ({ id, body, trace }: NotifierMessage, signal: AbortSignal) => {
      const headers = signer.headers(id, body, offset + performance.now());
      const attributes = { 'stargus.pool': pool.name, 'stargus.notifier': notifier.name };
      return this.tracing.span('deliver', { parent: trace, kind: 'client', attributes }, async (span) => {
        const carried = traceHeaders(span.trace ?? trace);
        const outcome = await channel.post({ 'content-type': EVENT_TYPE, ...headers, ...carried }, body, signal);
        if (outcome.status !== undefined) span.set({ 'http.response.status_code': outcome.status });
        if (!outcome.ok) span.end('refused');
        return outcome;
      });
    };
    return { post: { send, close: () => channel.close() } };
  }

  #openQueue(
    pool: Pick<Replica, 'name' | 'epoch'>,
    { name, ownerName, generation, rewinds }: StoredNotifier,
    session: string,
  ): Opened {
    const series = `${generation}.${rewinds}`;
    const send = async ({ id, body }: NotifierMessage): Promise<Outcome> => {
      const began = performance.now();
      const msSince = () => Math.round(performance.now() - began);
      try {
        const event = parseJson(body) as JsonObject;
        const entry = { session, notifier: name, owner: ownerName, delivery: id, event, series };
        await this.queues.enqueue(pool.name, pool.epoch, entry);
        return { ok: true, ms: msSince() };
      } catch (error) {
        if (!(error instanceof Problem) || error.status >= 500) throw error;
        return { ok: false, status: error.status, error: error.detail, ms: msSince() };
      }
    };
    return { post: { send, close: () => undefined } };
  }
}
