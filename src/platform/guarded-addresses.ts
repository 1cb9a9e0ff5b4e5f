/**
 * Connections to places that strangers name, without being led anywhere else. The address that is judged is the one that is
 * connected to: the check sits in the look-up of the connection itself, so a name that leads elsewhere a moment later leads
 * nowhere; and once more what was connected to is judged. Who reads documents and who delivers events share it.
 */
import { promises as dns, type LookupAddress } from 'node:dns';
import { isIP, type LookupFunction, type Socket } from 'node:net';
import ipaddr from 'ipaddr.js';

export interface AddressOptions {
  /** Private and loopback addresses are taken as well. */
  readonly isPrivateAllowed: boolean;
  /** How long a name server may take. */
  readonly timeoutMs: number;
  /** Name servers, `host:port`, instead of those that the machine is configured with. */
  readonly nameServers?: readonly string[] | undefined;
  /** All addresses of a host name, asked for no longer than the signal lets. By name servers when absent; see `resolverFor`. */
  readonly resolve?: ((host: string, signal: AbortSignal) => Promise<LookupAddress[]>) | undefined;
}

/** A fault that is told in its own words: a sentence without its subject, the place that was named. */
export class RemoteFault extends Error {}

export class GuardedAddresses {
  readonly #resolver: NonNullable<AddressOptions['resolve']>;

  constructor(private readonly options: AddressOptions) {
    this.#resolver = options.resolve ?? resolverFor(options);
  }

  /** What node:net looks a host up with. Every address of the answer must be allowed, not only the one that is tried first. */
  lookup(signal: AbortSignal): LookupFunction {
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
    for (const { address } of addresses) this.judge(address);
    return addresses;
  }

  /** Throws RemoteFault for an address that may not be connected to. */
  judge(address: string): void {
    const kind = this.options.isPrivateAllowed ? 'unicast' : kindOf(address);
    if (kind !== 'unicast')
      throw new RemoteFault(`leads to an address that is not public (${kind}), where nothing of this server goes.`);
  }

  /** A literal address isn't looked up: it is judged as it stands. */
  judgeHost(host: string): void {
    if (isIP(host) !== 0) this.judge(host);
  }

  /** Once more, of what was connected to in the end. */
  judgeConnected(socket: Socket, end: (error: Error) => void): void {
    try {
      this.judge(socket.remoteAddress ?? '');
    } catch (error) {
      end(error as Error);
    }
  }
}

/** The host of a URL as node:net has it. */
export function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[(.*)\]$/, '$1');
}

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
}: AddressOptions): NonNullable<AddressOptions['resolve']> {
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

export function isLocal(host: string): boolean {
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

/** What is wrong with a place, in words; `otherwise` where there are none. */
export function wordsOf(error: unknown, otherwise: string): string {
  if (error instanceof RemoteFault) return error.message;
  const { code = '', errors } = error as { code?: string; errors?: unknown[] };
  // Of several addresses that were tried, the first one's fault.
  const [first] = errors ?? [];
  if (first) return wordsOf(first, otherwise);
  if (/CERT|SELF_SIGNED|UNABLE_TO|ALTNAME|TLS/.test(code)) return `has a certificate that is not trusted (${code}).`;
  return WORDS[code] ?? otherwise;
}
