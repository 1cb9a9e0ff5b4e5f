import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { WAITING_BYTES_MAX } from './bounds.js';
import { ProblemError } from './errors.js';
import { eventSourceStreams } from './eventsource-stream.js';

/** What a page has, as far as it is used. */
class FakeEventSource extends EventTarget {
  static readonly made: FakeEventSource[] = [];
  onopen: (() => void) | undefined;
  onerror: (() => void) | undefined;
  isClosed = false;

  constructor(readonly url: string) {
    super();
    FakeEventSource.made.push(this);
  }

  close(): void {
    this.isClosed = true;
  }

  say(event: string, data: string, lastEventId = ''): void {
    this.dispatchEvent(Object.assign(new Event(event), { data, lastEventId }));
  }
}

const request = { path: '/stream', call: () => Promise.reject(new Error('not by fetch')) };
const refusal = new ProblemError({ code: 'unauthenticated', detail: 'No.' }, 401);

describe('by EventSource', () => {
  beforeEach(() => vi.stubGlobal('EventSource', FakeEventSource));
  afterEach(() => {
    vi.unstubAllGlobals();
    FakeEventSource.made.length = 0;
  });

  function streams(renewCookie: () => Promise<boolean>) {
    return eventSourceStreams({
      url: 'http://s',
      eventBytesMax: 16 * 1024 * 1024,
      withCredentials: false,
      byFetch: () => Promise.reject(refusal),
      renewCookie,
    });
  }

  test('streams that are refused together come back with a new cookie, and end where that is refused', async () => {
    const renewed: (() => void)[] = [];
    const open = streams(() => new Promise((resolve) => renewed.push(() => resolve(true))));
    const { signal } = new AbortController();
    const refused = () => {
      for (const source of FakeEventSource.made.splice(0)) source.onerror?.();
    };
    const first = open(request, signal);
    const second = open(request, signal);
    refused();
    await expect.poll(() => renewed.length).toBe(2);
    renewed[0]?.();
    await expect(first).rejects.toMatchObject({ code: 'unreachable', retryable: true });
    renewed[1]?.();
    await expect(second).rejects.toMatchObject({ code: 'unreachable', retryable: true });
    const again = open(request, signal);
    refused();
    await expect(again).rejects.toBe(refusal);
  });

  test('one that was refused for the cookie before is no reason to give up', async () => {
    let isSlow = true;
    const answers: (() => void)[] = [];
    const open = eventSourceStreams({
      url: 'http://s',
      eventBytesMax: 1_000,
      withCredentials: false,
      byFetch: () =>
        isSlow ? new Promise((_, reject) => answers.push(() => reject(refusal))) : Promise.reject(refusal),
      renewCookie: async () => true,
    });
    const { signal } = new AbortController();
    const slow = open(request, signal);
    FakeEventSource.made[0]?.onerror?.();
    await expect.poll(() => answers.length).toBe(1);
    isSlow = false;
    const quick = open(request, signal);
    FakeEventSource.made[1]?.onerror?.();
    await expect(quick).rejects.toMatchObject({ code: 'unreachable' });
    answers[0]?.();
    await expect(slow).rejects.toMatchObject({ code: 'unreachable', retryable: true });
  });

  test('a stream that nobody reads is left before it fills the memory, and what came is given', async () => {
    const opening = streams(async () => false)(request, new AbortController().signal);
    const [source] = FakeEventSource.made as [FakeEventSource];
    source.onopen?.();
    const { batches } = await opening;
    const data = 'x'.repeat(8 * 1024 * 1024);
    let said = 0;
    while (!source.isClosed && said < 100) source.say('changes', data, `e-${++said}`);
    expect(said).toBe(WAITING_BYTES_MAX / data.length);
    const ids: string[] = [];
    for await (const events of batches) ids.push(...events.map(({ id }) => id));
    expect(ids).toHaveLength(said);
    expect(ids.at(-1)).toBe(`e-${said}`);
  });

  test('who waits for a cookie waits no longer than they want', async () => {
    const giveUp = new AbortController();
    let isAsked = false;
    const opening = streams(() => {
      isAsked = true;
      return new Promise(() => {});
    })(request, giveUp.signal);
    FakeEventSource.made[0]?.onerror?.();
    await expect.poll(() => isAsked).toBe(true);
    giveUp.abort(new Error('no longer wanted'));
    await expect(opening).rejects.toThrow('no longer wanted');
  });
});
