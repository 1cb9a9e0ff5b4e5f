/**
 * Acknowledgements in a batch: what a client wrote because of an entry, and that it is done with it, in one commit. There an entry
 * that isn't there any more is a reason to refuse: of two who worked on the same one, the batch of only one applies.
 */
import { Problem } from '../errors.js';
import type { Draft } from '../state/draft.js';
import type { ItemRef } from '../state/model.js';
import { Queue } from './queue.js';
import { touchesOf } from './queue-commands.js';
import type { QueueRef } from './queue-items.js';

/** An op `ack` of a batch. */
export interface Ack {
  /** Which op of the batch it is. */
  readonly index: number;
  /** One of the writer's own. */
  readonly queue: QueueRef;
  readonly deliveries: readonly string[];
}

export interface AckResult {
  readonly index: number;
  /** Why it was refused: then nothing of it was done. */
  readonly problem?: Problem | undefined;
}

export function touchesOfAcks(acks: readonly Ack[]): ItemRef[] {
  return acks.flatMap(({ queue, deliveries }) => touchesOf(queue, deliveries));
}

/** Acknowledges on a draft; each op as a whole or not at all. */
export function acknowledgeIn(draft: Draft, acks: readonly Ack[]): AckResult[] {
  if (acks.length > 0) draft.access.checkPresence();
  return acks.map(({ index, queue: ref, deliveries }): AckResult => {
    const queue = new Queue(draft, ref);
    const found = new Map(deliveries.map((delivery) => [delivery, queue.find(delivery)]));
    for (const [delivery, at] of found) if (!at) return { index, problem: notThere(delivery) };
    for (const at of found.values()) queue.remove(at as ItemRef);
    queue.save();
    return { index };
  });
}

function notThere(delivery: string): Problem {
  return new Problem(
    'preconditionFailed',
    `The queue has no delivery ${JSON.stringify(delivery)} any more: somebody has acknowledged or dropped it. What you did because of it is done already, or not wanted.`,
  );
}
