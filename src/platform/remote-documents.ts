/**
 * Reads documents from places that strangers name, without being led anywhere else: https only, to public addresses only,
 * within one origin, a bounded size and one bounded time. The address that is judged is the one that is connected to: the check
 * sits in the look-up of the connection itself, so a name that leads elsewhere a moment later leads nowhere.
 */
import { promises as dns, type LookupAddress } from 'node:dns';
import http from 'node:http';
import https from 'node:https';
import { isIP, type LookupFunction, type Socket } from 'node:net';
import ipaddr from 'ipaddr.js';

export interface RemoteOptions {
  /** Private and loopback addresses are taken as well, and http on loopback. */
  readonly isPrivateAllowed: boolean;
  readonly bytesMax: number;
  /** For all of it: the look-up, the connections, the redirects, the body. */
  readonly timeoutMs: number;
  /** Redirects within the origin that are followed. */
  readonly redirectsMax: number;
  /** Certificates of authorities, PEM, instead of those that Node trusts. */
  readonly ca?: string | undefined;
  /** Name servers, `host:port`, instead of those that the machine is configured with. */
  readonly nameServers?: readonly string[] | undefined;
  /** All addresses of a host name, asked for no longer than the signal lets. By name servers when absent; see `resolverFor`. */
  readonly resolve?: ((host: string, signal: AbortSignal) => Promise<LookupAddress[]>) | undefined;
}

interface Answer {
  readonly status: number;
  readonly location: string | undefined;
  readonly body: string;
}

export class RemoteDocuments {
  readonly #resolver: NonNullable<RemoteOptions['resolve']>;

  constructor(private readonly options: RemoteOptions) {
    this.#resolver = options.resolve ?? resolverFor(options);
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
    const host = place.hostname.replace(/^\[(.*)\]$/, '$1');
    if (place.protocol !== 'https:' && !(place.protocol === 'http:' && this.options.isPrivateAllowed && isLocal(host)))
      throw new Error('is not at https.');
    // A literal address isn't looked up.
    if (isIP(host) !== 0) this.#judge(host);
    const client = place.protocol === 'https:' ? https : http;
    const request = client.request(place, {
      method: 'GET',
      // An agent of its own: no connection is shared, and no proxy that the environment names comes between.
      agent: new client.Agent({ keepAlive: false }),
      lookup: this.#lookup(signal),
      headers: { accept: 'application/json', 'accept-encoding': 'identity', 'user-agent': 'stargus' },
      maxHeaderSize: 16 * 1024,
      signal,
      ...(this.options.ca !== undefined && { ca: this.options.ca }),
    });
    try {
      const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
        request.once('response', resolve).once('error', reject);
        request.once('socket', (socket: Socket) => socket.once('connect', () => this.#judgeConnected(socket, request)));
        request.end();
      });
      const { statusCode: status = 0, headers } = response;
      const body = status === 200 ? await this.#bodyOf(response) : '';
      return { status, location: headers.location, body };
    } catch (error) {
      if (signal.aborted) throw new Error(`has not answered within ${this.options.timeoutMs} ms.`);
      throw new Error(wordsOf(error));
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

  /** What node:net looks a host up with. Every address of the answer must be allowed, not only the one that is tried first. */
  #lookup(signal: AbortSignal): LookupFunction {
    return (host, options, done) => {
      this.#resolve(host, signal).then(
        (all) => {
          const family = options.family === 'IPv4' ? 4 : options.family === 'IPv6' ? 6 : (options.family ?? 0);
          const addresses = family === 0 ? all : all.filter((each) => each.family === family);
          const [first] = addresses;
          if (!first) return done(new RemoteFault('has a host name that leads nowhere.'), '', 0);
          if (options.all) done(null, addresses);
          else done(null, first.address, first.family);
        },
        (error) => done(error as Error, '', 0),
      );
    };
  }

  async #resolve(host: string, signal: AbortSignal): Promise<LookupAddress[]> {
    let addresses: LookupAddress[];
    try {
      addresses = await this.#resolver(host, signal);
    } catch {
      throw new RemoteFault('has a host name that leads nowhere.');
    }
    for (const { address } of addresses) this.#judge(address);
    return addresses;
  }

  #judge(address: string): void {
    const kind = this.options.isPrivateAllowed ? 'unicast' : kindOf(address);
    if (kind !== 'unicast')
      throw new RemoteFault(`leads to an address that is not public (${kind}), which is not read.`);
  }

  /** Once more, of what was connected to in the end. */
  #judgeConnected(socket: Socket, request: http.ClientRequest): void {
    try {
      this.#judge(socket.remoteAddress ?? '');
    } catch (error) {
      request.destroy(error as Error);
    }
  }
}

/** A fault that is told in its own words. */
class RemoteFault extends Error {}

/** What kind of address it is; `unicast` is a public one. */
export function kindOf(address: string): string {
  // The zone of a link-local address says nothing about it.
  const bare = address.replace(/%.*$/, '');
  // The library also takes decimal, octal and short forms, of which no two programs think alike.
  if (isIP(bare) === 0) return 'invalid';
  const parsed = ipaddr.parse(bare);
  if (parsed.kind() === 'ipv4') return parsed.range();
  const v6 = parsed as ipaddr.IPv6;
  // A mapped address is the IPv4 one. Others that carry one (6to4, Teredo, NAT64) lead through gateways, and are no unicast.
  if (v6.isIPv4MappedAddress()) return v6.toIPv4Address().range();
  const range = v6.range();
  // Outside 2000::/3 nothing is given out: the deprecated ::a.b.c.d is there.
  return range === 'unicast' && ((v6.parts[0] as number) & 0xe000) !== 0x2000 ? 'unassigned' : range;
}

/**
 * How host names are looked up. The system's own look-up can't be cancelled, and all that a process does wait for its few threads: names
 * whose servers never answer would keep everybody out. So public names are asked for from the name servers directly. In a closed network
 * names may be known to the machine alone (its hosts file); there the system is asked, whose names are nobody else's.
 */
function resolverFor({
  isPrivateAllowed,
  timeoutMs,
  nameServers,
}: RemoteOptions): NonNullable<RemoteOptions['resolve']> {
  if (isPrivateAllowed) return (host) => dns.lookup(host, { all: true });
  return async (host, signal) => {
    // RFC 6761, 6.3: it isn't asked for, and is this machine.
    if (host === 'localhost' || host.endsWith('.localhost')) return [{ address: '127.0.0.1', family: 4 }];
    const resolver = new dns.Resolver({ timeout: timeoutMs, tries: 1 });
    if (nameServers) resolver.setServers(nameServers);
    const cancel = () => resolver.cancel();
    signal.addEventListener('abort', cancel, { once: true });
    try {
      const [v4, v6] = await Promise.allSettled([resolver.resolve4(host), resolver.resolve6(host)]);
      const found = [
        ...(v4.status === 'fulfilled' ? v4.value.map((address) => ({ address, family: 4 })) : []),
        ...(v6.status === 'fulfilled' ? v6.value.map((address) => ({ address, family: 6 })) : []),
      ];
      if (found.length === 0) throw new Error(`${host} has no address.`);
      return found;
    } finally {
      signal.removeEventListener('abort', cancel);
    }
  };
}

function isLocal(host: string): boolean {
  return host === 'localhost' || (isIP(host) !== 0 && kindOf(host) === 'loopback');
}

/** Codes of what commonly goes wrong, in words; what else the machine says is no business of whoever asked. */
const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'refuses connections.',
  ECONNRESET: 'broke the connection off.',
  EHOSTUNREACH: 'can’t be reached.',
  ENETUNREACH: 'can’t be reached.',
  ETIMEDOUT: 'can’t be reached.',
  EPROTO: 'does not speak TLS as it should.',
  HPE_HEADER_OVERFLOW: 'has too long headers.',
};

function wordsOf(error: unknown): string {
  if (error instanceof RemoteFault) return error.message;
  const { code = '', errors } = error as { code?: string; errors?: unknown[] };
  // Of several addresses that were tried, the first one's fault.
  const [first] = errors ?? [];
  if (first) return wordsOf(first);
  if (/CERT|SELF_SIGNED|UNABLE_TO|ALTNAME|TLS/.test(code)) return `has a certificate that is not trusted (${code}).`;
  return WORDS[code] ?? 'can’t be read.';
}
