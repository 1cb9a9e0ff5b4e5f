// Fan-out at its limit: the events of a commit group are serialized once, framed as one HTTP chunk, and the same bytes
// go to every watcher of the collection in one socket write.

// A watcher that has not taken so much is disconnected: memory must stay bounded, as in Stargus.
const unsentBytesMax = 64 << 20;

export class Watchers {
  #store;
  #topics = new Map(); // "pool/collection" or "pool/collection/key" -> Set of sockets

  constructor(store) {
    this.#store = store;
  }

  async attach(socket, pool, collection, key) {
    socket.setNoDelay(true);
    socket.write(
      'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store, no-transform\r\ntransfer-encoding: chunked\r\n\r\n',
    );
    const topic = topicOf(pool, collection, key);
    const waiting = this.#topics.get(topic) ?? new Set();
    this.#topics.set(topic, waiting);
    socket.once('close', () => waiting.delete(socket));
    // A limit prototype may be careless: with MariaDB a write between the snapshot and the joining would be missed.
    const { revision, items } = await this.#store.snapshot(pool, collection, key);
    socket.write(
      chunk(
        event('hello', '', `{"pool":"${pool}","epoch":"p","heartbeatMs":15000,"expiresInMs":null}`) +
          event(
            'snapshot',
            '',
            `{"view":"attach","revision":${revision},"items":[${items.map((item) => itemText(collection, item))}],"part":1}`,
          ) +
          event('live', `p-${revision}`, `{"view":"attach","revision":${revision}}`),
      ),
    );
    waiting.add(socket);
  }

  publish(group, time) {
    if (this.#topics.size === 0) return;
    const eventsOf = new Map(); // topic -> text of its events
    for (const write of group) {
      let text;
      for (const topic of [topicOf(write.pool, write.collection), topicOf(write.pool, write.collection, write.key)]) {
        if (!this.#topics.get(topic)?.size) continue;
        text ??= changesEvent(write, time);
        eventsOf.set(topic, (eventsOf.get(topic) ?? '') + text);
      }
    }
    for (const [topic, text] of eventsOf) {
      const bytes = chunk(text);
      for (const socket of this.#topics.get(topic)) {
        socket.write(bytes);
        if (socket.writableLength > unsentBytesMax) socket.destroy();
      }
    }
  }
}

const topicOf = (pool, collection, key) =>
  key === undefined ? `${pool}/${collection}` : `${pool}/${collection}/${key}`;

const event = (name, id, data) => `${id && `id: ${id}\n`}event: ${name}\ndata: ${data}\n\n`;

const itemText = (collection, item) =>
  `{"collection":"${collection}","key":"${item.key}","revision":${item.revision},"createdRevision":${item.created},"attributes":${item.attributes}}`;

const changesEvent = (write, time) =>
  event(
    'changes',
    `p-${write.revision}`,
    `{"revision":${write.revision},"time":"${time}","subject":null,"changes":[{"op":"${write.created === write.revision ? 'add' : 'change'}",` +
      `"collection":"${write.collection}","key":"${write.key}","changed":${write.changed},"removed":[],"attributes":${write.attributes}}]}`,
  );

function chunk(text) {
  return Buffer.from(`${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`);
}
