/** `get`, `set`, `delete`: one item. */
import type { JsonObject } from '../../json.js';
import { attributesOf, jsonOf, objectOf } from '../assignments.js';
import { type CommandSpec, type Given, textOf, wordOf } from '../command.js';
import { EXIT, Fault } from '../fault.js';
import { standardInput } from '../input.js';
import { type Place, placeOf, placeOrCollection } from '../place.js';
import { cellOf } from '../table.js';

export const get: CommandSpec = {
  name: 'get',
  words: '<item> [attributes...]',
  about: 'print an item, or some of its attributes. Exit code 1: there is no such item or attribute',
  examples: ['stargus get rooms/hall', 'stargus get rooms/hall light'],
  async run(given) {
    const { collection, key } = placeOf(wordOf(given, 0));
    const names = (given.words[1] ?? []) as readonly string[];
    const item = await (await given.client()).get(collection, key);
    if (!item) return none(given, collection, key);
    if (names.length === 0) {
      given.output.item(item);
      return EXIT.done;
    }
    const missing = names.filter((name) => !Object.hasOwn(item.attributes, name));
    if (given.output.isJson)
      given.output.json(
        Object.fromEntries(
          names.filter((name) => !missing.includes(name)).map((name) => [name, item.attributes[name]]),
        ),
      );
    // A text as it is, so that a script can take it.
    else
      for (const name of names)
        if (!missing.includes(name))
          given.output.line(given.output.isTerminal ? cellOf(item.attributes[name]) : rawOf(item.attributes[name]));
    if (missing.length > 0) given.output.note(`${collection}/${key} has no ${missing.join(', ')}.`);
    return missing.length > 0 ? EXIT.no : EXIT.done;
  },
};

export const set: CommandSpec = {
  name: 'set',
  words: '<item> [attributes...]',
  about: 'set attributes: name=text, name:=JSON, name=@file; name:=null removes. Others stay as they are',
  examples: [
    'stargus set rooms/hall light=on celsius:=21',
    'stargus set rooms/hall --replace light=off',
    'echo \'{"light":"on"}\' | stargus set rooms/hall -',
  ],
  options: [
    { flags: '--replace', about: 'remove the attributes that aren’t named' },
    { flags: '--new', about: 'only if there is no such item' },
    { flags: '--if-revision <number>', about: 'only if the item has this revision' },
  ],
  async run(given) {
    const { collection, key } = placeOf(wordOf(given, 0));
    const words = (given.words[1] ?? []) as readonly string[];
    const attributes =
      words.length === 1 && words[0] === '-'
        ? objectOf(await standardInput(), 'the standard input')
        : attributesOf(words);
    if (words.length === 0 && !given.options.replace) throw new Fault('Name what to set: name=text or name:=JSON.');
    const client = await given.client();
    const ifRevision = revisionOf(given);
    const item = given.options.replace
      ? await client.set(collection, key, attributes, { ifRevision })
      : await client.merge(collection, key, attributes, { ifRevision });
    given.output.item(item);
    return EXIT.done;
  },
};

export const remove: CommandSpec = {
  name: 'delete',
  words: '<item> [attributes...]',
  about:
    'delete an item, some of its attributes, or with --where all items of a collection that match. Exit code 1: there was none',
  examples: [
    'stargus delete rooms/hall',
    'stargus delete rooms/hall guest',
    'stargus delete rooms --where \'{"light":"off"}\'',
  ],
  options: [
    { flags: '--where <filter>', about: 'the items of the collection that match, in one commit' },
    { flags: '--if-revision <number>', about: 'only if the item has this revision' },
  ],
  async run(given) {
    const where = textOf(given, 'where');
    const names = (given.words[1] ?? []) as readonly string[];
    const { collection, key } = placeOrCollection(wordOf(given, 0));
    if (where !== undefined) {
      if (key !== undefined || names.length > 0) throw new Fault('With --where name a collection only.');
      return deleteMany(given, collection, objectOf(where, '--where'));
    }
    if (key === undefined) throw new Fault(`To delete all of ${collection} say --where '{}'.`);
    return names.length > 0 ? unset(given, { collection, key }, names) : deleteOne(given, { collection, key });
  },
};

async function deleteOne(given: Given, { collection, key }: Place): Promise<number> {
  const existed = await (await given.client()).delete(collection, key, { ifRevision: revisionOf(given) });
  given.output.give({ existed }, () =>
    existed ? `${collection}/${key} is deleted.` : `There was no ${collection}/${key}.`,
  );
  return existed ? EXIT.done : EXIT.no;
}

async function unset(given: Given, { collection, key }: Place, names: readonly string[]): Promise<number> {
  const client = await given.client();
  const before = await client.get(collection, key);
  if (!before) return none(given, collection, key);
  const gone = Object.fromEntries(names.map((name) => [name, null]));
  const ifRevision = revisionOf(given) ?? before.revision;
  given.output.item(await client.merge(collection, key, gone, { ifRevision }));
  return names.some((name) => Object.hasOwn(before.attributes, name)) ? EXIT.done : EXIT.no;
}

async function deleteMany(given: Given, collection: string, where: JsonObject): Promise<number> {
  const client = await given.client();
  const { deleted = 0, keys = [] } =
    (await client.api.items.deleteItems({ pool: given.pool, collection, deleteItems: { where } })) ?? {};
  given.output.give({ deleted, keys }, () => `${deleted} deleted.`);
  return deleted > 0 ? EXIT.done : EXIT.no;
}

function none(given: Given, collection: string, key: string): number {
  given.output.note(`There is no ${collection}/${key}.`);
  return EXIT.no;
}

function revisionOf(given: Given): number | undefined {
  const text = textOf(given, 'ifRevision');
  if (given.options.new) {
    if (text !== undefined) throw new Fault('--new and --if-revision exclude one another.');
    return 0;
  }
  if (text === undefined) return undefined;
  const revision = jsonOf(text, '--if-revision');
  if (!Number.isSafeInteger(revision) || (revision as number) < 0)
    throw new Fault('--if-revision must be a number of 0 or more.');
  return revision as number;
}

function rawOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
