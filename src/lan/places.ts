/** The parts of the local network in which a server is announced or looked for: each an interface of this machine. */
import { isIPv6 } from 'node:net';
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os';

export interface Place {
  /** The IPv4 address of the interface, through which multicast goes. */
  readonly through: string;
  /** Where the server can be reached from there. */
  readonly addresses: readonly string[];
}

type Interfaces = Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>;

export const LOOPBACK = '127.0.0.1';

/** Where a server is told of that listens on the address: where it can be reached, and nowhere else. */
export function placesFor(listening: string, interfaces: Interfaces = networkInterfaces()): Place[] {
  if (isLoopbackAddress(listening)) return [{ through: LOOPBACK, addresses: [listening] }];
  const isEverywhere = listening === '0.0.0.0' || listening === '::';
  return outward(interfaces).flatMap(({ through, addresses }) => {
    const reachable = addresses.filter((address) =>
      isEverywhere ? listening === '::' || !isIPv6(address) : address === listening,
    );
    return reachable.length > 0 ? [{ through, addresses: reachable }] : [];
  });
}

/** Where servers are looked for: on this machine, and wherever it is connected to. */
export function placesToLook(interfaces: Interfaces = networkInterfaces()): string[] {
  return [LOOPBACK, ...outward(interfaces).map(({ through }) => through)];
}

export function isLoopbackAddress(address: string): boolean {
  return address === '::1' || /^127\./.test(address);
}

/** The interfaces that lead out of this machine. Multicast goes by IPv4; one that has none isn't used. */
function outward(interfaces: Interfaces): Place[] {
  return Object.values(interfaces).flatMap((infos = []) => {
    const through = infos.find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
    if (through === undefined) return [];
    // An address of one link is of no use without the name of the reader's interface.
    return [{ through, addresses: infos.map(({ address }) => address).filter((address) => !/^fe80:/i.test(address)) }];
  });
}
