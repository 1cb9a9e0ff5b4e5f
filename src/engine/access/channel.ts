/**
 * A channel: what a client and the server say under a key that only they have, so that whoever ends TLS between them reads nothing. The
 * key is made for one login, and comes to the client encrypted to a key that it made for that and named in its signed assertion.
 *
 * Each text is a compact JWE (`dir`, `A256GCM`) whose protected header says what it is for: a request with its method, target, time and
 * a number of its own (`seq`), which counts once; the answer to the request of that number, with its status; an event of the stream
 * that the request of that number opened, with its place, name and id. So nothing can be put in another's place, sent again, or left out
 * between two others, without its being seen.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { CompactEncrypt, importJWK, type JWK } from 'jose';
import { limits } from '../limits.js';
import { isObject, type Json, type JsonObject } from '../state/json.js';
import { refusal } from './jws.js';

const ALGORITHMS = { alg: 'dir', enc: 'A256GCM' } as const;
const MEMBERS = ['alg', 'enc', 'kid', 'typ', 'cty', 'htm', 'target', 'iat', 'seq'];
const REQUEST = 'stargus-request';
const ANSWER = 'stargus-answer';
const EVENT = 'stargus-event';

/** A request as it came, to which its sealed text must be for. */
export interface SealedRequest {
  readonly method: string;
  /** The path with its query. */
  readonly target: string;
}

export interface OpenedRequest {
  readonly seq: number;
  /** The media type of the body; empty without one. */
  readonly mediaType: string;
  readonly body: Buffer;
}

export class Channel {
  readonly #key: Buffer;

  /** `id` is that of the login, and the `kid` of each text. */
  constructor(
    readonly id: string,
    key: Buffer,
  ) {
    this.#key = key;
  }

  static create(id: string): Channel {
    return new Channel(id, randomBytes(32));
  }

  static parse(id: string, secret: string): Channel {
    return new Channel(id, Buffer.from(secret, 'base64url'));
  }

  /** The key as it is kept, to be sealed. */
  secret(): string {
    return this.#key.toString('base64url');
  }

  /** The key as a JWK, as a JWE that only the client can open. */
  async forClient(publicKey: JsonObject): Promise<string> {
    const jwk = { kty: 'oct', kid: this.id, alg: 'A256GCM', k: this.secret() };
    return new CompactEncrypt(Buffer.from(JSON.stringify(jwk)))
      .setProtectedHeader({ alg: 'ECDH-ES', enc: ALGORITHMS.enc, kid: this.id })
      .encrypt(await importJWK(publicKey as JWK, 'ECDH-ES'));
  }

  /** Opens a request's text; refuses one that is for another request or not of now. Whether its number is new is yet to be seen. */
  open(text: string, { method, target }: SealedRequest, now: number): OpenedRequest {
    const { header, plain } = this.#open(text);
    const { typ, cty = '', htm, target: sealedTarget, iat, seq } = header;
    if (typ !== REQUEST || htm !== method || sealedTarget !== target || typeof cty !== 'string')
      throw refusal('The sealed text is for another request.');
    if (typeof seq !== 'number' || !Number.isSafeInteger(seq) || seq < 0)
      throw refusal('The sealed text must have as seq a whole number that counts the requests of its login.');
    const made = typeof iat === 'number' ? iat * 1000 : Number.NaN;
    if (!(made <= now + limits.clockSkewMs && made > now - limits.proofMs))
      throw refusal(`The sealed text must be made at most ${limits.proofMs / 1000} s before it is sent.`);
    return { seq, mediaType: cty, body: plain };
  }

  sealAnswer(body: Buffer | string, seq: number, status: number, mediaType: string): string {
    return this.#seal(body, { typ: ANSWER, cty: mediaType, seq, status });
  }

  /** `place` counts the events of the stream from 0. */
  sealEvent(data: string, seq: number, place: number, event: string, id: string | undefined): string {
    return this.#seal(data, { typ: EVENT, seq, place, event, ...(id !== undefined && { id }) });
  }

  #seal(plain: Buffer | string, more: JsonObject): string {
    const header = Buffer.from(JSON.stringify({ ...ALGORITHMS, kid: this.id, ...more })).toString('base64url');
    const iv = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', this.#key, iv).setAAD(Buffer.from(header, 'ascii'));
    const sealed = Buffer.concat([
      typeof plain === 'string' ? cipher.update(plain, 'utf8') : cipher.update(plain),
      cipher.final(),
    ]);
    // The second part is that of an encrypted key, of which there is none.
    return [
      header,
      '',
      iv.toString('base64url'),
      sealed.toString('base64url'),
      cipher.getAuthTag().toString('base64url'),
    ].join('.');
  }

  #open(text: string): { header: JsonObject; plain: Buffer } {
    const wrong = () => refusal('The request must be sealed under the key of its login: a compact JWE (dir, A256GCM).');
    const parts = text.split('.');
    if (parts.length !== 5 || parts[1] !== '') throw wrong();
    const [header, , iv, sealed, tag] = parts as [string, string, string, string, string];
    const [ivBytes, tagBytes] = [Buffer.from(iv, 'base64url'), Buffer.from(tag, 'base64url')];
    if (ivBytes.length !== 12 || tagBytes.length !== 16) throw wrong();
    try {
      const decipher = createDecipheriv('aes-256-gcm', this.#key, ivBytes, { authTagLength: 16 });
      decipher.setAAD(Buffer.from(header, 'ascii')).setAuthTag(tagBytes);
      const plain = Buffer.concat([decipher.update(Buffer.from(sealed, 'base64url')), decipher.final()]);
      const members = JSON.parse(Buffer.from(header, 'base64url').toString('utf8')) as Json;
      if (!isObject(members) || Object.keys(members).some((member) => !MEMBERS.includes(member))) throw wrong();
      if (members.alg !== ALGORITHMS.alg || members.enc !== ALGORITHMS.enc || members.kid !== this.id) throw wrong();
      return { header: members, plain };
    } catch {
      throw wrong();
    }
  }
}

/** The public key that a client makes for one login, to be sent the channel's key by: P-256 or X25519. Undefined for any other. */
export function channelKeyOf(value: Json | undefined): JsonObject | undefined {
  if (!isObject(value)) return undefined;
  const { kty, crv, x, y } = value;
  const wanted =
    kty === 'EC' && crv === 'P-256'
      ? { kty, crv, x, y }
      : kty === 'OKP' && crv === 'X25519'
        ? { kty, crv, x }
        : undefined;
  if (!wanted || Object.keys(value).some((member) => !Object.hasOwn(wanted, member))) return undefined;
  const isCoordinate = (text: Json | undefined) => typeof text === 'string' && /^[\w-]{43}$/.test(text);
  return isCoordinate(x) && (kty === 'OKP' || isCoordinate(y)) ? (wanted as JsonObject) : undefined;
}
