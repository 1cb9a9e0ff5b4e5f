/** On a server inside the same process: the client goes by its `fetch`, and has all that it has elsewhere. */
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { connect } from '../src/stargus.node.js';

/** The built one, as programs have it. */
const BUILT = path.resolve(import.meta.dirname, '../../../dist/src/stargus.js');

interface Embedded {
  readonly url: string;
  readonly fetch: typeof fetch;
  close(): Promise<void>;
}

test('mirrors, locks and the feed go by the fetch of an embedded server', { timeout: 60_000 }, async () => {
  const { Stargus } = (await import(pathToFileURL(BUILT).href)) as {
    Stargus: { temporary(configuration: Record<string, string>): Promise<Embedded> };
  };
  const stargus = await Stargus.temporary({});
  const client = await connect(stargus.url, 'p', { fetch: stargus.fetch });
  const rooms = client.attach('rooms');
  await rooms.ready;
  const heard: string[] = [];
  rooms.onChange(({ op, key }) => heard.push(`${op} ${key}`));
  await rooms.set('hall', { n: 1 });
  await client.withLock({ collection: 'rooms', key: 'hall' }, (held) => held.increment('rooms', 'hall', 'n', 2));
  await expect.poll(() => rooms.get('hall')?.attributes).toEqual({ n: 3 });
  expect(heard).toEqual(['add hall', 'change hall']);
  const commits: number[] = [];
  for await (const { revision, changes } of client.changes({ since: 'start', collection: 'rooms' })) {
    commits.push(revision);
    if (changes.some(({ key, op }) => key === 'hall' && op === 'change')) break;
  }
  expect(commits).toHaveLength(2);
  await client.close();
  expect(client.activity).toEqual({ requests: 0, mirrors: 0, sessions: 0 });
  await stargus.close();
});
