/**
 * The file of a backup: gzip’d lines of JSON, the same from and for every kind of database. First what it is, then for each table its
 * name and its rows, at last how many rows there were and the SHA-256 of everything before, so that a file that was cut off or
 * altered is known. The digest is against accidents; whoever may write the file may make another.
 *
 *   {"stargus":"backup","format":1,"version":…,"schema":…,"database":…,"time":…,"tables":{"pool":["id","name",…],…}}
 *   {"table":"pool"}
 *   [1,"demo",…]
 *   {"rows":{"pool":1,…},"sha256":"…"}
 *
 * A cell is a string, a number, null, or {"base64":…} for bytes that are no text.
 */
import { createHash, type Hash } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { constants, createGunzip, createGzip, type Gzip } from 'node:zlib';
import { migrationNames } from '../store/data-source.js';
import type { Row, Value } from '../store/dialect.js';
import type { DatabaseKind } from '../store/reading.js';
import { type Table, tableByName } from '../store/tables.js';

const FORMAT = 1;
/** What is handed on at once. */
const PORTION_UNITS = 256 * 1024;
/** The longest row has a commit's answer, of 4 MiB and less; a line beyond this is no row, and memory ends somewhere. */
const LINE_BYTES_MAX = 256 * 1024 * 1024;
const ROWS_AT_ONCE = 500;
const ROWS_BYTES_AT_ONCE = 4 * 1024 * 1024;

export interface Header {
  readonly stargus: 'backup';
  readonly format: number;
  /** Of the program that made it. */
  readonly version: string;
  /** The name of the last migration. */
  readonly schema: string;
  readonly database: DatabaseKind;
  /** Of the state that it is of, by the database's clock. */
  readonly time: string;
  /** The columns of each table that is in it. */
  readonly tables: Readonly<Record<string, readonly string[]>>;
}

/** How many rows of each table. */
export type Counts = Readonly<Record<string, number>>;

/** The file is no backup, or not a whole one, or not one for this version. */
export class ArchiveFault extends Error {}

export class ArchiveWriter {
  readonly #gzip: Gzip = createGzip({ level: constants.Z_BEST_SPEED });
  readonly #hash = createHash('sha256');
  readonly #written: Promise<void>;
  readonly #counts: Record<string, number> = {};
  #failure: unknown;
  #portion = '';
  #table: Table | undefined;

  /** Writes to a new file, which only its owner can read. */
  constructor(
    file: string,
    private readonly header: Header,
  ) {
    this.#written = pipeline(this.#gzip, createWriteStream(file, { flags: 'wx', mode: 0o600, flush: true }));
    this.#written.catch((error: unknown) => {
      this.#failure = error;
    });
    this.#line(header);
  }

  get counts(): Counts {
    return this.#counts;
  }

  async begin(table: Table): Promise<void> {
    this.#table = table;
    this.#counts[table.name] = 0;
    this.#line({ table: table.name });
  }

  async add(rows: readonly Row[]): Promise<void> {
    const { name, binary } = this.#table as Table;
    const columns = this.header.tables[name] as readonly string[];
    for (const row of rows) {
      this.#line(columns.map((column) => toCell(row[column] ?? null, binary.has(column))));
      if (this.#portion.length >= PORTION_UNITS) await this.#flush();
    }
    this.#counts[name] = (this.#counts[name] ?? 0) + rows.length;
  }

  /** Resolves when all of it is on disk. */
  async end(): Promise<void> {
    await this.#flush();
    this.#gzip.end(`${JSON.stringify({ rows: this.#counts, sha256: this.#hash.digest('hex') })}\n`);
    await this.#written;
  }

  async abort(): Promise<void> {
    this.#gzip.destroy();
    await this.#written.catch(() => undefined);
  }

  #line(value: object): void {
    this.#portion += `${JSON.stringify(value)}\n`;
  }

  async #flush(): Promise<void> {
    const portion = Buffer.from(this.#portion);
    this.#portion = '';
    this.#hash.update(portion);
    if (this.#gzip.write(portion)) return;
    await Promise.race([once(this.#gzip, 'drain'), this.#written]);
    if (this.#failure !== undefined) throw this.#failure;
  }
}

/** A row of a table, or several, as they come from the file. */
export interface Portion {
  readonly table: Table;
  readonly rows: readonly Row[];
}

/**
 * Reads a file from its beginning to its end. What it yields is only known to be right when it has come to its end, where it
 * compares counts and digest: whoever acts on it must be able to take it back.
 *
 * @throws ArchiveFault with a sentence for the operator
 */
export class ArchiveReader {
  #header: Header | undefined;
  #counts: Counts = {};

  constructor(private readonly file: string) {}

  /** After the first portion, or the end. */
  get header(): Header {
    return this.#header as Header;
  }

  /** After the end. */
  get counts(): Counts {
    return this.#counts;
  }

  async *portions(): AsyncGenerator<Portion> {
    const hash = createHash('sha256');
    const counts: Record<string, number> = {};
    let table: Table | undefined;
    let rows: Row[] = [];
    let bytes = 0;
    let ended = false;
    for await (const line of this.#lines()) {
      if (ended) throw this.#damaged('something follows its end');
      const value = this.#parse(line);
      if (!this.#header) {
        this.#header = this.#headerOf(value);
        addLine(hash, line);
        continue;
      }
      if (Array.isArray(value)) {
        if (!table) throw this.#damaged('a row belongs to no table');
        rows.push(this.#row(table, value));
        counts[table.name] = (counts[table.name] as number) + 1;
        bytes += line.length;
        addLine(hash, line);
        if (rows.length < ROWS_AT_ONCE && bytes < ROWS_BYTES_AT_ONCE) continue;
      }
      if (table && rows.length > 0) yield { table, rows };
      rows = [];
      bytes = 0;
      if (Array.isArray(value)) continue;
      if ('sha256' in value) {
        this.#checkEnd(value, counts, hash);
        ended = true;
      } else {
        const { table: name } = value as { table?: unknown };
        table = typeof name === 'string' && this.#header.tables[name] ? tableByName.get(name) : undefined;
        if (!table || counts[table.name] !== undefined) throw this.#damaged('its tables are not as it says');
        counts[table.name] = 0;
        addLine(hash, line);
      }
    }
    if (!this.#header) throw new ArchiveFault(`${this.file} is empty.`);
    if (!ended) throw new ArchiveFault(`${this.file} is cut off: its end is missing.`);
    this.#counts = counts;
  }

  async *#lines(): AsyncGenerator<Buffer> {
    const gunzip = createGunzip();
    const source = createReadStream(this.file);
    source.once('error', (error) => gunzip.destroy(error));
    source.pipe(gunzip);
    let pieces: Buffer[] = [];
    let length = 0;
    try {
      for await (const chunk of gunzip as AsyncIterable<Buffer>) {
        let from = 0;
        for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
          pieces.push(chunk.subarray(from, end));
          yield pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces);
          pieces = [];
          length = 0;
          from = end + 1;
        }
        pieces.push(chunk.subarray(from));
        length += chunk.length - from;
        if (length > LINE_BYTES_MAX) throw this.#damaged('a line is longer than any row');
      }
    } catch (error) {
      throw this.#readable(error);
    } finally {
      source.destroy();
      gunzip.destroy();
    }
    if (length > 0 && this.#header) throw new ArchiveFault(`${this.file} is cut off: it ends inside a line.`);
    if (length > 0) throw new ArchiveFault(`${this.file} is no backup of Stargus.`);
  }

  #readable(error: unknown): unknown {
    const { code, message } = error as { code?: string; message: string };
    if (code === 'Z_BUF_ERROR') return new ArchiveFault(`${this.file} is cut off: the rest of it is missing.`);
    if (code?.startsWith('Z_')) {
      return this.#header
        ? this.#damaged('it can’t be decompressed')
        : new ArchiveFault(`${this.file} is no backup of Stargus: it isn’t gzip’d, or it is damaged at its beginning.`);
    }
    if (code === 'ENOENT') return new ArchiveFault(`There is no file ${this.file}.`);
    return code === undefined ? error : new ArchiveFault(`${this.file} can’t be read: ${message}.`);
  }

  #damaged(what: string): ArchiveFault {
    return new ArchiveFault(`${this.file} is damaged: ${what}.`);
  }

  #parse(line: Buffer): object {
    try {
      const value: unknown = JSON.parse(line.toString('utf8'));
      if (typeof value === 'object' && value !== null) return value;
    } catch {
      // As below.
    }
    if (!this.#header) throw new ArchiveFault(`${this.file} is no backup of Stargus.`);
    throw this.#damaged('a line is not JSON');
  }

  #headerOf(value: object): Header {
    const { stargus, format, schema, version, tables } = value as Partial<Header>;
    if (stargus !== 'backup' || typeof format !== 'number')
      throw new ArchiveFault(`${this.file} is no backup of Stargus.`);
    if (format !== FORMAT)
      throw new ArchiveFault(
        `${this.file} has format ${format}, and this version of Stargus knows format ${FORMAT}: restore it with version ${version}, which made it.`,
      );
    if (typeof schema !== 'string' || !migrationNames.includes(schema))
      throw new ArchiveFault(
        `${this.file} is of tables that this version of Stargus doesn’t know (${schema}): restore it with version ${version}, which made it.`,
      );
    const isTable = ([name, columns]: [string, unknown]) => {
      const known = tableByName.get(name);
      return known?.kept && Array.isArray(columns) && columns.every((column) => known.columns.includes(column));
    };
    if (typeof tables !== 'object' || tables === null || !Object.entries(tables).every(isTable))
      throw this.#damaged('its tables are not those that it says it is of');
    return value as Header;
  }

  #row(table: Table, cells: readonly unknown[]): Row {
    const columns = this.header.tables[table.name] as readonly string[];
    if (cells.length !== columns.length) throw this.#damaged(`a row of ${table.name} has other columns`);
    const row: Row = {};
    for (const [index, column] of columns.entries()) {
      const value = fromCell(cells[index]);
      if (value === undefined) throw this.#damaged(`a row of ${table.name} has an odd value`);
      row[column] = value;
    }
    return row;
  }

  #checkEnd(value: object, counts: Counts, hash: Hash): void {
    const { rows, sha256 } = value as { rows?: Counts; sha256?: string };
    const digest = hash.digest('hex');
    if (sha256 !== digest) throw this.#damaged('its contents aren’t those that its digest is of');
    const names = Object.keys(this.header.tables);
    if (!names.every((name) => typeof rows?.[name] === 'number' && rows[name] === counts[name]))
      throw this.#damaged('it doesn’t have as many rows as it says');
  }
}

const NEWLINE = Buffer.from('\n');

function addLine(hash: Hash, line: Buffer): void {
  hash.update(line).update(NEWLINE);
}

/** Keys of items are bytes in MySQL and text in SQLite; in the file they are text. */
function toCell(value: Value, isBinary: boolean): unknown {
  if (!Buffer.isBuffer(value)) return value;
  return isBinary ? { base64: value.toString('base64') } : value.toString('utf8');
}

function fromCell(cell: unknown): Value | undefined {
  if (cell === null || typeof cell === 'string') return cell;
  if (typeof cell === 'number') return Number.isSafeInteger(cell) ? cell : undefined;
  const { base64 } = (cell ?? {}) as { base64?: unknown };
  return typeof base64 === 'string' ? Buffer.from(base64, 'base64') : undefined;
}
