/**
 * Requests of this process, without a port: connections to the web server that lie in memory, and `fetch` on top of them. What goes
 * over such a connection is HTTP as on any other, so whatever holds for requests from elsewhere holds here: bounds, back-pressure of
 * streams, what an abort undoes. Only the network is left out.
 */
import { Agent, request as httpRequest, type IncomingMessage, type RequestOptions, type Server } from 'node:http';
import { Duplex, type DuplexOptions, Readable } from 'node:stream';
import { NOWHERE } from '../engine/access/public-url.js';

/** What an answer may be ahead of its reader, as far as the web stream goes. */
const READ_AHEAD_BYTES = 64 * 1024;
/** Connections that are kept for the next request. */
const KEPT_MAX = 16;
/** Whence requests come: this machine. */
const ADDRESS = '127.0.0.1';
/** An open server takes requests that name this machine. */
const HOST = new URL(NOWHERE).host;
/** Answers with these have no body, and Response refuses one. */
const BODILESS = new Set([204, 205, 304]);
/** Node's timers wait no longer; it is begun again anyway. */
const LONG_MS = 2 ** 30;

export class InProcess {
  readonly #agent: MemoryAgent;
  /** Holds the process while a request is under way, as a socket would. */
  #hold: NodeJS.Timeout | undefined;
  #underWay = 0;
  #isClosed = false;

  /** `baseUrl` is the URL of the server, which relative ones are relative to. */
  constructor(
    server: Server,
    private readonly baseUrl: () => string,
  ) {
    this.#agent = new MemoryAgent(server);
  }

  /**
   * As the global `fetch`, for URLs of this server and paths that begin with a slash. What is the browser's business (cache, mode,
   * credentials) has no effect, and the server never redirects. Rejects with TypeError for other URLs and once it is closed, with the
   * signal's reason when that is aborted.
   */
  async fetch(input: string | URL | Request, init?: RequestInit): Promise<Response> {
    const request = this.#requestOf(input, init);
    const { signal } = request;
    signal.throwIfAborted();
    const body = await bodyOf(request, input, init);
    signal.throwIfAborted();
    if (this.#isClosed) throw new TypeError('The server is closed.');
    return this.#exchange(request, body);
  }

  /** Takes no more requests; settles when the server has answered those that are under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#agent.close();
    // An answer that nobody reads to its end holds nothing any more.
    clearInterval(this.#hold);
  }

  /** Ends the connections whose requests haven't ended by themselves. */
  cut(): void {
    this.#agent.cut();
  }

  #requestOf(input: string | URL | Request, init: RequestInit | undefined): Request {
    const base = this.baseUrl();
    const isPath = typeof input === 'string' && input.startsWith('/') && !input.startsWith('//');
    // Undici wants to be told that it needn't answer before the body was sent; a server that may do so needs no permission.
    const whole = init?.body == null ? init : ({ duplex: 'half', ...init } as RequestInit);
    const request = new Request(isPath ? `${base}${input}` : input, whole);
    const { origin } = new URL(request.url);
    if (origin !== base && origin !== NOWHERE)
      throw new TypeError(`fetch here is for ${base}, and ${origin} is elsewhere.`);
    return request;
  }

  #exchange(request: Request, body: Buffer | Readable | undefined): Promise<Response> {
    const { pathname, search } = new URL(request.url);
    const headers = Object.fromEntries(request.headers);
    if (Buffer.isBuffer(body)) headers['content-length'] = String(body.length);
    const outgoing = httpRequest({
      agent: this.#agent,
      method: request.method,
      path: pathname + search,
      headers: { ...headers, host: HOST },
    });
    const abort = () => outgoing.destroy();
    request.signal.addEventListener('abort', abort, { once: true });
    this.#begin();
    outgoing.once('close', () => {
      request.signal.removeEventListener('abort', abort);
      this.#end();
    });
    return new Promise<Response>((resolve, reject) => {
      outgoing.once('response', (incoming) => resolve(responseOf(request, incoming)));
      outgoing.on('error', (error) =>
        reject(request.signal.aborted ? request.signal.reason : new TypeError('fetch failed', { cause: error })),
      );
      if (body instanceof Readable) {
        body.on('error', (error) => outgoing.destroy(error));
        outgoing.once('close', () => body.destroy());
        body.pipe(outgoing);
      } else outgoing.end(body);
    });
  }

  #begin(): void {
    if (this.#underWay++ === 0) this.#hold = setInterval(() => {}, LONG_MS);
  }

  #end(): void {
    if (--this.#underWay === 0) clearInterval(this.#hold);
  }
}

/** What is there already is sent with its length, what is a stream as it comes. */
async function bodyOf(
  request: Request,
  input: string | URL | Request,
  init: RequestInit | undefined,
): Promise<Buffer | Readable | undefined> {
  if (typeof init?.body === 'string') return Buffer.from(init.body);
  if (request.body === null) return undefined;
  const given = init?.body ?? (input instanceof Request ? input.body : undefined);
  const isStream = given instanceof ReadableStream || (given as AsyncIterable<unknown>)?.[Symbol.asyncIterator];
  if (!isStream) return Buffer.from(await request.arrayBuffer());
  return Readable.fromWeb(request.body as Parameters<typeof Readable.fromWeb>[0]);
}

function responseOf(request: Request, incoming: IncomingMessage): Response {
  const status = incoming.statusCode as number;
  const headers = new Headers();
  for (let i = 0; i < incoming.rawHeaders.length; i += 2)
    headers.append(incoming.rawHeaders[i] as string, incoming.rawHeaders[i + 1] as string);
  const isEmpty = request.method === 'HEAD' || BODILESS.has(status);
  if (isEmpty) incoming.resume();
  const response = new Response(isEmpty ? null : bodyStream(incoming, request.signal), {
    status,
    statusText: incoming.statusMessage,
    headers,
  });
  // Set by nobody but who fetches.
  Object.defineProperty(response, 'url', { value: request.url });
  return response;
}

/** The answer's body. It is read ahead, so that a small one is over before, or without, anybody's reading it. */
function bodyStream(incoming: IncomingMessage, signal: AbortSignal): ReadableStream<Uint8Array> {
  let isOver = false;
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        const end = (finish: () => void) => {
          if (isOver) return;
          isOver = true;
          finish();
        };
        const fail = (cause?: unknown) =>
          end(() => controller.error(signal.aborted ? signal.reason : new TypeError('terminated', { cause })));
        incoming.on('data', (chunk: Buffer) => {
          if (isOver) return;
          controller.enqueue(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length));
          if ((controller.desiredSize as number) <= 0) incoming.pause();
        });
        incoming.once('end', () => end(() => controller.close()));
        incoming.on('error', fail);
        incoming.once('close', fail);
      },
      pull: () => void incoming.resume(),
      cancel: () => {
        isOver = true;
        incoming.destroy();
      },
    },
    new ByteLengthQueuingStrategy({ highWaterMark: READ_AHEAD_BYTES }),
  );
}

/** Makes connections to the server that lie in memory, and keeps a few. */
class MemoryAgent extends Agent {
  readonly #server: Server;
  readonly #open = new Set<Duplex>();
  #closed: (() => void) | undefined;

  constructor(server: Server) {
    super({ keepAlive: true, maxFreeSockets: KEPT_MAX });
    this.#server = server;
  }

  override createConnection(_options: RequestOptions): Duplex {
    const client = new MemorySocket({ allowHalfOpen: false });
    const server = new MemorySocket({ allowHalfOpen: true }, client);
    // Of the server's ends: what it has sent, a reader may take as late as it likes.
    this.#open.add(server);
    server.once('close', () => {
      this.#open.delete(server);
      if (this.#open.size === 0) this.#closed?.();
    });
    this.#server.emit('connection', server);
    return client;
  }

  /** Ends the connections that wait for a request; settles when the others have ended by themselves. */
  async close(): Promise<void> {
    const ended = new Promise<void>((resolve) => {
      this.#closed = resolve;
    });
    this.maxFreeSockets = 0;
    for (const free of Object.values(this.freeSockets)) for (const socket of free ?? []) socket.destroy();
    if (this.#open.size > 0) await ended;
  }

  cut(): void {
    for (const socket of this.#open) socket.destroy();
  }
}

/**
 * One end of a connection in memory. What is written at one end can be read at the other, and is taken when it is read there: so a reader
 * that is slow is felt by the writer. Bytes are copied, for a frame that goes to many readers is one buffer, and theirs to keep is their own.
 */
class MemorySocket extends Duplex {
  readonly remoteAddress = ADDRESS;
  bytesWritten = 0;
  #peer: MemorySocket | undefined;
  /** Lets the peer write on. */
  #taken: (() => void) | undefined;

  constructor(options: DuplexOptions, peer?: MemorySocket) {
    super(options);
    if (!peer) return;
    this.#peer = peer;
    peer.#peer = this;
  }

  override _read(): void {
    const taken = this.#taken;
    this.#taken = undefined;
    taken?.();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    const peer = this.#peer;
    if (!peer || peer.destroyed) {
      done(Object.assign(new Error('The other end of the connection is closed.'), { code: 'EPIPE' }));
      return;
    }
    this.bytesWritten += chunk.length;
    const copy = new Uint8Array(chunk);
    if (peer.push(Buffer.from(copy.buffer))) done();
    else peer.#taken = done;
  }

  override _final(done: () => void): void {
    this.#peer?.push(null);
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const taken = this.#taken;
    this.#taken = undefined;
    taken?.();
    const peer = this.#peer;
    // An end that was told is found by reading; without one the connection is cut.
    if (peer && !peer.destroyed && !this.writableFinished) setImmediate(() => peer.destroy());
    done(error);
  }

  resetAndDestroy(): this {
    return this.destroy();
  }

  // What else is done with sockets, and means nothing here.
  setNoDelay(): this {
    return this;
  }
  setKeepAlive(): this {
    return this;
  }
  setTimeout(): this {
    return this;
  }
  ref(): this {
    return this;
  }
  unref(): this {
    return this;
  }
}
