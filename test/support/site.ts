/** A web site of its own for a test, at https on this machine: what each path answers is said by the test, and who asked is kept. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterAll } from 'vitest';
import { newCertificate } from './certificate.js';

export type Page = string | ((request: IncomingMessage, response: ServerResponse) => void);

export interface Site {
  readonly port: number;
  /** What a client has to trust, PEM. */
  readonly ca: string;
  /** By path; others are 404. */
  readonly pages: Map<string, Page>;
  /** The paths that were asked for. */
  readonly asked: string[];
  /** `https://<host>:<port>`; the host is one of those that the site was opened for. */
  origin(host: string): string;
}

const closing: (() => void)[] = [];
afterAll(() => {
  for (const close of closing.splice(0)) close();
});

export async function openSite(hosts: readonly string[]): Promise<Site> {
  const { key, cert } = newCertificate(hosts);
  const pages = new Map<string, Page>();
  const asked: string[] = [];
  const server = createServer({ key, cert }, (request, response) => {
    const { url = '' } = request;
    asked.push(url);
    const page = pages.get(url);
    if (page === undefined) response.writeHead(404).end();
    else if (typeof page === 'string') response.writeHead(200, { 'content-type': 'application/json' }).end(page);
    else page(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  return { port, ca: cert, pages, asked, origin: (host) => `https://${host}:${port}` };
}
