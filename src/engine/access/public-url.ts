/**
 * Under which URL others know this server: the beginning of the accounts that it hosts, the audience of what is signed for it,
 * and the issuer of its tokens. One object, for with a free port it is known only once the server listens.
 */
export class PublicUrl {
  #origin: string | undefined;

  /** `origin`: scheme, host and port, without a slash at the end; undefined until it is known. */
  constructor(origin: string | undefined) {
    this.#origin = origin;
  }

  get origin(): string {
    if (this.#origin === undefined) throw new Error('The public URL is asked for before the server listens.');
    return this.#origin;
  }

  /** To be called once, when the server listens. What was configured stays. */
  listening(origin: string): void {
    this.#origin ??= origin;
  }

  /** The account that this server hosts under the name. */
  accountOf(name: string): string {
    return `${this.origin}/id/${name}`;
  }

  /** The name of an account that this server hosts; undefined for a foreign one. */
  nameOf(account: string): string | undefined {
    const prefix = `${this.origin}/id/`;
    return account.startsWith(prefix) ? account.slice(prefix.length) : undefined;
  }
}
