/** The limits of notifiers and of what they deliver, each with its reason; a part of `limits`. */

const KiB = 1024;
const MiB = 1024 * KiB;

export const deliveryLimits = {
  /** All of a pool's are looked through for each of its commits. */
  notifiersPerPoolMax: 100,
  /** As long as proxies and servers take a URL. */
  webhookUrlLengthMax: 2048,
  /** What an event may be: a receiver reads it into memory. Of a larger commit the names are sent, and where to read the rest. */
  notifierEventBytesMax: 1 * MiB,
  /** An attempt, and the connecting of it: as long as Standard Webhooks gives a receiver at least. */
  deliveryMs: 15_000,
  deliveryConnectMs: 5_000,
  /** What is read of a receiver's answer, and for how long, so that its connection can be kept. */
  deliveryAnswerBytesMax: 4 * KiB,
  deliveryAnswerMs: 1_000,
  /** Receivers to which a node delivers at once, in all and at one host: nobody is to be overrun by us. */
  deliveryChannelsMax: 64,
  deliveryChannelsPerHostMax: 8,
  /** How long a notifier waits where there are as many. */
  deliveryCrowdedMs: 250,
  /** A lease on a notifier, and how often it is renewed: when its node is killed, another goes on after the first. */
  drainLeaseMs: 6_000,
  drainRenewMs: 2_000,
  /** For so long one notifier's backlog is delivered before others have their turn. */
  drainTurnMs: 5_000,
  /** What may be delivered without being noted: so many a crash repeats. */
  drainUnnotedMax: 64,
  drainUnnotedMs: 200,
  /** Waits between attempts that a definition may choose: how many, how long each and all together, in ms. */
  notifierDelaysMax: 20,
  notifierDelayMsMin: 100,
  notifierDelayMsMax: 24 * 3600 * 1000,
  notifierDelaysMsMax: 7 * 24 * 3600 * 1000,
  /** A receiver that asks for more time has at most so much. */
  notifierRetryAfterMsMax: 24 * 3600 * 1000,
  /** Deliveries that are looked back on, of a notifier. */
  deliveriesKept: 100,
  /** Parked ones, and their bytes: the oldest goes first. All are kept for a month at most. */
  parkedKept: 1000,
  parkedBytesKept: 32 * MiB,
  deliveryKeptMs: 30 * 24 * 3600 * 1000,
  deliveriesPageMax: 100,
  deliveriesPageDefault: 50,
  /** Standard Webhooks 1.0: at least 192 bits, and no more than the hash has to take in. */
  webhookSecretBytesMin: 24,
  webhookSecretBytesMax: 64,
  /** How long a secret that was replaced signs beside the new one: time to bring that to every receiver. */
  secretOverlapMsDefault: 24 * 3600 * 1000,
  secretOverlapMsMax: 7 * 24 * 3600 * 1000,
} as const;
