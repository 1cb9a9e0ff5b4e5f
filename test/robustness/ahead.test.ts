/**
 * A feed that catches up by the log while its database is ahead of what its node knows: what the log had already is not told
 * once more when the node hears of it. Found by a history of three nodes (README.md).
 */
import { expect, test } from 'vitest';
import { anonymous } from '../../src/engine/subject.js';
import { FeedStream } from '../../src/engine/watch/feed-stream.js';
import { Outlook } from '../../src/engine/watch/outlook.js';
import { MemoryPool } from './memory-pool.js';
import { Connection, settled } from './session-story.js';

test('a feed that read ahead of its node is told each commit once', async () => {
  const pool = new MemoryPool(['a'], 10);
  const write = (n: number) => pool.commit([{ collection: 'a', key: 'k', attributes: { n } }]);
  for (let n = 1; n <= 3; n++) write(n);
  // The node begins here, without the commits themselves; two more are made elsewhere.
  pool.leap();
  for (let n = 4; n <= 5; n++) write(n);
  const outlook = new Outlook(pool.access, pool.replica, anonymous);
  const sink = new Connection();
  const options = { outlook, start: { after: 1 }, bookmarkMs: 1000, expiresInMs: 1 };
  const stream = new FeedStream(pool.hub, pool.log, pool.store, sink, options, { values: 'changed' });
  const ended = stream.run();
  await settled();
  pool.deliver();
  await settled();
  stream.end('shutdown');
  await ended;
  const told = [...sink.text.matchAll(/^event: changes\nid: e-(\d+)$/gm)].map(([, revision]) => Number(revision));
  expect(told).toEqual([2, 3, 4, 5]);
});
