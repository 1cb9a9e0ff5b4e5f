/** What an answer that isn't the wanted one means: a problem of Stargus, or somebody else's page. */
import { REFUSAL_BYTES_MAX } from './bounds.js';
import { type ProblemError as Problem, ProblemError, StargusError } from './errors.js';
import { retryAfterOf } from './repetition.js';
import type { TransportResponse } from './transport.js';

/** What proxies answer while the server is away. */
const PASSING = new Set([408, 425, 429, 500, 502, 503, 504]);

const JSON_TYPE = /^application\/(?:[\w.-]+\+)?json\b/i;

export function isJson(response: TransportResponse): boolean {
  return JSON_TYPE.test(response.header('content-type') ?? '');
}

/** The error that a refusal is. Reads the body. */
export async function refusalOf(response: TransportResponse, wallMs: number): Promise<Problem | StargusError> {
  const { status } = response;
  if (status < 400) {
    response.discard();
    return new StargusError(
      'notStargus',
      `The server answered ${status} and leads elsewhere. Give the address of the Stargus server itself.`,
    );
  }
  const retryAfterMs = retryAfterOf(response.header('retry-after'), response.header('date'), wallMs);
  const text = await response.text(REFUSAL_BYTES_MAX);
  const problem = isJson(response) ? parsed(text) : undefined;
  if (problem && typeof problem.code === 'string') return new ProblemError(problem, status, retryAfterMs);
  return Object.assign(notStargus(status, response.header('content-type'), PASSING.has(status)), { retryAfterMs });
}

export function notStargus(status: number, contentType = 'nothing', retryable = false): StargusError {
  return new StargusError(
    'notStargus',
    `The answer (${status}, ${contentType.slice(0, 80)}) is none of a Stargus server: another program or a proxy is at that address. Check the URL.`,
    { retryable },
  );
}

function parsed(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
