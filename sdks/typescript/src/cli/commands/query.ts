/** `query`: the items of a collection that match. */
import { objectOf } from '../assignments.js';
import { type CommandSpec, textOf, wordOf } from '../command.js';
import { EXIT, Fault } from '../fault.js';
import { collectionOf } from '../place.js';
import type { Row } from '../table.js';

/** Of a table so much is gathered before it is printed; beyond, the columns stay. */
const ROWS_AT_ONCE = 1000;

export const query: CommandSpec = {
  name: 'query',
  words: '<collection>',
  about: 'list the items of a collection that match; with --json a line for each',
  examples: [
    'stargus query rooms',
    'stargus query rooms --where \'{"celsius":{"gt":20}}\' --order -celsius --fields light,celsius',
    'stargus query rooms --count',
  ],
  options: [
    { flags: '--where <filter>', about: 'a filter as JSON' },
    { flags: '--prefix <keys>', about: 'keys that begin so' },
    { flags: '--order <names>', about: 'by these attributes, separated by commas; -name is descending' },
    { flags: '--fields <names>', about: 'only these attributes' },
    { flags: '--limit <number>', about: 'at most so many items' },
    { flags: '--count', about: 'only how many match' },
  ],
  async run(given) {
    const collection = collectionOf(wordOf(given, 0));
    const where = textOf(given, 'where');
    const filter = where === undefined ? undefined : objectOf(where, '--where');
    const client = await given.client();
    if (given.options.count) {
      const count = await client.count(collection, filter, { prefix: textOf(given, 'prefix') });
      given.output.give({ count }, () => String(count));
      return EXIT.done;
    }
    const limit = limitOf(textOf(given, 'limit'));
    const items = client.query(collection, {
      where: filter,
      prefix: textOf(given, 'prefix'),
      order: listOf(textOf(given, 'order')),
      fields: listOf(textOf(given, 'fields')),
    });
    let rows: Row[] = [];
    let count = 0;
    if (limit > 0)
      for await (const { key, revision, attributes } of items) {
        if (given.output.isJson) given.output.json({ key, revision, attributes });
        else rows.push({ key, attributes });
        if (rows.length >= ROWS_AT_ONCE) {
          given.output.table(rows);
          rows = [];
        }
        if (++count >= limit) break;
      }
    if (rows.length > 0) given.output.table(rows);
    if (count === 0 && !given.output.isJson) given.output.note('Nothing matches.');
    return EXIT.done;
  },
};

export function listOf(text: string | undefined): string[] | undefined {
  return text?.split(',').map((name) => name.trim());
}

export function limitOf(text: string | undefined): number {
  if (text === undefined) return Number.POSITIVE_INFINITY;
  if (!/^\d{1,15}$/.test(text)) throw new Fault('--limit must be a number of 0 or more.');
  return Number(text);
}
