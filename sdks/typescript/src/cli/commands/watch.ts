/** `attach` and `changes`: what is, and what becomes of it. */
import type { Change } from '../../change.js';
import type { Mirror } from '../../mirror.js';
import { objectOf } from '../assignments.js';
import { type CommandSpec, type Given, textOf, wordOf } from '../command.js';
import { EXIT } from '../fault.js';
import { LiveTable } from '../live-table.js';
import { collectionOf } from '../place.js';
import { attributeOf, cellOf, shown } from '../table.js';
import { limitOf, listOf } from './query.js';

export const attach: CommandSpec = {
  name: 'attach',
  words: '<collection>',
  about:
    'a live table of a collection; where the output is no terminal, or with --json, the state and then a line for each change',
  examples: ['stargus attach rooms', 'stargus attach rooms --where \'{"light":"on"}\' --json'],
  options: [
    { flags: '--where <filter>', about: 'a filter as JSON' },
    { flags: '--prefix <keys>', about: 'keys that begin so' },
    { flags: '--fields <names>', about: 'only these attributes' },
    { flags: '--cache <file>', about: 'keep what is seen there, and begin with it the next time' },
  ],
  endsItself: true,
  async run(given) {
    const collection = collectionOf(wordOf(given, 0));
    const where = textOf(given, 'where');
    const client = await given.client();
    const mirror = client.attach(collection, {
      where: where === undefined ? undefined : objectOf(where, '--where'),
      prefix: textOf(given, 'prefix'),
      fields: listOf(textOf(given, 'fields')),
      cache: textOf(given, 'cache'),
    });
    // Also before it is ready, which may be never.
    given.signal.addEventListener('abort', () => void mirror.close(), { once: true });
    try {
      await (given.output.isTerminal ? table(given, mirror, `${given.pool}/${collection}`) : lines(given, mirror));
    } catch (error) {
      if (!given.signal.aborted) throw error;
    }
    return EXIT.done;
  },
};

/** Until Ctrl-C, or until the mirror ends. */
async function table(given: Given, mirror: Mirror, title: string): Promise<void> {
  const live = new LiveTable(given.output, {
    title,
    rows: () => mirror.values(),
    size: () => mirror.size,
    revision: () => mirror.revision,
    isLive: () => mirror.isLive,
  });
  live.open();
  // The state of the connection is told by no change.
  const looking = setInterval(() => live.touch(), 1000);
  try {
    await mirror.ready;
    live.draw();
    for await (const { key } of mirror.changes()) live.changed(key);
  } finally {
    clearInterval(looking);
    live.close();
  }
}

async function lines({ output }: Given, mirror: Mirror): Promise<void> {
  await mirror.ready;
  for (const { key, revision, attributes } of mirror.values())
    output.give({ op: 'is', key, revision, attributes }, () => `= ${shown(key)}  ${words(attributes)}`);
  for await (const change of mirror.changes()) {
    const { op, key, changed, removed, reason, revision, item } = change;
    output.give({ op, key, changed, removed, reason, revision, attributes: item?.attributes }, () => wordsOf(change));
  }
}

function wordsOf({ op, key, changed, item, reason }: Change): string {
  const sign = { add: '+', change: '~', delete: '-', reset: '!' }[op];
  const values = valuesOf(changed, item?.attributes);
  const said = op === 'delete' || op === 'reset' ? '' : words(values);
  return [sign, shown(key), said, reason ? `(${shown(reason)})` : ''].filter(Boolean).join('  ');
}

function words(attributes: Readonly<Record<string, unknown>>): string {
  return Object.entries(attributes)
    .map(([name, value]) => `${shown(name)}=${cellOf(value)}`)
    .join('  ');
}

/** Of what changed; null where it is gone. */
function valuesOf(names: readonly string[], attributes: Readonly<Record<string, unknown>> = {}) {
  return Object.fromEntries(names.map((name) => [name, attributeOf(attributes, name) ?? null]));
}

export const changes: CommandSpec = {
  name: 'changes',
  about: 'print the commits of the pool, one after the other; with --json a line for each',
  examples: ['stargus changes --since start', 'stargus changes --follow --collection rooms'],
  options: [
    { flags: '--since <cursor>', about: 'a cursor, or start; without it and with --follow: from now' },
    { flags: '--follow', about: 'go on for ever; without it, end when all are told' },
    { flags: '--collection <name>', about: 'only of this collection' },
    { flags: '--limit <number>', about: 'at most so many commits' },
  ],
  endsItself: true,
  async run(given) {
    const client = await given.client();
    const follow = given.options.follow === true;
    const limit = limitOf(textOf(given, 'limit'));
    const since = textOf(given, 'since') ?? (follow ? undefined : 'start');
    const commits = client.changes({ since, follow, collection: textOf(given, 'collection'), signal: given.signal });
    let count = 0;
    try {
      if (limit > 0)
        for await (const commit of commits) {
          given.output.give(commit, () => [
            given.output.style(
              'bold',
              shown(`${commit.revision}  ${commit.time}  ${commit.subject ?? ''}  ${commit.cursor}`),
            ),
            ...commit.changes.map(({ op, collection, key, changed, attributes }) => {
              const said = op === 'delete' ? '' : words(valuesOf(changed ?? [], attributes));
              return `  ${shown(`${op} ${collection}/${key}`)}  ${said}`.trimEnd();
            }),
          ]);
          if (++count >= limit) break;
        }
    } catch (error) {
      // Who follows for ever ends no other way.
      if (!given.signal.aborted || !follow) throw error;
    }
    return EXIT.done;
  },
};
