/**
 * Reads documents from places that strangers name, without being led anywhere else: https only, to public addresses only
 * (guarded-addresses.ts), within one origin, a bounded size and one bounded time.
 */
import http from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import { type AddressOptions, GuardedAddresses, hostOf, isLocal, RemoteFault, wordsOf } from './guarded-addresses.js';

export interface RemoteOptions extends AddressOptions {
  /** Private and loopback addresses are taken as well, and http on loopback. */
  readonly isPrivateAllowed: boolean;
  readonly bytesMax: number;
  /** For all of it: the look-up, the connections, the redirects, the body. */
  readonly timeoutMs: number;
  /** Redirects within the origin that are followed. */
  readonly redirectsMax: number;
  /** Certificates of authorities, PEM, instead of those that Node trusts. */
  readonly ca?: string | undefined;
}

interface Answer {
  readonly status: number;
  readonly location: string | undefined;
  readonly body: string;
}

export class RemoteDocuments {
  readonly #addresses: GuardedAddresses;

  constructor(private readonly options: RemoteOptions) {
    this.#addresses = new GuardedAddresses(options);
  }

  /**
   * The text of the document.
   *
   * @returns undefined where there is none (404, 410)
   * @throws Error whose message says what is wrong, a sentence without its subject
   */
  async read(url: string): Promise<string | undefined> {
    const signal = AbortSignal.timeout(this.options.timeoutMs);
    let place = new URL(url);
    for (let redirects = 0; ; redirects++) {
      const { status, location, body } = await this.#get(place, signal);
      if (status === 200) return body;
      if (status === 404 || status === 410) return undefined;
      if (![301, 302, 303, 307, 308].includes(status)) throw new Error(`is answered with the status ${status}.`);
      if (redirects >= this.options.redirectsMax)
        throw new Error(`redirects more than ${this.options.redirectsMax} times.`);
      const next = location === undefined ? null : URL.parse(location, place.href);
      if (!next) throw new Error('redirects without saying where to.');
      if (next.origin !== place.origin || next.username !== '' || next.password !== '')
        throw new Error('redirects to another origin, which is not followed.');
      place = next;
    }
  }

  async #get(place: URL, signal: AbortSignal): Promise<Answer> {
    const host = hostOf(place);
    if (place.protocol !== 'https:' && !(place.protocol === 'http:' && this.options.isPrivateAllowed && isLocal(host)))
      throw new Error('is not at https.');
    this.#addresses.judgeHost(host);
    const client = place.protocol === 'https:' ? https : http;
    const request = client.request(place, {
      method: 'GET',
      // An agent of its own: no connection is shared, and no proxy that the environment names comes between.
      agent: new client.Agent({ keepAlive: false }),
      lookup: this.#addresses.lookup(signal),
      headers: { accept: 'application/json', 'accept-encoding': 'identity', 'user-agent': 'stargus' },
      maxHeaderSize: 16 * 1024,
      signal,
      ...(this.options.ca !== undefined && { ca: this.options.ca }),
    });
    try {
      const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
        request.once('response', resolve).once('error', reject);
        request.once('socket', (socket: Socket) =>
          socket.once('connect', () => this.#addresses.judgeConnected(socket, (error) => request.destroy(error))),
        );
        request.end();
      });
      const { statusCode: status = 0, headers } = response;
      const body = status === 200 ? await this.#bodyOf(response) : '';
      return { status, location: headers.location, body };
    } catch (error) {
      if (signal.aborted) throw new Error(`has not answered within ${this.options.timeoutMs} ms.`);
      throw new Error(wordsOf(error, 'can’t be read.'));
    } finally {
      request.destroy();
    }
  }

  async #bodyOf(response: http.IncomingMessage): Promise<string> {
    const tooLarge = new RemoteFault(`is larger than ${this.options.bytesMax} bytes.`);
    const { 'content-encoding': encoding, 'content-length': length } = response.headers;
    if (encoding !== undefined && encoding !== 'identity')
      throw new RemoteFault('is compressed, which was not asked for.');
    if (Number(length) > this.options.bytesMax) throw tooLarge;
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of response as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > this.options.bytesMax) throw tooLarge;
      chunks.push(chunk);
    }
    if (!response.complete) throw new RemoteFault('ended before it was complete.');
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
    } catch {
      throw new RemoteFault('is not UTF-8.');
    }
  }
}
