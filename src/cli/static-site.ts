/** The files of an account on a static site: its JWK set, did:web's document beside it, and the published envelope. */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { didOf, documentsOf } from '../engine/access/account-url.js';
import type { AccountKey } from '../engine/access/keys.js';
import { CommandFault } from './command.js';
import { readText } from './key-file.js';

type Members = Record<string, unknown>;

interface Jwks extends Members {
  keys: Members[];
  rotations?: unknown[];
}

export class StaticSite {
  readonly #files: { jwks: string; did: string; envelope: string };

  /** `folder` is that of the site's root, where `https://<host>/` leads. */
  constructor(
    folder: string,
    private readonly account: string,
  ) {
    const inSite = (url: string) => path.join(folder, ...new URL(url).pathname.split('/').map(decodeURIComponent));
    const { jwks, did, envelope } = documentsOf(account);
    this.#files = { jwks: inSite(jwks), did: inSite(did), envelope: inSite(envelope) };
  }

  get files(): string[] {
    return Object.values(this.#files).filter((file) => existsSync(file));
  }

  get isThere(): boolean {
    return existsSync(this.#files.jwks);
  }

  get hasEnvelope(): boolean {
    return existsSync(this.#files.envelope);
  }

  /** Publishes a key, in place of another one where there was one, with the word of that one. What else is published stays. */
  publish(key: AccountKey, former?: { kid: string; rotation: string; stays: boolean }): void {
    const jwks: Jwks = this.isThere ? readJwks(this.#files.jwks) : { keys: [] };
    const isGone = (kid: unknown) => kid === key.kid || (former !== undefined && kid === former.kid && !former.stays);
    jwks.keys = [...jwks.keys.filter(({ kid }) => !isGone(kid)), publishedJwk(key)];
    if (former) jwks.rotations = [...(jwks.rotations ?? []), former.rotation];
    write(this.#files.did, this.#document(key, isGone, jwks.rotations));
    // Last, since it is what servers look for first.
    write(this.#files.jwks, jwks);
  }

  putEnvelope(text: string): void {
    mkdirSync(path.dirname(this.#files.envelope), { recursive: true });
    writeFileSync(this.#files.envelope, `${text}\n`);
  }

  removeEnvelope(): void {
    rmSync(this.#files.envelope, { force: true });
  }

  #document(key: AccountKey, isGone: (kid: unknown) => boolean, rotations: unknown[] | undefined): Members {
    const did = didOf(this.account);
    const document: Members = existsSync(this.#files.did) ? parse(this.#files.did) : {};
    const idOf = (kid: string) => `${did}#${kid}`;
    const isOther = (id: unknown) => typeof id !== 'string' || !isGone(id.replace(/^.*#/, ''));
    const methods = (document.verificationMethod ?? []) as Members[];
    const uses = (document.authentication ?? []) as unknown[];
    const method = { id: idOf(key.kid), type: 'JsonWebKey2020', controller: did, publicKeyJwk: publishedJwk(key) };
    return {
      '@context': ['https://www.w3.org/ns/did/v1', 'https://w3id.org/security/suites/jws-2020/v1'],
      ...document,
      id: did,
      alsoKnownAs: document.alsoKnownAs ?? [this.account],
      verificationMethod: [...methods.filter(({ id }) => isOther(id)), method],
      authentication: [...uses.filter(isOther), idOf(key.kid)],
      ...(rotations && { rotations }),
    };
  }
}

function publishedJwk({ jwk, kid, algorithm }: AccountKey): Members {
  return { ...jwk, kid, alg: algorithm, use: 'sig' };
}

function readJwks(file: string): Jwks {
  const jwks = parse(file);
  if (!Array.isArray(jwks.keys)) throw new CommandFault(`${file} is no JWK set: it has no list \`keys\`.`);
  if (jwks.rotations !== undefined && !Array.isArray(jwks.rotations))
    throw new CommandFault(`The \`rotations\` of ${file} are no list.`);
  return jwks as Jwks;
}

function parse(file: string): Members {
  try {
    const value: unknown = JSON.parse(readText(file, 'the account’s keys'));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Members;
  } catch (error) {
    if (error instanceof CommandFault) throw error;
  }
  throw new CommandFault(`${file} is no JSON object.`);
}

function write(file: string, content: Members): void {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(content, null, 2)}\n`);
}
