/** Servers that say what a test wants them to. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { afterEach, expect } from 'vitest';
import type { Client, ConnectOptions } from '../src/library.js';
import { connect } from '../src/stargus.node.js';

export type Handle = (incoming: IncomingMessage, outgoing: ServerResponse) => void;

export const ABOUT = { name: 'stargus', version: '9.9.9', apiVersion: 'v1', features: [], limits: {} };

/** As `expect.poll`, on a machine that may be slow. */
export const soon: typeof expect.poll = (look, options) => expect.poll(look, { timeout: 15_000, ...options });

const running: Server[] = [];
const opened: Client[] = [];

afterEach(async () => {
  await Promise.all(opened.splice(0).map((client) => client.close()));
  for (const server of running.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

/** @returns its URL */
export async function serve(handle: Handle): Promise<string> {
  const server = createServer(handle);
  running.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as { port: number }).port}`;
}

/** A client of a server that says what it is, and does with all else as told. */
export async function clientOf(handle: Handle, options: ConnectOptions = {}): Promise<Client> {
  const url = await serve((incoming, outgoing) => {
    if (incoming.url === '/v1') json(outgoing, ABOUT);
    else handle(incoming, outgoing);
  });
  const client = await connect(url, 'p', { retryForMs: 300, ...options });
  opened.push(client);
  return client;
}

export function json(outgoing: ServerResponse, body: unknown, status = 200): void {
  outgoing.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

export type Event = readonly [event: string, data: unknown, id?: string];

export function stream(outgoing: ServerResponse, ...events: readonly Event[]): void {
  outgoing.writeHead(200, { 'content-type': 'text/event-stream' });
  for (const event of events) send(outgoing, event);
}

export function send(outgoing: ServerResponse, [event, data, id]: Event): void {
  outgoing.write(`event: ${event}\n${id === undefined ? '' : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`);
}
