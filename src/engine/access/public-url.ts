/**
 * The URL under which clients know this server: the beginning of the accounts that it hosts, what its tokens are for, and what
 * whatever is signed for it must name. It is configured, or, where it isn't, the address that the server listens on, known once
 * it does.
 */
/** The URL of a server that hasn't a port and is asked by its own process only. */
export const NOWHERE = 'http://localhost';

export class PublicUrl {
  #href: string | undefined;
  /** Whether somebody has said how others reach the server. */
  readonly isConfigured: boolean;

  /**
   * `configured` is an origin without a slash at the end; empty for the address that is listened on. A port of 0 is not known yet; a
   * server that may never listen is at NOWHERE until then.
   */
  constructor(
    configured: string,
    host: string,
    port: number,
    private readonly mayNeverListen = false,
  ) {
    this.isConfigured = configured !== '';
    if (this.isConfigured) this.#href = configured;
    else if (port !== 0) this.listening(host, port);
  }

  /** The server listens there now. */
  listening(host: string, port: number): void {
    // An address that means every address of the machine is no place to go to.
    const reachable = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
    this.#href ??= `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`;
  }

  /** Without a slash at the end. */
  get href(): string {
    if (this.#href === undefined && this.mayNeverListen) return NOWHERE;
    if (this.#href === undefined) throw new Error('The server’s URL is asked for before it listens.');
    return this.#href;
  }

  /** The account that this server hosts under the name. */
  accountOf(name: string): string {
    return `${this.href}/id/${name}`;
  }

  /** The name of an account that this server hosts; undefined for a foreign one. */
  nameOf(account: string): string | undefined {
    const prefix = `${this.href}/id/`;
    return account.startsWith(prefix) ? account.slice(prefix.length) : undefined;
  }
}
