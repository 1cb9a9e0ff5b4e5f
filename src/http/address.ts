/**
 * Whence a request comes, as bounds and blocks count it: the address of the connection, or the one that proxies which are
 * trusted name in X-Forwarded-For. Of IPv6 it is the network of 64 bits, for whoever has one address there has all of them.
 */
import type { FastifyRequest } from 'fastify';
import ipaddr from 'ipaddr.js';

export interface Address {
  /** `203.0.113.7`, `2001:db8:1:2::/64`, or `unknown`. */
  readonly key: string;
  /** Nothing is bounded or blocked for its sake: this machine's own, and those of proxies, which are everybody's. */
  readonly isUnlimited: boolean;
}

type Network = ReturnType<typeof ipaddr.parseCIDR>;

/** Addresses whose reading is remembered. */
const REMEMBERED_MAX = 10_000;
const NETWORK_BITS = 64;

export class Addresses {
  readonly #trusted: readonly Network[];
  readonly #unlimited: readonly Network[];
  readonly #remembered = new Map<string | undefined, Address>();

  /** Addresses and networks in CIDR notation. */
  constructor(trusted: readonly string[], unlimited: readonly string[]) {
    this.#trusted = trusted.map(networkOf);
    this.#unlimited = unlimited.map(networkOf);
  }

  /** Whether what an address says of those before it is believed. */
  readonly trusts = (text: string): boolean => ipaddr.isValid(text) && isIn(ipaddr.process(text), this.#trusted);

  get trustsAny(): boolean {
    return this.#trusted.length > 0;
  }

  of(request: FastifyRequest): Address {
    return this.named(request.ip);
  }

  /** What the text of an address stands for. */
  named(text: string | undefined): Address {
    const known = this.#remembered.get(text);
    if (known) return known;
    const address = this.#read(text);
    if (this.#remembered.size >= REMEMBERED_MAX) this.#remembered.clear();
    this.#remembered.set(text, address);
    return address;
  }

  #read(text: string | undefined): Address {
    // Such as what a proxy passes on that a client made up.
    if (text === undefined || !ipaddr.isValid(text)) return { key: 'unknown', isUnlimited: false };
    // An IPv4 address that came over an IPv6 socket is what it was.
    const address = ipaddr.process(text);
    const isUnlimited = isIn(address, this.#unlimited) || isIn(address, this.#trusted);
    if (address instanceof ipaddr.IPv4) return { key: address.toString(), isUnlimited };
    const network = ipaddr.IPv6.networkAddressFromCIDR(`${address.toString()}/${NETWORK_BITS}`);
    return { key: `${network.toString()}/${NETWORK_BITS}`, isUnlimited };
  }
}

function networkOf(text: string): Network {
  if (text.includes('/')) return ipaddr.parseCIDR(text);
  const address = ipaddr.parse(text);
  return [address, address.kind() === 'ipv4' ? 32 : 128];
}

function isIn(address: ipaddr.IPv4 | ipaddr.IPv6, networks: readonly Network[]): boolean {
  return networks.some((network) => address.kind() === network[0].kind() && address.match(network as never));
}
