/**
 * The official test suite of JSON Schema 2020-12: once against compiled definitions, and once as a user meets it, with the schema
 * set in `_dictionary` and every instance put as an item that is taken or refused.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { compileDefinition, type Definition } from '../../src/engine/dictionary/definition.js';
import { Problem } from '../../src/engine/errors.js';
import { expectProblem, Scenario } from '../support/scenario.js';
import { readSuite, type SuiteGroup } from '../support/schema-suite.js';
import { type Server, startServer } from '../support/server.js';

const REMOTE = 'It refers to a schema at another address, and nothing is ever fetched.';
const DIALECT = 'It is written in a dialect of its own, which is at another address.';

/** Groups whose schema is refused when it is set, and why. By the beginning of their name. */
const refused: Record<string, string> = {
  'refRemote.json: ': REMOTE,
  'defs.json: validate definition against metaschema': REMOTE,
  'ref.json: remote ref, containing refs itself': REMOTE,
  'dynamicRef.json: strict-tree schema, guards against misspelled properties': REMOTE,
  'dynamicRef.json: tests for implementation dynamic anchor and reference link': REMOTE,
  'dynamicRef.json: $ref and $dynamicAnchor are independent of order': REMOTE,
  'dynamicRef.json: $ref to $dynamicRef finds detached $dynamicAnchor': REMOTE,
  'optional/cross-draft.json: ': REMOTE,
  'vocabulary.json: ': DIALECT,
  'optional/format-assertion.json: ': DIALECT,
};

const ASSERTED = 'Formats are asserted here, as the standard allows; this part of the suite has them as annotations.';
const UNKNOWN = 'The format is not known, and unknown formats are ignored, as the standard has it.';
const CONTAINS =
  'What `contains` matches makes all items of the array count as evaluated: a limitation of the library.';
const MAILBOX = 'The format `email` is that of everyday addresses, without quoted names and address literals.';

/** Cases that are judged otherwise, and why. By the beginning of their name. */
const otherwise: Record<string, string> = {
  'format.json: ': ASSERTED,
  'unevaluatedItems.json: unevaluatedItems depends on adjacent contains: contains passes, second item is not evaluated':
    CONTAINS,
  'unevaluatedItems.json: unevaluatedItems depends on multiple nested contains: 7 not evaluated, fails unevaluatedItems':
    CONTAINS,
  "unevaluatedItems.json: unevaluatedItems and contains interact to control item dependency relationship: only a's and c's are invalid":
    CONTAINS,
  'optional/format/email.json: validation of e-mail addresses: a quoted string with': MAILBOX,
  'optional/format/email.json: validation of e-mail addresses: an IPv4-address-literal': MAILBOX,
  'optional/format/email.json: validation of e-mail addresses: an IPv6-address-literal': MAILBOX,
  'optional/format/idn-email.json: ': UNKNOWN,
  'optional/format/idn-hostname.json: ': UNKNOWN,
  'optional/format/iri.json: ': UNKNOWN,
  'optional/format/iri-reference.json: ': UNKNOWN,
};

const isIn = (table: Record<string, string>, name: string) =>
  Object.keys(table).some((start) => name.startsWith(start));
const caseName = (group: SuiteGroup, says: string) => `${group.name}: ${says}`;

const suite = readSuite();
const usable = suite.filter(({ name }) => !isIn(refused, name));
const cases = usable.flatMap((group) => group.cases.map(({ says }) => caseName(group, says)));
const files = [...new Set(suite.map(({ file }) => file))];

/** Names of the cases of a file that are judged otherwise than the suite has it. */
type Judge = (group: SuiteGroup, attributes: object) => Promise<boolean>;
async function misjudged(file: string, judge: Judge): Promise<string[]> {
  const wrong: string[] = [];
  for (const group of usable.filter((each) => each.file === file)) {
    for (const { says, attributes, valid } of group.cases) {
      if ((await judge(group, attributes)) !== valid) wrong.push(caseName(group, says));
    }
  }
  return wrong.filter((name) => !isIn(otherwise, name));
}

it('is the whole suite but for what is named', () => {
  expect(suite.flatMap((group) => group.cases)).toHaveLength(1906);
  expect(cases).toHaveLength(1848);
  for (const start of Object.keys(refused))
    expect(
      suite.some(({ name }) => name.startsWith(start)),
      start,
    ).toBe(true);
  for (const start of Object.keys(otherwise))
    expect(
      cases.some((name) => name.startsWith(start)),
      start,
    ).toBe(true);
});

describe('compiled', () => {
  it.each(suite.filter(({ name }) => isIn(refused, name)))('refuses $name', ({ entry }) => {
    expect(() => compileDefinition(entry as never)).toThrow(Problem);
  });

  it.each(files)('%s', async (file) => {
    const made = new Map<SuiteGroup, Definition>();
    const wrong = await misjudged(file, async (group, attributes) => {
      const definition = made.get(group) ?? compileDefinition(group.entry as never);
      made.set(group, definition);
      return definition.violations(attributes as never, undefined).length === 0;
    });
    expect(wrong).toEqual([]);
  });
});

describe('over HTTP', () => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({ database: 'sqlite' });
  });

  it.each(suite.filter(({ name }) => isIn(refused, name)))('refuses $name', async ({ entry }) => {
    const scenario = new Scenario(server);
    const answer = await scenario.call('PUT P/collections/_dictionary/items/things', { attributes: entry });
    expectProblem(answer, 422, 'invalid');
    expect(answer.body.errors[0].pointer).toMatch(/^\/attributes\/schema\//);
  });

  it.each(files)('%s', async (file) => {
    const scenario = new Scenario(server);
    const collections = new Map<SuiteGroup, string>();
    const wrong = await misjudged(file, async (group, attributes) => {
      let collection = collections.get(group);
      if (!collection) {
        collection = `c${collections.size}`;
        collections.set(group, collection);
        await scenario.calls([`PUT P/collections/_dictionary/items/${collection}`, { attributes: group.entry }]);
      }
      const answer = await scenario.call(`PUT P/collections/${collection}/items/k`, { attributes });
      if (answer.status >= 300) expectProblem(answer, 422, 'schemaViolation');
      return answer.status < 300;
    });
    expect(wrong).toEqual([]);
  });
});
