/**
 * Where sessions show themselves: each living session is an item of `_clients`, each of its attachments one of
 * `_attachments`. So presence comes and goes by commits, and is read, queried and watched like everything else.
 */
import type { StoredSession } from '../ports.js';
import type { Json } from '../state/json.js';
import type { Attributes, ItemRef } from '../state/model.js';

export const CLIENTS = '_clients';
export const ATTACHMENTS = '_attachments';

export function clientRef(session: string): ItemRef {
  return { collection: CLIENTS, key: session };
}

/** What the keys of a session's attachments begin with. */
export function attachmentPrefix(session: string): string {
  return `${session}/`;
}

export function attachmentRef(session: string, view: string): ItemRef {
  return { collection: ATTACHMENTS, key: attachmentPrefix(session) + view };
}

/** What a client says of itself, and where it speaks from. */
export interface ClientFacts {
  readonly meta?: Json | undefined;
  readonly address?: string | undefined;
}

/** A session's item in `_clients`. `former` is what stands there, of a session that goes on. */
export function clientAttributes(
  { name, epoch, subject }: StoredSession,
  { meta, address }: ClientFacts,
  now: number,
  former?: Attributes,
): Attributes {
  const attributes: Attributes = { name, epoch, subject, since: former?.since ?? new Date(now).toISOString() };
  const shown = meta === undefined ? former?.meta : meta;
  if (shown !== undefined && shown !== null) attributes.meta = shown;
  if (address !== undefined) attributes.address = address;
  return attributes;
}
