/** The receiver's side of notifiers: signatures as Standard Webhooks 1.0 has them (docs/NOTIFIERS.md#signatures). */
import { fromBase64 } from './base64url.js';
import { WEBHOOK_TOLERANCE_MS } from './bounds.js';
import { StargusError } from './errors.js';
import { isJsonObject } from './json.js';

const ED25519_BYTES = 32;

/** A CloudEvent. */
export interface WebhookEvent {
  /** The same each time that it is delivered. */
  readonly id: string;
  /** `stargus.change`, `stargus.lock`, `stargus.attach`, `stargus.detach`, `stargus.reset`, `stargus.test`. */
  readonly type: string;
  readonly source: string;
  readonly time?: string;
  // biome-ignore lint/suspicious/noExplicitAny: JSON whose shape the type says
  readonly data?: any;
  readonly [member: string]: unknown;
}

export interface VerifyOptions {
  /** What time it is, in milliseconds since 1970. The machine's, unless given. */
  readonly now?: number;
  /** How far the event's time may be from that. Five minutes. */
  readonly toleranceMs?: number;
}

/** Headers as a server has them: a record of a request of Node, or `Headers`. Names have no case. */
export type WebhookHeaders = Headers | Readonly<Record<string, string | readonly string[] | undefined>>;

/**
 * Checks that the event was signed by the secret, not long ago, and answers it.
 *
 * @param secret `whsec_…`, as the notifier's making told it; or `whpk_…`, the public half of the key by which it signs
 * @param body the bytes as they came; a text only if it was decoded as UTF-8 and not altered
 * @throws StargusError `signatureInvalid`, which says what is wrong; `protocolError` where what was signed is no event
 */
export async function verifyWebhook(
  secret: string,
  headers: WebhookHeaders,
  body: Uint8Array | string,
  { now = Date.now(), toleranceMs = WEBHOOK_TOLERANCE_MS }: VerifyOptions = {},
): Promise<WebhookEvent> {
  const isPublic = secret.startsWith('whpk_');
  const keyBytes = fromBase64(secret.replace(/^wh(?:sec|pk)_/, ''));
  if (!keyBytes || keyBytes.length === 0 || (isPublic && keyBytes.length !== ED25519_BYTES))
    throw invalid('The secret isn’t one: it is whsec_ or whpk_, and base64.');
  const id = headerOf(headers, 'webhook-id');
  const timestamp = headerOf(headers, 'webhook-timestamp');
  const signatures = headerOf(headers, 'webhook-signature');
  if (id === undefined || timestamp === undefined || signatures === undefined)
    throw invalid('The headers webhook-id, webhook-timestamp and webhook-signature must be there.');
  if (!/^\d{1,12}$/.test(timestamp)) throw invalid('webhook-timestamp is no number of seconds.');
  const age = now - Number(timestamp) * 1000;
  if (Math.abs(age) > toleranceMs)
    throw invalid(
      `The event was signed ${Math.round(Math.abs(age) / 1000)} s ${age > 0 ? 'ago' : 'ahead of now'}; it is repeated by somebody, or a clock is wrong.`,
    );
  const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : body;
  const head = new TextEncoder().encode(`${id}.${timestamp}.`);
  const signed = new Uint8Array(head.length + bytes.length);
  signed.set(head);
  signed.set(bytes, head.length);
  const algorithm = isPublic ? { name: 'Ed25519' } : { name: 'HMAC', hash: 'SHA-256' };
  const key = await crypto.subtle.importKey('raw', keyBytes, algorithm, false, ['verify']);
  const kind = isPublic ? 'v1a,' : 'v1,';
  let isSigned = false;
  for (const signature of signatures.split(' ')) {
    const given = signature.startsWith(kind) ? fromBase64(signature.slice(kind.length)) : undefined;
    // In constant time, and all of them.
    if (given && (await crypto.subtle.verify(algorithm.name, key, given, signed))) isSigned = true;
  }
  if (!isSigned) throw invalid('No signature is by this secret, or the event was altered.');
  let event: unknown;
  try {
    event = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new StargusError('protocolError', 'What was signed is no JSON.', { cause });
  }
  if (!isJsonObject(event)) throw new StargusError('protocolError', 'What was signed is no event.');
  return { ...event, id: typeof event.id === 'string' ? event.id : id } as WebhookEvent;
}

function headerOf(headers: WebhookHeaders, name: string): string | undefined {
  if (headers instanceof Headers) return headers.get(name) ?? undefined;
  for (const [given, value] of Object.entries(headers))
    if (given.toLowerCase() === name) return typeof value === 'string' ? value : value?.[0];
  return undefined;
}

function invalid(why: string): StargusError {
  return new StargusError('signatureInvalid', `The webhook isn't taken. ${why}`);
}
