/**
 * Looks for servers that announce themselves on the local network (DNS-SD), by bonjour-service, which is loaded when it is wanted. All that
 * is heard was written by strangers: it is kept within bounds, and who announces what is not proven.
 */
import { isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Service, ServiceConfig } from 'bonjour-service';
import { DISCOVER_MS } from '../bounds.js';

/** A server, as it says of itself. */
export interface FoundServer {
  readonly name: string;
  readonly url: string;
  /** `open` or `required`. */
  readonly auth: string;
  readonly pools: readonly string[];
  readonly version: string;
}

export interface DiscoverOptions {
  /** For how long answers are waited for: 2,000 ms. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

const FOUND_MAX = 256;
const TEXT_MAX = 255;
/** Questions may be lost, and are asked again. */
const ASK_EVERY_MS = 500;

/**
 * Lists the servers that were started with `--lan` on this machine and its local network. Give no secret to a server because of its name.
 *
 * @throws the signal's reason
 */
export async function discover({ timeoutMs = DISCOVER_MS, signal }: DiscoverOptions = {}): Promise<FoundServer[]> {
  signal?.throwIfAborted();
  const { Bonjour } = await import('bonjour-service');
  const found = new Map<string, FoundServer>();
  const searches = places().map((place) => {
    // Bound to every address: to one of the interface's, nothing comes that is sent to the group.
    const options = { interface: place, bind: '0.0.0.0' } as unknown as Partial<ServiceConfig>;
    // An interface through which nothing can be asked is passed over.
    const bonjour = new Bonjour(options, () => {});
    const browser = bonjour.find({ type: 'stargus' }, (service) => {
      const server = serverOf(service);
      if (server && found.size < FOUND_MAX) found.set(`${server.name}\n${server.url}`, server);
    });
    return { bonjour, browser };
  });
  try {
    const until = performance.now() + timeoutMs;
    for (let left = timeoutMs; left > 0; left = until - performance.now()) {
      await sleep(Math.min(ASK_EVERY_MS, left), undefined, { ...(signal && { signal }) });
      for (const { browser } of searches) browser.update();
    }
  } catch (error) {
    throw signal?.aborted ? signal.reason : error;
  } finally {
    for (const { browser } of searches) browser.stop();
    await Promise.all(searches.map(({ bonjour }) => new Promise<void>((resolve) => bonjour.destroy(() => resolve()))));
  }
  return [...found.values()].sort((a, b) => (`${a.name}\n${a.url}` < `${b.name}\n${b.url}` ? -1 : 1));
}

/** This machine, and wherever it is connected to. */
function places(): string[] {
  const outward = Object.values(networkInterfaces()).flatMap((infos = []) => {
    const address = infos.find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
    return address === undefined ? [] : [address];
  });
  return ['127.0.0.1', ...outward];
}

/** Addresses that anybody can use come first. */
function byUse(a: string, b: string): number {
  return Number(isIPv6(a)) - Number(isIPv6(b)) || (a < b ? -1 : 1);
}

function serverOf(service: Service): FoundServer | undefined {
  const txt = service.txt as Record<string, unknown> | undefined;
  const told = (name: string) => {
    const value = txt?.[name];
    return (typeof value === 'string' ? value : '').slice(0, TEXT_MAX);
  };
  // The format of the record; there may be others one day.
  if (told('v') !== '1') return undefined;
  const host = service.addresses?.toSorted(byUse)[0];
  const scheme = told('https') === '1' ? 'https' : 'http';
  const url = told('url') || (host && `${scheme}://${isIPv6(host) ? `[${host}]` : host}:${service.port}`);
  if (!url || !URL.canParse(url)) return undefined;
  const pools: string[] = [];
  for (let n = 1; told(n === 1 ? 'pools' : `pools${n}`) !== '' && pools.length < FOUND_MAX; n++)
    pools.push(
      ...told(n === 1 ? 'pools' : `pools${n}`)
        .split(',')
        .filter(Boolean),
    );
  return {
    name: service.name.slice(0, TEXT_MAX),
    url,
    auth: told('auth'),
    pools,
    version: told('version'),
  };
}
