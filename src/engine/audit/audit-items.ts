/**
 * The audit as items of the system collection `_audit`, one for a minute, a kind and who it was, under keys that order by time; and
 * the command that adds what a node noted to them, and removes what was kept for long enough.
 */
import type { Command } from '../state/commands.js';
import type { Attributes, ItemRef } from '../state/model.js';
import type { Subject } from '../subject.js';
import { keyWith } from '../usage/usage-items.js';
import type { AuditNote } from './audit-notes.js';

export const AUDIT = '_audit';

function auditRef({ minute, kind, subject, address }: AuditNote): ItemRef {
  const who = [subject, address].filter((name) => name !== undefined).join(' ');
  return { collection: AUDIT, key: keyWith(`${minuteOf(minute)}/${kind}/`, who || 'others') };
}

/** As `2026-01-31T12:05Z`. */
function minuteOf(time: number): string {
  return `${new Date(time).toISOString().slice(0, 16)}Z`;
}

/** Adds notes to their items, and removes up to `limit` items of before a time. Answers whether there may be more of these. */
export function keepAudit(request: {
  subject: Subject;
  /** Only in this life of the pool. */
  epoch?: string | undefined;
  /** Makes the pool where there is none. */
  createsPool: boolean;
  notes: readonly AuditNote[];
  before: number;
  limit: number;
}): Command<{ more: boolean }> {
  const { subject, epoch, createsPool, notes, before, limit } = request;
  let old: ItemRef[] = [];
  let more = false;
  return {
    subject,
    epoch,
    bytes: 1024 + 512 * notes.length,
    touches: [],
    isUpkeep: true,
    async explore(explorer) {
      const page = await explorer.range(AUDIT, { end: minuteOf(before) }, limit);
      old = page.items.map(({ key }) => ({ collection: AUDIT, key }));
      ({ more } = page);
      await explorer.load(notes.map(auditRef));
    },
    decide(draft) {
      if (createsPool) draft.createsPool = true;
      for (const ref of old) draft.write(ref, undefined);
      for (const note of notes) {
        const ref = auditRef(note);
        draft.write(ref, added(draft.item(ref)?.attributes, note));
      }
      return () => ({ more });
    },
  };
}

function added(former: Attributes | undefined, note: AuditNote): Attributes {
  const { kind, subject, address, detail, count } = note;
  const [firstAt, lastAt] = [note.firstAt, note.lastAt].map((time) => new Date(time).toISOString()) as [string, string];
  return {
    kind,
    ...(subject !== undefined && { subject }),
    ...(address !== undefined && { address }),
    ...(detail !== undefined && { detail }),
    count: count + Number(former?.count ?? 0),
    firstAt: earlier(former?.firstAt, firstAt),
    lastAt: later(former?.lastAt, lastAt),
  };
}

const earlier = (former: unknown, time: string) => (typeof former === 'string' && former < time ? former : time);
const later = (former: unknown, time: string) => (typeof former === 'string' && former > time ? former : time);
