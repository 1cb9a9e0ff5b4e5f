/** Bounds how many connections one address has, and names methods that HTTP knows and no route does. */
import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Addresses } from './address.js';

/** Counts connections by address; one too many is cut before it has cost anything. */
export function boundConnections(
  server: Server,
  addresses: Addresses,
  bounds: { readonly inAll: number; readonly perAddress: number },
  refused: (address: string) => void,
): void {
  const open = new Map<string, number>();
  server.maxConnections = bounds.inAll;
  server.on('drop', (data) => refused(addresses.named(data?.remoteAddress).key));
  server.prependListener('connection', (socket: Socket) => {
    const { key, isUnlimited } = addresses.named(socket.remoteAddress);
    if (isUnlimited) return;
    const count = open.get(key) ?? 0;
    if (count >= bounds.perAddress) {
      socket.destroy();
      refused(key);
      return;
    }
    open.set(key, count + 1);
    socket.once('close', () => {
      const left = (open.get(key) ?? 1) - 1;
      if (left > 0) open.set(key, left);
      else open.delete(key);
    });
  });
}

const KNOWN = new Set(['GET', 'HEAD', 'QUERY', 'PUT', 'POST', 'PATCH', 'DELETE', 'OPTIONS']);
/** Every path refuses it, as a method that it doesn't have. */
export const NEVER = 'TRACE';
const METHOD = Symbol('method');
type WithMethod = IncomingMessage & { [METHOD]?: string };

/** A method that no route has, such as PROPFIND, is refused where the path is known, instead of not being found. */
export function foldMethod(request: IncomingMessage): void {
  const { method } = request;
  if (method === undefined || KNOWN.has(method)) return;
  (request as WithMethod)[METHOD] = method;
  request.method = NEVER;
}

/** The method that was sent. */
export function sentMethod(request: IncomingMessage): string | undefined {
  return (request as WithMethod)[METHOD] ?? request.method;
}
