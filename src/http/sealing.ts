/**
 * Requests and answers of a login that asked for encryption. Each request is sealed under the login's key: its body is one text of the
 * type `application/jose`, or, where it has none, that text stands in the header `Stargus-Seal`; what isn't sealed is refused, so that
 * a token alone, which can be seen on the way, is good for nothing. Answers and events of streams are sealed likewise (engine/access/channel.ts).
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Channel } from '../engine/access/channel.js';
import { Problem } from '../engine/errors.js';
import { JOSE_TYPE, rawBody, replaceBody } from './body.js';
import type { RouteSpec } from './route.js';

/** What the answer to a sealed request is sealed by. */
interface Sealing {
  readonly channel: Channel;
  readonly seq: number;
}

const SEALING = Symbol('sealing');
type WithSealing = FastifyRequest & { [SEALING]?: Sealing };

/**
 * Opens a request, puts what it says in the place of its body, and has its answer sealed.
 *
 * @returns the body's media type; empty without a body
 */
export async function openSealed(
  channel: Channel,
  request: FastifyRequest,
  reply: FastifyReply,
  spec: RouteSpec,
  mediaType: string,
  checkNumber: (login: string, seq: number) => Promise<void>,
): Promise<string> {
  const { 'stargus-seal': header } = request.headers;
  const isBody = mediaType === JOSE_TYPE;
  if (!isBody && (typeof header !== 'string' || mediaType !== '')) {
    throw new Problem(
      'unauthenticated',
      `The login of this token is encrypted: send a sealed body (${JOSE_TYPE}), or without a body the header Stargus-Seal.`,
    );
  }
  const text = isBody ? rawBody(request).toString('latin1') : (header as string);
  const opened = channel.open(text, { method: request.method, target: request.url }, Date.now());
  await checkNumber(channel.id, opened.seq);
  (request as WithSealing)[SEALING] = { channel, seq: opened.seq };
  sealAnswer(request, reply, { channel, seq: opened.seq });
  if (
    spec.body?.stream !== undefined ||
    Object.values(spec.answers).some(({ contentType }) => isUnbounded(contentType))
  )
    throw new Problem('invalid', 'What is streamed as lines can’t be sealed: use a login without encryption for it.');
  if (!isBody) return '';
  replaceBody(request, opened.body);
  return opened.mediaType;
}

/** Whether the request was sealed under the key of its login, and has been opened. */
export function isOpened(request: FastifyRequest): boolean {
  return (request as WithSealing)[SEALING] !== undefined;
}

/** For the stream that the request opens: seals the data of each of its frames. Undefined where it isn't sealed. */
export function frameSealer(request: FastifyRequest): ((frames: string) => string) | undefined {
  const sealing = (request as WithSealing)[SEALING];
  if (!sealing) return undefined;
  const { channel, seq } = sealing;
  let place = 0;
  return (frames) =>
    frames.replace(FRAME, (_frame, event: string, id: string | undefined, data: string) => {
      const sealed = channel.sealEvent(data, seq, place++, event, id);
      return id === undefined ? `event: ${event}\ndata: ${sealed}\n` : `event: ${event}\nid: ${id}\ndata: ${sealed}\n`;
    });
}

/** As engine/watch/frames.ts writes them. */
const FRAME = /^event: (\w+)\n(?:id: (.*)\n)?data: (.*)\n/gm;

function isUnbounded(contentType: string | undefined): boolean {
  return contentType?.includes('ndjson') ?? false;
}

function sealAnswer(request: FastifyRequest, reply: FastifyReply, { channel, seq }: Sealing): void {
  const send = reply.send.bind(reply) as (payload?: unknown) => FastifyReply;
  const sealed = (payload?: unknown): FastifyReply => {
    if (payload === undefined || payload === null || payload === '') return send(payload);
    if (typeof payload !== 'string' && !Buffer.isBuffer(payload))
      throw new Error(`The answer to ${request.method} ${request.routeOptions.url} can't be sealed.`);
    const mediaType = String(reply.getHeader('content-type') ?? '').replace(/;.*$/, '');
    reply.header('content-type', JOSE_TYPE);
    return send(channel.sealAnswer(payload, seq, reply.statusCode, mediaType));
  };
  reply.send = sealed as FastifyReply['send'];
}
