/**
 * A session: a name that others see, views that are attached to it, and one stream that tells of all of them and of the
 * session's locks. Of each view it keeps a copy that is as true as the stream is far.
 *
 * While a stream is open the server renews the session's lease. That shows that a connection is open, not that the program behind it
 * does anything: so whoever holds locks renews the lease itself (`renewEveryMs`), and loses it when it stands still.
 */
import { authorization } from '../server.mjs';
import { events } from './events.mjs';

/**
 * Begins a session, or resumes the one of that name.
 *
 * @param spec.views what to attach, by the name of the view
 * @param spec.heard is told each change before the copies have it
 */
export async function openSession(stargus, spec, { resume = false } = {}) {
  const { name, meta, ttlMs, views, renewEveryMs, heard = () => {} } = spec;
  const begun = resume
    ? await stargus.call('PUT', `/sessions/${name}`, { body: { ttlMs, meta } })
    : await stargus.call('POST', '/sessions', { body: { name, ttlMs, meta } });
  const path = `/sessions/${begun.session}`;
  const headers = { 'stargus-session': `${begun.session};epoch=${begun.epoch}` };
  const call = (method, place, options) => stargus.call(method, place, { headers, ...options });
  // Whether the lease is over is told by what is refused, not by a timer.
  const renew = () => call('POST', `${path}/renew`, { attempts: 1 }).catch(() => {});
  const timer = renewEveryMs && setInterval(renew, renewEveryMs);
  const abort = new AbortController();
  const close = () => {
    clearInterval(timer);
    abort.abort();
  };
  try {
    for (const [view, body] of Object.entries(views)) await call('PUT', `${path}/attachments/${view}`, { body });
  } catch (error) {
    close();
    throw error;
  }
  const address = `${stargus.pool}${path}/events?renew=${!renewEveryMs}`;
  const copies = Object.fromEntries(Object.keys(views).map((view) => [view, new Map()]));
  const locks = new LockNews();
  const following = follow(events(address, { ...authorization, ...headers }, abort.signal), copies, locks, heard);

  return {
    ...{ name, id: begun.session, epoch: begun.epoch, copies, locks, call, close },
    /** Resolves when the stream has ended, with the session or by `close`. */
    ended: following,
    async end() {
      close();
      await call('DELETE', path);
    },
  };
}

async function follow(stream, copies, locks, heard) {
  for await (const { event, data } of stream) {
    if (event === 'snapshot') {
      if (data.part === 1) copies[data.view].clear();
      for (const { key, attributes } of data.items) copies[data.view].set(key, attributes);
    } else if (event === 'changes') {
      for (const change of data.changes) {
        heard(change);
        apply(copies[change.view], change);
      }
    } else if (event === 'lock') locks.hear(data);
  }
  locks.end();
}

/** A change carries the attributes that it set, and names those that it removed. */
function apply(copy, { op, key, attributes, removed }) {
  if (op === 'delete') return copy.delete(key);
  const next = { ...copy.get(key), ...attributes };
  for (const name of removed) delete next[name];
  copy.set(key, next);
}

/** What the stream has told of the session's locks. News of a lock may come before the answer that names it. */
class LockNews {
  #outcomes = new Map();
  #wanted = new Set();
  #over = false;

  hear({ lock, type, ...news }) {
    if (type === 'contended') this.#wanted.add(lock);
    else if (type !== 'expiring') this.#of(lock).resolve({ type, ...news });
  }

  /** What becomes of a lock that waits: `{type: 'granted', fence}`, or that it is `lost`. */
  outcome(lock) {
    if (this.#over) return Promise.resolve({ type: 'lost' });
    return this.#of(lock).promise;
  }

  /** Whether somebody waits for it. */
  isWanted(lock) {
    return this.#wanted.has(lock);
  }

  forget(lock) {
    this.#outcomes.delete(lock);
    this.#wanted.delete(lock);
  }

  end() {
    this.#over = true;
    for (const { resolve } of this.#outcomes.values()) resolve({ type: 'lost' });
  }

  #of(lock) {
    const outcome = this.#outcomes.get(lock) ?? Promise.withResolvers();
    this.#outcomes.set(lock, outcome);
    return outcome;
  }
}
