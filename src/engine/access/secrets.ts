/** Secrets: made at random, kept as digests only, or sealed under a key that is derived from the operator's secret. */
import { createCipheriv, createDecipheriv, hash, hkdfSync, randomBytes } from 'node:crypto';

/** 256 bits as 43 characters of base64url. */
export function newSecret(): string {
  return randomBytes(32).toString('base64url');
}

/** What is kept of a secret: SHA-256, which is enough for one of 256 random bits. */
export function digestOf(secret: string): string {
  return hash('sha256', secret, 'base64url');
}

const SEALED = 'sealed:';

/** Keeps texts at rest: encrypted where there is a secret, else as they are. */
export class Seal {
  readonly #key: Buffer | undefined;

  /** `purpose` keeps keys for different things apart. An empty secret seals nothing. */
  constructor(secret: string, purpose: string) {
    if (secret !== '') this.#key = Buffer.from(hkdfSync('sha256', secret, '', `stargus ${purpose}`, 32));
  }

  /** Whether what it closes is encrypted. */
  get tight(): boolean {
    return this.#key !== undefined;
  }

  close(text: string): string {
    if (!this.#key) return text;
    const iv = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', this.#key, iv);
    const sealed = Buffer.concat([iv, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]);
    return SEALED + sealed.toString('base64url');
  }

  /** The text; undefined for one that was sealed under another secret. */
  open(kept: string): string | undefined {
    if (!isSealed(kept)) return kept;
    if (!this.#key) return undefined;
    const bytes = Buffer.from(kept.slice(SEALED.length), 'base64url');
    const decipher = createDecipheriv('aes-256-gcm', this.#key, bytes.subarray(0, 12), { authTagLength: 16 });
    decipher.setAuthTag(bytes.subarray(-16));
    try {
      return decipher.update(bytes.subarray(12, -16)).toString('utf8') + decipher.final('utf8');
    } catch {
      return undefined;
    }
  }
}

export function isSealed(kept: string): boolean {
  return kept.startsWith(SEALED);
}
