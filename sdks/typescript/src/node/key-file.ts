/** Key files, as `stargus-server identity create` writes them: `{account, jwk}`. */
import { readFile } from 'node:fs/promises';
import { StargusError } from '../errors.js';
import type { KeyFile } from '../platform.js';

/** @throws StargusError `loginFailed` when it isn't there or isn't one */
export async function readKeyFile(file: string): Promise<KeyFile> {
  let content: Partial<KeyFile> | null;
  try {
    content = JSON.parse(await readFile(file, 'utf8'));
  } catch (cause) {
    // Not the cause's own words: they may quote the file.
    const code = (cause as NodeJS.ErrnoException).code;
    throw new StargusError(
      'loginFailed',
      `The key file ${file} can't be read${code ? ` (${code})` : ': it is no JSON'}.`,
    );
  }
  if (typeof content?.account !== 'string' || typeof content.jwk !== 'object' || content.jwk === null)
    throw new StargusError('loginFailed', `${file} is no key file: it names no account, or has no key.`);
  return { account: content.account, jwk: content.jwk };
}
