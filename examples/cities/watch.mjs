/**
 * An attachment: a copy of some items that the server keeps up to date. After the snapshot every commit that concerns the
 * view arrives as one event, in order; `reached` waits until everything up to a revision has been told.
 */
import { EventSourceParserStream } from 'eventsource-parser/stream';

/** Resolves when the snapshot is complete. */
export async function attach(stargus, query) {
  const abort = new AbortController();
  const { body } = await stargus.attach(query, abort.signal);
  const items = new Map();
  const heard = [];
  const waiting = new Set();
  let revision = -1;
  let failure;

  const told = () => {
    for (const look of [...waiting]) look();
  };
  const follow = async () => {
    for await (const { event, data } of body
      .pipeThrough(new TextDecoderStream())
      .pipeThrough(new EventSourceParserStream())) {
      const news = JSON.parse(data);
      switch (event) {
        case 'snapshot':
          for (const { key, attributes } of news.items) items.set(key, attributes);
          break;
        case 'changes':
          for (const change of news.changes) {
            apply(items, change);
            heard.push({ ...change, revision: news.revision });
          }
          break;
        case 'reset':
          items.clear();
          break;
        case 'bye':
          throw new Error(`The server ended the stream (${news.reason}).`);
      }
      // `live` and `bookmark` say how far all has been told; so does the last part of a commit, the one without `more`.
      if (event === 'live' || event === 'bookmark' || (event === 'changes' && !news.more)) revision = news.revision;
      told();
    }
    throw new Error('The connection ended.');
  };
  follow().catch((error) => {
    failure = error;
    told();
  });

  const reached = (wanted, patienceMs) =>
    new Promise((resolve, reject) => {
      const settle = (outcome) => {
        clearTimeout(timer);
        waiting.delete(look);
        outcome();
      };
      const look = () => {
        if (revision >= wanted) settle(resolve);
        else if (failure) settle(() => reject(failure));
      };
      const late = () => reject(new Error(`Nothing was heard up to revision ${wanted} within ${patienceMs / 1000} s.`));
      const timer = setTimeout(() => settle(late), patienceMs);
      waiting.add(look);
      look();
    });

  await reached(0, 60_000);
  return {
    items,
    heard,
    reached,
    close: () => abort.abort(),
    get revision() {
      return revision;
    },
  };
}

/** A change carries the attributes that it set, and names those that it removed. */
function apply(items, { op, key, attributes, removed }) {
  if (op === 'delete') return items.delete(key);
  const next = { ...items.get(key), ...attributes };
  for (const name of removed) delete next[name];
  items.set(key, next);
}
