/**
 * A watcher as a program in the cloud has one: it watches on any node that is there, and when its connection ends it goes to the next
 * one with the id of the last event that it was told.
 */
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * @param {() => string} base the node to go to, asked for at each connection
 * @returns what it was told so far, on how many connections, and how to stop it
 */
export function watch(base, path) {
  const told = [];
  const latencies = [];
  const stopping = new AbortController();
  const state = { told, latencies, connections: 0, stop: () => stopping.abort() };
  let cursor;
  const take = ({ id, event, data }) => {
    if (id) cursor = id;
    if (event !== 'changes') return;
    for (const { attributes } of JSON.parse(data).changes) {
      told.push(attributes.n);
      latencies.push(Date.now() - attributes.at);
    }
  };
  const follow = async () => {
    while (!stopping.signal.aborted) {
      try {
        const headers = cursor === undefined ? {} : { 'last-event-id': cursor };
        const response = await fetch(`${base()}${path}`, { headers, signal: stopping.signal });
        if (!response.ok) throw new Error(`${response.status}`);
        state.connections++;
        for await (const event of eventsOf(response.body)) take(event);
      } catch {
        // The node is gone; the next one knows as much.
      }
      await sleep(50);
    }
  };
  state.ended = follow();
  return state;
}

/** The events of a stream, as the standard has them, as far as they are used here. */
async function* eventsOf(body) {
  let text = '';
  for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const fields = Object.fromEntries(
        text
          .slice(0, end)
          .split('\n')
          .filter((line) => line !== '' && !line.startsWith(':'))
          .map((line) => line.split(/: ?(.*)/s)),
      );
      text = text.slice(end + 2);
      yield { id: fields.id, event: fields.event, data: fields.data };
    }
  }
}
