/**
 * What was used as items of the system collection `_usage`, one for each day and subject, and the command that brings into
 * them what was noted beside: it takes the rows and adds them to the items in one commit, so that nothing is counted twice or
 * lost.
 */
import { createHash } from 'node:crypto';
import { limits } from '../limits.js';
import type { UsageRow } from '../ports.js';
import type { Command } from '../state/commands.js';
import type { Attributes, ItemRef } from '../state/model.js';
import type { Subject } from '../subject.js';

export const USAGE = '_usage';

const CONTROL = /\p{Cc}/u;
const DIGEST_LENGTH = 16;

/** The key of a day's item. */
export function usageRef({ day, subject }: Pick<UsageRow, 'day' | 'subject'>): ItemRef {
  return { collection: USAGE, key: keyWith(`${day}/`, subject) };
}

/**
 * A key that begins so and ends with a name. A name that an item key can't hold is percent-encoded, cut to what fits, and told from others by
 * a digest.
 */
export function keyWith(beginning: string, name: string): string {
  const plain = `${beginning}${name}`;
  if (name.isWellFormed() && !CONTROL.test(name) && Buffer.byteLength(plain) <= limits.itemKeyBytesMax) return plain;
  const digest = createHash('sha256').update(name).digest('hex').slice(0, DIGEST_LENGTH);
  const room = limits.itemKeyBytesMax - beginning.length - '~'.length - DIGEST_LENGTH;
  const encoded = encodeURIComponent(name.toWellFormed())
    .slice(0, room)
    // Half a percent-encoded byte tells nothing.
    .replace(/%.?$/, '');
  return `${beginning}${encoded}~${digest}`;
}

/** Brings noted rows into the items, up to a limit. Answers whether there may be more. */
export function foldUsage(request: { subject: Subject; epoch: string; limit: number }): Command<{ more: boolean }> {
  const { subject, epoch, limit } = request;
  let rows: readonly UsageRow[] = [];
  return {
    subject,
    epoch,
    bytes: 1024,
    touches: [],
    isUpkeep: true,
    async explore(explorer) {
      rows = await explorer.usage(limit);
      await explorer.load(rows.map(usageRef));
    },
    decide(draft) {
      for (const row of rows) draft.write(usageRef(row), added(draft.item(usageRef(row))?.attributes, row));
      draft.takeUsage(rows);
      return () => ({ more: rows.length === limit });
    },
  };
}

function added(former: Attributes | undefined, { day, subject, ...usage }: UsageRow): Attributes {
  const attributes: Attributes = { day, subject };
  for (const [name, amount] of Object.entries(usage)) attributes[name] = amount + Number(former?.[name] ?? 0);
  return attributes;
}
