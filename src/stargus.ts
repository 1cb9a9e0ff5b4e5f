/**
 * Stargus inside another program: what `import { Stargus } from 'stargus'` gives. The whole server runs in that program's process, and
 * is asked by a `fetch` that goes straight to it, without a port; so everything that speaks to a server over HTTP, a generated client
 * too, speaks to this one, and what docs/GUARANTEES.md says holds. The process stays the program's: no signals are heard, nothing is
 * printed, no environment is read, several may run side by side.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Config, ConfigError, type Configuration, checkListening, readConfig } from './platform/config.js';
import { newLogger } from './platform/logger.js';
import { type BuiltServer, build } from './wiring.js';

/** What the server has to say: `level` is pino's number (30 info, 40 warn, 50 error), `msg` a sentence. */
export interface LogEntry {
  readonly level: number;
  readonly time: string;
  readonly msg: string;
  readonly [detail: string]: unknown;
}

export interface StargusOptions {
  /** Hears what the server would write to its log. Without it nobody does. */
  readonly log?: (entry: LogEntry) => void;
}

export interface ListenOptions {
  /** Without it STARGUS_PORT; 0 takes a free one. */
  readonly port?: number;
  /** Without it STARGUS_HOST. */
  readonly host?: string;
}

export class Stargus {
  readonly #server: BuiltServer;
  readonly #config: Config;
  readonly #removed: () => Promise<void>;
  #listening: Promise<string> | undefined;
  #closing: Promise<void> | undefined;

  private constructor(server: BuiltServer, config: Config, removed: () => Promise<void>) {
    this.#server = server;
    this.#config = config;
    this.#removed = removed;
    this.fetch = (input, init) => server.inProcess.fetch(input, init);
  }

  /**
   * Starts a server that has no port yet. The configuration is that of the program, by the same names, but nothing is taken from
   * `process.env`; without STARGUS_DATABASE_URL it is a SQLite file in ./data.
   *
   * @throws Error that names the variable that is wrong, or says what the database has to say
   */
  static async start(configuration: Configuration = {}, options: StargusOptions = {}): Promise<Stargus> {
    return Stargus.#start(configuration, options, async () => {});
  }

  /** The same on an empty database, which is removed when the server is closed: for tests, and for what needn't last. */
  static async temporary(configuration: Configuration = {}, options: StargusOptions = {}): Promise<Stargus> {
    if (configuration.STARGUS_DATABASE_URL !== undefined)
      throw new ConfigError('STARGUS_DATABASE_URL: a temporary server has a database of its own. Use Stargus.start().');
    const folder = await mkdtemp(path.join(tmpdir(), 'stargus-'));
    const removed = () => rm(folder, { recursive: true, force: true });
    const STARGUS_DATABASE_URL = `sqlite:${path.join(folder, 'stargus.db')}`;
    try {
      return await Stargus.#start({ ...configuration, STARGUS_DATABASE_URL }, options, removed);
    } catch (error) {
      await removed();
      throw error;
    }
  }

  static async #start(
    configuration: Configuration,
    { log }: StargusOptions,
    removed: () => Promise<void>,
  ): Promise<Stargus> {
    const { config, warnings, unknown } = readConfig(configuration);
    if (unknown.length > 0) throw new ConfigError(unknown.join('\n'));
    if (config.STARGUS_AUTH === 'required' && config.STARGUS_OPERATOR_KEY === '')
      throw new ConfigError(
        'STARGUS_OPERATOR_KEY is not set: a server inside a program prints no key, so with STARGUS_AUTH=required the program gives it one.',
      );
    const logger = newLogger(log ? config.STARGUS_LOG_LEVEL : 'silent', {
      write: (line) => log?.(JSON.parse(line) as LogEntry),
    });
    for (const warning of warnings) logger.warn(warning);
    const server = await build(config, { logger, isGuest: true });
    server.start();
    return new Stargus(server, config, removed);
  }

  /**
   * The URL that requests name, without a slash at the end: STARGUS_PUBLIC_URL; else the address that it listens on, and
   * `http://localhost`, which is always understood by `fetch`, while it doesn't.
   */
  get url(): string {
    return this.#server.publicUrl.href;
  }

  /**
   * As the global `fetch`, but it goes to this server and no other: `input` is a path, such as `/v1/pools`, or a URL that begins with `url`.
   * Any client that can be given a `fetch` may be given this one; it needs no `this`. Where STARGUS_AUTH is `open` the caller may do
   * everything; where it is `required` requests bring credentials as from anywhere.
   */
  readonly fetch: (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

  /**
   * Opens a port too, for other programs; answers the URL there. Once.
   *
   * @throws Error that names what is wrong, such as an address that others can reach with STARGUS_AUTH=open
   */
  listen({ port = this.#config.STARGUS_PORT, host = this.#config.STARGUS_HOST }: ListenOptions = {}): Promise<string> {
    if (this.#closing !== undefined) return Promise.reject(new Error('The server is closed.'));
    const problem = checkListening({ ...this.#config, STARGUS_HOST: host });
    if (problem !== undefined) return Promise.reject(new ConfigError(problem));
    if (this.#listening !== undefined) return Promise.reject(new Error('The server listens already.'));
    const listening = this.#server.listen(port, host);
    this.#listening = listening;
    // A port that was taken may be tried again, or another one.
    listening.catch(() => {
      this.#listening = undefined;
    });
    return listening;
  }

  /** Ends in order: no new requests, what is under way is finished, streams get `bye`; then nothing is left of it in the process. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    await this.#listening?.catch(() => undefined);
    await this.#server.stop();
    await this.#removed();
  }
}
