/**
 * What a session has attached: views that its stream tells it of. An attachment is an item of `_attachments` under the
 * session's id and the view's name, so it is set and taken away by commits, outlives connections, and goes with its session.
 */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import { parseFilter } from '../query/filter.js';
import type { Command, Explorer, Settled } from '../state/commands.js';
import type { Draft } from '../state/draft.js';
import type { Json } from '../state/json.js';
import { rangeOf } from '../state/key-order.js';
import type { Attributes, ItemState } from '../state/model.js';
import type { Subject } from '../subject.js';
import type { Sight } from '../watch/sight.js';
import { type View, type ViewRequest, viewsOf } from '../watch/view.js';
import { noSession } from './leases.js';
import { checkNamed } from './session-commands.js';
import { ATTACHMENTS, attachmentPrefix, attachmentRef } from './session-items.js';
import { checkOwner, isOver } from './session-states.js';
import type { Writer } from './writer.js';

/** What the client asked to see, checked; the item's attributes are this, the session and the view's name. */
export interface AttachmentRequest extends Pick<ViewRequest, 'key' | 'prefix' | 'start' | 'end' | 'fields' | 'values'> {
  readonly collection: string;
  /** The filter as the client wrote it. */
  readonly where?: Json | undefined;
  /** Locks that lie on what is attached are told too. */
  readonly locks: boolean;
  /** What becomes of the attachment when the policy hides all of it. */
  readonly onDenied: 'ignore' | 'error' | 'event';
}

interface Place {
  readonly subject: Subject;
  readonly writer: Writer | undefined;
  /** The session's id or name. */
  readonly session: string;
  readonly view: string;
}

export interface Attached extends Settled {
  readonly created: boolean;
  readonly item: ItemState;
}

/** Attaches a view, or changes it. */
export function attach(request: Place & { readonly attachment: AttachmentRequest }): Command<Attached> {
  const { attachment, view } = request;
  let count = 0;
  return {
    ...commandOn(request),
    async explore(explorer) {
      const id = await load(explorer, request);
      if (id === undefined) return;
      const range = rangeOf({ prefix: attachmentPrefix(id) });
      count = await explorer.count(ATTACHMENTS, range, limits.attachmentsPerSessionMax);
    },
    decide(draft) {
      const id = sessionOf(draft, request);
      // The others wait for a policy that lets them see something.
      if (attachment.onDenied === 'error') draft.access.checkWatch(attachment.collection);
      const ref = attachmentRef(id, view);
      const created = draft.item(ref) === undefined;
      if (created && count >= limits.attachmentsPerSessionMax)
        throw new Problem('invalid', `A session has at most ${limits.attachmentsPerSessionMax} attachments.`);
      const attributes = attributesOf(id, view, attachment);
      if (Buffer.byteLength(JSON.stringify(attributes)) > limits.attachmentBytesMax)
        throw new Problem('tooLarge', `An attachment has at most ${limits.attachmentBytesMax} bytes of JSON.`);
      draft.write(ref, attributes);
      return (settled) => ({ ...settled, created, item: draft.item(ref) as ItemState });
    },
  };
}

/** Detaches a view. */
export function detach(request: Place): Command<Settled & { readonly existed: boolean }> {
  return {
    ...commandOn(request),
    explore: (explorer) => load(explorer, request).then(() => undefined),
    decide(draft) {
      const ref = attachmentRef(sessionOf(draft, request), request.view);
      const existed = draft.write(ref, undefined) !== undefined;
      return (settled) => ({ ...settled, existed });
    },
  };
}

/** What an attachment's item asks to see, as somebody may see it. */
export function attachedViews({ attributes }: ItemState, sight: (collection: string) => Sight): View[] {
  const { where, view, locks, ...request } = attributes as unknown as AttachmentRequest & { view: string };
  const filter = where === undefined ? undefined : parseFilter(where, '/where');
  return viewsOf({ ...request, where: filter }, locks, sight, view);
}

function commandOn({ subject, writer, session }: Place) {
  const sessions = writer?.session ? [session, writer.session.session] : [session];
  return { subject, writer, bytes: 1024, touches: [], isUpkeep: true, sessions };
}

/** Leaves the attachment to the draft; answers the session's id, where there is such a session. */
async function load(explorer: Explorer, { session, view }: Place): Promise<string | undefined> {
  const id = explorer.draft().session(session)?.id;
  if (id !== undefined) await explorer.load([attachmentRef(id, view)]);
  return id;
}

/** The id of the session, if it lives and belongs to who asks. */
function sessionOf(draft: Draft, { session: path, subject, writer }: Place): string {
  const session = draft.session(path);
  if (!session || isOver(session, draft.now)) throw noSession(path);
  checkOwner(session, subject);
  if (writer?.session) checkNamed(session, writer.session, subject, draft.now);
  return session.id;
}

function attributesOf(session: string, view: string, attachment: AttachmentRequest): Attributes {
  const members = Object.entries({ session, view, ...attachment }).filter(([, value]) => value !== undefined);
  return Object.fromEntries(members) as Attributes;
}
