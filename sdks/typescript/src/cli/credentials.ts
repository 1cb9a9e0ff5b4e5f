/**
 * Who one is at which server: what `stargus login` keeps, so that the commands after it needn't be told. A key file is kept by its name
 * only; an API key itself, in a file that only its owner can read. No token is kept: each command logs in by itself.
 */
import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { Fault } from './fault.js';

export type Credential = { readonly keyFile: string } | { readonly apiKey: string };

function fileOf(): string {
  const folder = process.env.XDG_CONFIG_HOME || path.join(homedir(), '.config');
  return path.join(folder, 'stargus', 'logins.json');
}

function all(): Record<string, Credential> {
  let text: string;
  try {
    text = readFileSync(fileOf(), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw new Fault(`${fileOf()} can’t be read: ${(error as Error).message}`);
  }
  try {
    return JSON.parse(text) as Record<string, Credential>;
  } catch {
    throw new Fault(`${fileOf()} is not JSON. Remove it, and log in again.`);
  }
}

export function credentialFor(url: string): Credential | undefined {
  return all()[new URL(url).origin];
}

/** Answers the file where it is kept. */
export function keepCredential(url: string, credential: Credential | undefined): string {
  const { [new URL(url).origin]: _, ...others } = all();
  const file = fileOf();
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  const beside = `${file}.${process.pid}.part`;
  const kept = credential ? { ...others, [new URL(url).origin]: credential } : others;
  writeFileSync(beside, `${JSON.stringify(kept, undefined, 2)}\n`, { mode: 0o600 });
  chmodSync(beside, 0o600);
  renameSync(beside, file);
  return file;
}

/** Where the key of an account is kept, as `stargus-server identity` has it. */
export function keyPathOf(account: string): string {
  const name = account.replace(/^https?:\/\//, '').replaceAll(/[^A-Za-z0-9._-]/g, '_');
  return path.join(path.dirname(fileOf()), `${name}.key.json`);
}
