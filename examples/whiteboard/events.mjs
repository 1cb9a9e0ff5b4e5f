/**
 * Server-Sent Events by `fetch`. The last id goes along with each new connection, so that what was told while there was none
 * is told then: whoever reads has a stream without gaps, through restarts of the server too.
 */
import { setTimeout as sleep } from 'node:timers/promises';

const RETRY_MS = 500;
/** Reasons of a `bye` after which there is nothing to come back for. */
const FINAL = new Set(['deleted', 'expired', 'replaced']);

/** Each event as `{event, data}`. Ends when what is told of has ended, and when it is aborted. */
export async function* events(address, headers, signal) {
  let lastId = '';
  for (;;) {
    try {
      const resumption = lastId ? { 'last-event-id': lastId } : {};
      const response = await fetch(address, { headers: { ...headers, ...resumption }, signal });
      if (response.status < 500 && !response.ok) return;
      if (response.ok) {
        for await (const { id = lastId, event, data } of parse(response.body)) {
          lastId = id;
          yield { event, data };
          if (event === 'bye' && FINAL.has(data.reason)) return;
        }
      }
      await sleep(RETRY_MS, undefined, { signal });
    } catch {
      // No connection, or none any more.
      if (signal.aborted) return;
      await sleep(RETRY_MS);
    }
  }
}

/** An event is some lines of `name: value`, and ends with an empty line. Lines that begin with a colon are comments. */
async function* parse(body) {
  let text = '';
  for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
    const blocks = (text + chunk).split('\n\n');
    text = blocks.pop();
    for (const block of blocks) {
      const { data, ...event } = Object.fromEntries(block.split('\n').map((line) => line.split(/: ?(.*)/, 2)));
      if (data !== undefined) yield { ...event, data: JSON.parse(data) };
    }
  }
}
