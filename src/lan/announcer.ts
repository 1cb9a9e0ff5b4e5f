/**
 * Announces a server wherever it can be reached: on each such interface of the machine, as they come and go, with the names of its pools
 * as they do. Nothing of it can harm the server: what fails is warned of and tried again.
 */
import { type Announced, Announcement } from './announcement.js';
import { type Place, placesFor } from './places.js';
import { stringsOf, type Told } from './telling.js';

/** Pools that come and go together are told together. */
const GATHER_MS = 1000;
/** How often is looked for interfaces, and for pools that other nodes made. */
const LOOK_MS = 30_000;

export interface AnnouncerOptions extends Announced {
  /** The address that the server listens on. */
  readonly listening: string;
  readonly told: Omit<Told, 'id' | 'pools' | 'hasMorePools'>;
  /** The pools that strangers may be told of. */
  pools(): Promise<{ names: readonly string[]; hasMore: boolean }>;
  warn(message: string): void;
}

export class Announcer {
  readonly #announcements = new Map<string, Announcement>();
  #pools: Pick<Told, 'pools' | 'hasMorePools'> = { pools: [], hasMorePools: false };
  #strings: Buffer[] = [];
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();
  #hasWarned = false;
  #isClosed = false;

  constructor(private readonly options: AnnouncerOptions) {}

  start(): void {
    this.#look();
  }

  /** Pools came or went. */
  poolsChanged(): void {
    this.#lookIn(GATHER_MS);
  }

  /** Says goodbye. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#looking;
    await Promise.all([...this.#announcements.values()].map((announcement) => announcement.close()));
    this.#announcements.clear();
  }

  #lookIn(ms: number): void {
    clearTimeout(this.#timer);
    if (!this.#isClosed) this.#timer = setTimeout(() => this.#look(), ms).unref();
  }

  #look(): void {
    this.#looking = this.#looking.then(() => this.#lookAround()).catch((error: Error) => this.#warn(error.message));
    void this.#looking.then(() => this.#lookIn(LOOK_MS));
  }

  async #lookAround(): Promise<void> {
    if (this.#isClosed) return;
    try {
      const { names, hasMore } = await this.options.pools();
      this.#pools = { pools: names, hasMorePools: hasMore };
    } catch {
      // The database is away: what was known is told on.
    }
    const { told, id } = this.options;
    const strings = stringsOf({ ...told, id, ...this.#pools });
    const isNew = !Buffer.concat(strings).equals(Buffer.concat(this.#strings));
    this.#strings = strings;
    if (isNew) for (const announcement of this.#announcements.values()) announcement.update(strings);
    await this.#follow(placesFor(this.options.listening));
  }

  /** Announces where the server can be reached now, and no more where it can't. */
  async #follow(places: readonly Place[]): Promise<void> {
    if (places.length === 0) this.#warn(`No interface of this machine leads to ${this.options.listening}`);
    const wanted = new Map(places.map((place) => [JSON.stringify(place), place]));
    for (const [key, announcement] of this.#announcements) {
      if (wanted.has(key)) continue;
      this.#announcements.delete(key);
      await announcement.close();
    }
    for (const [key, place] of wanted) {
      if (this.#announcements.has(key)) continue;
      const warn = (message: string) => this.options.warn(message);
      this.#announcements.set(key, new Announcement(this.options, place, this.#strings, warn));
    }
  }

  #warn(message: string): void {
    if (!this.#hasWarned) this.options.warn(message);
    this.#hasWarned = true;
  }
}
