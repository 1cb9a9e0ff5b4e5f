// Group commit: all writes that wait when the event loop has read its sockets, or when the last transaction ends, are one transaction.
// Every write is told its own revision; after that the watchers get the whole group at once.
export class Committer {
  #store;
  #watchers;
  #waiting = [];
  #scheduled = false;

  constructor(store, watchers) {
    this.#store = store;
    this.#watchers = watchers;
  }

  // A write is {pool, collection, key, changed, attributes, reply}; changed and attributes are JSON texts.
  add(write) {
    this.#waiting.push(write);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#run());
  }

  async #run() {
    while (this.#waiting.length > 0) {
      const group = this.#waiting;
      this.#waiting = [];
      const time = new Date().toISOString();
      const committed = this.#store.commit(group, time); // gives each write its revision and created
      if (committed) await committed;
      for (const write of group) this.#answer(write);
      this.#watchers.publish(group, time);
      if (!committed) break; // a synchronous store: let the event loop read the sockets first
    }
    this.#scheduled = false;
  }

  #answer(write) {
    const isNew = write.created === write.revision;
    write.reply.code(isNew ? 201 : 200).header('content-type', 'application/json; charset=utf-8');
    write.reply.send(
      `{"collection":"${write.collection}","key":"${write.key}","revision":${write.revision},"createdRevision":${write.created},` +
        `"attributes":${write.attributes},"changed":${write.changed}}`,
    );
  }
}
