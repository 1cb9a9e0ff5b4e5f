/**
 * Delivers events to receivers that strangers name: by POST, to https at public addresses only unless private ones are allowed
 * (guarded-addresses.ts), and nowhere else, for a redirect is a failure. All is bounded: the time of an attempt and of its
 * connecting, what is read of an answer, the receivers at once, and those of one host.
 *
 * A receiver has taken an event when its status line says so. What follows of the answer is read a little, so that the
 * connection can be used again, and then left. What it says is nobody's business: who may name receivers would read by it what
 * only this machine reaches.
 */
import http from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import { type AddressOptions, GuardedAddresses, hostOf, RemoteFault, wordsOf } from './guarded-addresses.js';

export interface WebhookOptions extends AddressOptions {
  /** Private and loopback addresses are taken as well, and http. */
  readonly isPrivateAllowed: boolean;
  /** For one attempt: the look-up, the connection, the status. */
  readonly timeoutMs: number;
  readonly connectMs: number;
  /** What is read of an answer's body, and for how long. */
  readonly answerBytesMax: number;
  readonly answerMs: number;
  readonly urlLengthMax: number;
  /** Receivers at once: in all, and of one host. */
  readonly channelsMax: number;
  readonly channelsPerHostMax: number;
  /** Certificates of authorities, PEM, instead of those that Node trusts. */
  readonly ca?: string | undefined;
}

interface Outcome {
  readonly ok: boolean;
  readonly status?: number;
  readonly error?: string;
  readonly retryAfterMs?: number;
  readonly ms: number;
}

const OTHERWISE = 'can’t be reached.';

export class WebhookSender {
  readonly #addresses: GuardedAddresses;
  /** How many channels are open to each host. */
  readonly #open = new Map<string, number>();
  #channels = 0;

  constructor(private readonly options: WebhookOptions) {
    this.#addresses = new GuardedAddresses(options);
  }

  /** What is wrong with a URL, whatever its host leads to; a sentence without its subject. */
  faultOf(url: string): string | undefined {
    const { isPrivateAllowed, urlLengthMax } = this.options;
    if (url.length > urlLengthMax) return `must have at most ${urlLengthMax} characters.`;
    const place = URL.parse(url);
    // Blanks and control characters, which a parser takes away, are no part of a URL that somebody meant.
    if (!place || /[\s\p{Cc}]/u.test(url)) return 'must be an absolute URL, such as https://app.example/hook.';
    if (place.protocol !== 'https:' && !(place.protocol === 'http:' && isPrivateAllowed))
      return isPrivateAllowed ? 'must be at http or https.' : 'must be at https.';
    if (place.username !== '' || place.password !== '')
      return 'must not carry a user name or a password: events are signed, by which their receiver knows them.';
    if (place.hash !== '' || url.includes('#')) return 'must not have a fragment, which is never sent.';
    if (place.port === '0') return 'must not name the port 0.';
    if (!isPrivateAllowed && /(^|\.)localhost\.?$/.test(place.hostname)) return 'leads to this machine.';
    try {
      this.#addresses.judgeHost(hostOf(place));
    } catch (error) {
      return (error as Error).message;
    }
    return undefined;
  }

  open(url: string): WebhookChannel | undefined {
    const place = new URL(url);
    const { host } = place;
    const ofHost = this.#open.get(host) ?? 0;
    if (this.#channels >= this.options.channelsMax || ofHost >= this.options.channelsPerHostMax) return undefined;
    this.#channels++;
    this.#open.set(host, ofHost + 1);
    return new WebhookChannel(place, this.#addresses, this.options, () => {
      this.#channels--;
      const left = (this.#open.get(host) ?? 1) - 1;
      if (left > 0) this.#open.set(host, left);
      else this.#open.delete(host);
    });
  }
}

class WebhookChannel {
  readonly #client: typeof http | typeof https;
  /** Of its own: nobody else's connection is used, and no proxy that the environment names comes between. */
  readonly #agent: http.Agent | https.Agent;
  #closed = false;

  constructor(
    private readonly place: URL,
    private readonly addresses: GuardedAddresses,
    private readonly options: WebhookOptions,
    private readonly onClose: () => void,
  ) {
    this.#client = place.protocol === 'https:' ? https : http;
    this.#agent = new this.#client.Agent({ keepAlive: true, maxSockets: 1, maxFreeSockets: 1 });
  }

  async post(headers: Readonly<Record<string, string>>, body: string, signal: AbortSignal): Promise<Outcome> {
    const began = performance.now();
    const msSince = () => Math.round(performance.now() - began);
    const timeout = AbortSignal.timeout(this.options.timeoutMs);
    const either = AbortSignal.any([signal, timeout]);
    for (let isFresh = false; ; isFresh = true) {
      try {
        const { status, retryAfter } = await this.#send(headers, body, either);
        const ok = status >= 200 && status < 300;
        const retryAfterMs = ok ? undefined : retryAfterMsOf(retryAfter);
        return {
          ...{ ok, status, ms: msSince() },
          ...(!ok && { error: faultOfStatus(status) }),
          ...(retryAfterMs !== undefined && { retryAfterMs }),
        };
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        // A receiver may close a connection that was left open just as it is used again: that says nothing of the event.
        if (error instanceof StaleConnection && !isFresh) continue;
        const words = timeout.aborted
          ? `has not answered within ${this.options.timeoutMs} ms.`
          : wordsOf(error instanceof StaleConnection ? error.cause : error, OTHERWISE);
        return { ok: false, error: words, ms: msSince() };
      }
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#agent.destroy();
    this.onClose();
  }

  async #send(
    headers: Readonly<Record<string, string>>,
    body: string,
    signal: AbortSignal,
  ): Promise<{ status: number; retryAfter: string | undefined }> {
    this.addresses.judgeHost(hostOf(this.place));
    const { ca, connectMs } = this.options;
    const bytes = Buffer.from(body);
    const request = this.#client.request(this.place, {
      method: 'POST',
      agent: this.#agent,
      lookup: this.addresses.lookup(signal),
      headers: { 'user-agent': 'stargus', ...headers, 'content-length': String(bytes.length) },
      maxHeaderSize: 16 * 1024,
      signal,
      ...(ca !== undefined && { ca }),
    });
    let connecting: NodeJS.Timeout | undefined;
    try {
      const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
        request.once('response', resolve);
        // Also after the answer: a connection that breaks then is nobody's failure.
        request.on('error', (error) => reject(request.reusedSocket ? new StaleConnection(error) : error));
        request.once('socket', (socket: Socket) => {
          if (!socket.connecting) return;
          const late = () => request.destroy(new RemoteFault(`can’t be reached within ${connectMs} ms.`));
          connecting = setTimeout(late, connectMs);
          socket.once('connect', () => {
            clearTimeout(connecting);
            this.addresses.judgeConnected(socket, (error) => request.destroy(error));
          });
        });
        request.end(bytes);
      });
      const { statusCode: status = 0, headers: answered } = response;
      await this.#finish(response, request);
      return { status, retryAfter: answered['retry-after'] };
    } catch (error) {
      request.destroy();
      throw error;
    } finally {
      clearTimeout(connecting);
    }
  }

  /** Reads a little of what follows, so that the connection can be kept; what is more, or slow, or breaks, is left. */
  async #finish(response: http.IncomingMessage, request: http.ClientRequest): Promise<void> {
    const { answerBytesMax, answerMs } = this.options;
    let bytes = 0;
    await new Promise<void>((resolve) => {
      const late = setTimeout(resolve, answerMs);
      const done = () => {
        clearTimeout(late);
        resolve();
      };
      response.once('end', done).once('error', done).once('close', done);
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > answerBytesMax) done();
      });
    });
    if (!response.complete) request.destroy();
  }
}

/** A connection that was used before broke before it answered. */
class StaleConnection extends Error {
  constructor(cause: unknown) {
    super('The connection was stale', { cause });
  }
}

function faultOfStatus(status: number): string {
  if (status >= 300 && status < 400) return `answered ${status}: a redirect is not followed.`;
  return `answered ${status}.`;
}

/** RFC 9110, 10.2.3: seconds, or a date. */
function retryAfterMsOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const ms = /^\d{1,9}$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isFinite(ms) && ms > 0 ? ms : undefined;
}
