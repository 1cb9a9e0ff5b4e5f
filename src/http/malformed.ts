/** What isn't HTTP, or takes too long to become it, is answered as a problem like everything else, and the connection ends. */
import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Problem } from '../engine/errors.js';
import { limits } from '../engine/limits.js';
import { PROBLEM_TYPE } from './problem.js';

const answers = new WeakMap<Socket, ServerResponse>();

/** To be called for each request: what follows its beginning on the connection is then known to be part of its answer. */
export function noteAnswer(socket: Socket, answer: ServerResponse): void {
  answers.set(socket, answer);
}

export function answerMalformed(error: { code?: string }, socket: Socket): void {
  const present = answers.get(socket);
  // An answer that has begun can't be finished as another: it is cut, so that nobody takes a part for the whole.
  const hasBegun = present?.headersSent === true && !present.writableFinished;
  if (error.code === 'ECONNRESET' || !socket.writable || hasBegun) {
    socket.destroy();
    return;
  }
  const problem = problemOf(error.code);
  const requestId = randomUUID();
  const body = JSON.stringify({ type: 'about:blank', ...problem.toJSON(), requestId });
  const head = [
    `HTTP/1.1 ${problem.status} ${problem.code}`,
    `Request-Id: ${requestId}`,
    `Content-Type: ${PROBLEM_TYPE}`,
    'X-Content-Type-Options: nosniff',
    'Cache-Control: no-store',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
}

function problemOf(code: string | undefined): Problem {
  if (code === 'HPE_HEADER_OVERFLOW')
    return new Problem(
      'tooLarge',
      `The first line and the headers are larger than ${limits.headerBytesMax / 1024} KiB.`,
    );
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return new Problem('badRequest', 'The request took too long to arrive.');
  return new Problem('badRequest', 'This is not a valid HTTP/1.1 request.');
}
