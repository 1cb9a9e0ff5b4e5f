import type { IncomingMessage, ServerResponse } from 'node:http';
import { describe, expect, test } from 'vitest';
import { Arrivals } from './arrivals.js';

const BODY = { 'content-length': '9' };

/** A request, its answer, and what became of its connection. */
function requestOf(headers: Record<string, string>, state: { complete?: boolean; headersSent?: boolean } = {}) {
  const sent: string[] = [];
  const socket = { writable: true, destroy: () => sent.push('destroyed'), end: (text: string) => sent.push(text) };
  const request = { headers, complete: false, destroyed: false, socket, ...state } as unknown as IncomingMessage;
  const response = { headersSent: false, ...state } as unknown as ServerResponse;
  return { request, response, sent };
}

describe('a request that takes too long to arrive', () => {
  test('is refused once its time is over, and not before', () => {
    const arrivals = new Arrivals(1000);
    const { request, response, sent } = requestOf(BODY);
    arrivals.begin(request, response, 0);
    arrivals.look(999);
    expect(sent).toEqual([]);
    arrivals.look(1000);
    expect(sent).toEqual([expect.stringMatching(/^HTTP\/1\.1 400 badRequest\r\n[\s\S]*took too long/)]);
    arrivals.look(9999);
    expect(sent).toHaveLength(1);
  });

  test('is cut where it has its answer', () => {
    const arrivals = new Arrivals(1000);
    const { request, response, sent } = requestOf({ 'transfer-encoding': 'chunked' }, { headersSent: true });
    arrivals.begin(request, response, 0);
    arrivals.look(1000);
    expect(sent).toEqual(['destroyed']);
  });

  test.each<[says: string, headers: Record<string, string>, complete: boolean, release: boolean]>([
    ['that has arrived', BODY, true, false],
    ['that is kept time of elsewhere', BODY, false, true],
    ['without a body', {}, false, false],
    ['with an empty body', { 'content-length': '0' }, false, false],
  ])('is not one %s', (_, headers, complete, release) => {
    const arrivals = new Arrivals(1000);
    const { request, response, sent } = requestOf(headers, { complete });
    arrivals.begin(request, response, 0);
    if (release) arrivals.release(request);
    arrivals.look(5000);
    expect(sent).toEqual([]);
  });
});
