/** Calls to a server, in the words of docs/API.md. A refusal is told in the server's own words. */
import { CommandFault } from './command.js';

const ANSWER_MS = 30_000;

export interface CallOptions {
  readonly body?: object;
  readonly headers?: Readonly<Record<string, string>>;
  /** Statuses that are no failure and are answered as undefined. */
  readonly missing?: readonly number[];
}

/** The answer's body. `what` is what is tried, as in “enrolling the key”. */
export async function call(
  what: string,
  origin: string,
  line: string,
  { body, headers = {}, missing = [] }: CallOptions = {},
): Promise<Record<string, unknown> | undefined> {
  const [method, path] = line.split(' ') as [string, string];
  let response: Response;
  let text: string;
  try {
    response = await fetch(`${origin}${path}`, {
      method,
      headers: { ...(body && { 'content-type': 'application/json' }), ...headers },
      ...(body && { body: JSON.stringify(body) }),
      redirect: 'error',
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    text = await response.text();
  } catch (error) {
    throw new CommandFault(`${what} failed: ${origin} doesn’t answer (${reasonOf(error)}).`);
  }
  const answer = parse(text);
  if (response.ok && answer) return answer;
  if (missing.includes(response.status)) return undefined;
  const detail = typeof answer?.detail === 'string' ? answer.detail : 'It does not answer as a Stargus server does.';
  throw new CommandFault(`${what} was refused by ${origin} with ${response.status}. ${detail}`);
}

/** What an assertion must hold; and it tells which server this is. */
export async function askChallenge(server: string): Promise<{ nonce: string; audience: string }> {
  const challenge = await call('Asking for a challenge', server, 'POST /v1/auth/challenges', { body: {} });
  const { nonce, audience } = challenge ?? {};
  if (typeof nonce !== 'string' || typeof audience !== 'string') throw new CommandFault(`${server} gave no challenge.`);
  return { nonce, audience };
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function reasonOf(error: unknown): string {
  const { message, cause } = error as { message: string; cause?: { code?: string; message?: string } };
  return cause?.code ?? cause?.message ?? message;
}
