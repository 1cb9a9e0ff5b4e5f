/**
 * A network link that can go wrong: a TCP proxy between a client and a node, or a node and its database, that passes bytes on
 * until it is told to delay them, to trickle them one by one, to swallow them for a while, or to cut every connection.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { pause } from './client.js';

/** `hole`: nothing passes, and neither end is told. */
export type Weather = 'clear' | 'slow' | 'hole' | 'trickle';

/** Past so many bytes of a chunk a trickle has cut every frame that it is going to cut. */
const TRICKLED = 80;

export class Link {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #weather: Weather = 'clear';
  #cleared: Promise<void> = Promise.resolve();
  #clear = () => {};
  #delayMs = 0;

  private constructor(private readonly target: () => number) {
    this.#server = createServer((near) => this.#join(near));
  }

  /** A link to whatever port `target` tells at each connection. */
  static async open(target: () => number): Promise<Link> {
    const link = new Link(target);
    await new Promise<void>((resolve, reject) => {
      link.#server.once('error', reject).listen(0, '127.0.0.1', resolve);
    });
    return link;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  turn(weather: Weather, delayMs = 0): void {
    this.#delayMs = delayMs;
    if (weather === this.#weather) return;
    this.#weather = weather;
    this.#clear();
    if (weather === 'hole') this.#cleared = new Promise((resolve) => (this.#clear = resolve));
  }

  /** Ends every connection at once, as a firewall that forgot them would. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async close(): Promise<void> {
    this.turn('clear');
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #join(near: Socket): void {
    const port = this.target();
    if (port === 0) return void near.resetAndDestroy();
    const far = connect(port, '127.0.0.1');
    this.#pass(near, far);
    this.#pass(far, near);
  }

  #pass(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    from.setNoDelay(true);
    let passing = Promise.resolve();
    from.on('data', (chunk: Buffer) => {
      from.pause();
      passing = passing.then(() => this.#carry(chunk, to)).then(() => void from.resume());
    });
    from.on('error', () => {});
    // The end comes after what was sent before it, and doesn't get through a hole either.
    from.on('close', () => {
      this.#sockets.delete(from);
      void passing.then(() => this.#cleared).then(() => void to.destroySoon());
    });
  }

  async #carry(chunk: Buffer, to: Socket): Promise<void> {
    if (this.#weather === 'slow') await pause(this.#delayMs);
    let sent = 0;
    for (; this.#weather === 'trickle' && sent < Math.min(chunk.length, TRICKLED); sent++) {
      to.write(chunk.subarray(sent, sent + 1));
      await pause(1);
    }
    await this.#cleared;
    if (!to.destroyed) to.write(chunk.subarray(sent));
  }
}
