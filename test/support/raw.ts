/**
 * Requests as no well-behaved client sends them: the bytes go to the socket as they are, so nothing between the test and the
 * server mends a path, a length or a body.
 */
import { connect, type Socket } from 'node:net';
import type { Answer } from './scenario.js';
import type { Server } from './server.js';

const WAIT_MS = 10_000;

/**
 * Sends the text and answers what comes back, as soon as it is whole: the connection may stay open on both sides.
 *
 * @throws Error if no whole answer comes
 */
export async function sendRaw(server: Server, text: string | Buffer): Promise<Answer> {
  const socket = await connected(server);
  try {
    return await new Promise<Answer>((resolve, reject) => {
      let received = Buffer.alloc(0);
      const timer = setTimeout(() => reject(new Error(`No whole answer came; only:\n${received}`)), WAIT_MS);
      const look = (): void => {
        const answer = parsed(received);
        if (!answer) return;
        clearTimeout(timer);
        resolve(answer);
      };
      socket.on('data', (chunk) => {
        received = Buffer.concat([received, chunk]);
        look();
      });
      socket.on('close', () => {
        clearTimeout(timer);
        reject(new Error(`The connection ended before a whole answer came; only:\n${received}`));
      });
      socket.write(text);
    });
  } finally {
    socket.destroy();
  }
}

export function connected(server: Server): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(server.url);
    const socket = connect(Number(port), hostname);
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      // A server that refuses before it has read everything may cut what is still being sent.
      socket.on('error', () => {});
      resolve(socket);
    });
  });
}

/** A request's head, with what every request needs. */
export function head(server: Server, line: string, headers: Record<string, string | number> = {}): string {
  const all = { host: new URL(server.url).host, ...headers };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${line} HTTP/1.1\r\n${lines.join('')}\r\n`;
}

function parsed(received: Buffer): Answer | undefined {
  const end = received.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const [line, ...fields] = received.subarray(0, end).toString('latin1').split('\r\n');
  const headers = Object.fromEntries(
    fields.map((field) => [
      field.slice(0, field.indexOf(':')).toLowerCase(),
      field.slice(field.indexOf(':') + 1).trim(),
    ]),
  );
  const bytes = received.subarray(end + 4);
  if (bytes.length < Number(headers['content-length'] ?? 0)) return undefined;
  const text = bytes.toString('utf8');
  let body: unknown = {};
  try {
    body = JSON.parse(text);
  } catch {
    // Not JSON: the text says what it is.
  }
  return { status: Number(line?.split(' ')[1]), headers, text, body };
}
