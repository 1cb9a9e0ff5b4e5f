/**
 * Server-Sent Events from bytes, cut anywhere (WHATWG HTML, 9.2.6). Lines end in LF, CR LF or CR; a byte order mark counts at the start only; an
 * event without the blank line at its end is none. What one event may have is bounded while it is read, not afterwards.
 */
import { StargusError } from './errors.js';

export interface StreamEvent {
  /** `message` where the stream names none. */
  readonly event: string;
  readonly data: string;
  /** The last id that the stream told, of this event or one before; empty: none. */
  readonly id: string;
}

const LF = 10;
const CR = 13;
const COLON = 58;
const SPACE = 32;
const BOM = [0xef, 0xbb, 0xbf];
/** `data:` */
const DATA = [100, 97, 116, 97, COLON];

export class SseParser {
  readonly #eventBytesMax: number;
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  /** The beginning of a line whose end hasn't come. */
  #parts: Uint8Array[] = [];
  #partBytes = 0;
  /** How many bytes of a byte order mark were seen; undefined once it is past. */
  #bom: number | undefined = 0;
  #isAfterCr = false;
  #event = '';
  #data: string[] = [];
  #dataBytes = 0;
  #idSeen = '';
  #id = '';
  /** What the stream said about coming back, in milliseconds. */
  retryMs: number | undefined;

  constructor(eventBytesMax: number) {
    this.#eventBytesMax = eventBytesMax;
  }

  /**
   * @returns the events that are complete now
   * @throws StargusError `eventTooLarge`
   */
  push(bytes: Uint8Array): StreamEvent[] {
    const events: StreamEvent[] = [];
    let at = this.#bom === undefined ? 0 : this.#passBom(bytes);
    // Most streams have no CR at all; it is looked for once in each piece, not in each line.
    let cr = bytes.indexOf(CR, at);
    if (this.#isAfterCr && at < bytes.length) {
      if (bytes[at] === LF) at++;
      this.#isAfterCr = false;
    }
    while (at < bytes.length) {
      if (cr >= 0 && cr < at) cr = bytes.indexOf(CR, at);
      const lf = bytes.indexOf(LF, at);
      const end = cr < 0 ? lf : lf < 0 ? cr : Math.min(cr, lf);
      if (end < 0) {
        this.#keep(bytes.subarray(at));
        break;
      }
      this.#line(this.#whole(bytes.subarray(at, end)), events);
      at = end + 1;
      if (end === cr) {
        if (at === bytes.length) this.#isAfterCr = true;
        else if (bytes[at] === LF) at++;
      }
    }
    return events;
  }

  /** Passes a byte order mark at the start of the stream; it may come in pieces. */
  #passBom(bytes: Uint8Array): number {
    let at = 0;
    let seen = this.#bom ?? 0;
    while (at < bytes.length && seen < BOM.length && bytes[at] === BOM[seen]) {
      at++;
      seen++;
    }
    if (seen === BOM.length) this.#bom = undefined;
    else if (at < bytes.length) {
      // It wasn't one, but the start of the first line.
      this.#bom = undefined;
      if (seen > at) this.#keep(Uint8Array.from(BOM.slice(0, seen - at)));
      return 0;
    } else this.#bom = seen;
    return at;
  }

  #keep(piece: Uint8Array): void {
    this.#check(this.#partBytes + piece.length);
    // A copy: the piece may be part of a large buffer, or of one that is used again.
    this.#parts.push(piece.slice());
    this.#partBytes += piece.length;
  }

  #whole(piece: Uint8Array): Uint8Array {
    this.#check(this.#partBytes + piece.length);
    if (this.#parts.length === 0) return piece;
    const line = new Uint8Array(this.#partBytes + piece.length);
    let at = 0;
    for (const part of this.#parts) {
      line.set(part, at);
      at += part.length;
    }
    line.set(piece, at);
    this.#parts = [];
    this.#partBytes = 0;
    return line;
  }

  #check(lineBytes: number): void {
    if (this.#dataBytes + lineBytes > this.#eventBytesMax)
      throw new StargusError(
        'eventTooLarge',
        `An event of the stream has more than ${this.#eventBytesMax} bytes (eventBytesMax).`,
      );
  }

  #line(line: Uint8Array, events: StreamEvent[]): void {
    if (line.length === 0) {
      this.#dispatch(events);
      return;
    }
    if (line[0] === COLON) return;
    if (DATA.every((byte, index) => line[index] === byte)) {
      this.#addData(line.subarray(line[DATA.length] === SPACE ? DATA.length + 1 : DATA.length), line.length);
      return;
    }
    const text = this.#decoder.decode(line);
    const colon = text.indexOf(':');
    const name = colon < 0 ? text : text.slice(0, colon);
    const value = colon < 0 ? '' : text.slice(text[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (name === 'event') this.#event = value;
    else if (name === 'data') this.#addData(new Uint8Array(0), line.length);
    else if (name === 'id' && !value.includes('\0')) this.#idSeen = value;
    else if (name === 'retry' && /^\d+$/.test(value)) this.retryMs = Number(value);
  }

  #addData(value: Uint8Array, lineBytes: number): void {
    this.#dataBytes += lineBytes + 1;
    this.#data.push(this.#decoder.decode(value));
  }

  #dispatch(events: StreamEvent[]): void {
    this.#id = this.#idSeen;
    if (this.#data.length > 0)
      events.push({
        event: this.#event === '' ? 'message' : this.#event,
        data: this.#data.length === 1 ? (this.#data[0] as string) : this.#data.join('\n'),
        id: this.#id,
      });
    this.#event = '';
    this.#data = [];
    this.#dataBytes = 0;
  }
}
