/** What notifiers are given to deliver with: webhooks, the queues of sessions, and who says whether an owner is still there. */
import type { Access } from './engine/access/access.js';
import type { PublicUrl } from './engine/access/public-url.js';
import { Seal } from './engine/access/secrets.js';
import type { Engine, Outlets } from './engine/engine.js';
import { limits } from './engine/limits.js';
import type { Owner } from './engine/notifiers/owner.js';
import { enqueue } from './engine/queues/enqueue.js';
import { anonymous } from './engine/subject.js';
import type { Config } from './platform/config.js';
import { WebhookSender } from './platform/webhooks.js';
import type { Database } from './store/dialect.js';
import { SqlNotifiers } from './store/notifiers.js';

/** `engine` and `access` are made later than this, and before anything is delivered. */
export function outletsOf(
  config: Config,
  database: Database,
  url: PublicUrl,
  later: { readonly engine: () => Engine; readonly access: () => Access },
): Outlets {
  return {
    store: new SqlNotifiers(database),
    webhooks: newWebhooks(config),
    queues: {
      enqueue: (pool, epoch, entry) => later.engine().committer.submit(pool, enqueue({ epoch, deliveries: [entry] })),
    },
    owners: { whyEnded: (owner) => whyEnded(owner, later.access(), config) },
    url,
    seal: new Seal(config.STARGUS_SECRET, 'notifier secret'),
  };
}

/** Why there is nobody any more by whose rights a notifier watches. */
async function whyEnded({ subject, keys }: Owner, access: Access, config: Config): Promise<string | undefined> {
  if (subject.id === anonymous.id && config.STARGUS_AUTH === 'required')
    return 'It was written where no authentication was required, by nobody who could be known.';
  for (const key of keys) if (!(await access.apiKeys.lasts(key))) return 'The API key by which it was written is gone.';
  return undefined;
}

function newWebhooks({ STARGUS_WEBHOOK_PRIVATE: isPrivate, STARGUS_AUTH }: Config): WebhookSender {
  return new WebhookSender({
    isPrivateAllowed: isPrivate === 'auto' ? STARGUS_AUTH === 'open' : isPrivate === '1',
    timeoutMs: limits.deliveryMs,
    connectMs: limits.deliveryConnectMs,
    answerBytesMax: limits.deliveryAnswerBytesMax,
    answerMs: limits.deliveryAnswerMs,
    urlLengthMax: limits.webhookUrlLengthMax,
    channelsMax: limits.deliveryChannelsMax,
    channelsPerHostMax: limits.deliveryChannelsPerHostMax,
  });
}
