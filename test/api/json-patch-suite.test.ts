/**
 * The public test suite of JSON Patch (RFC 6902), every case of it: the case's document is the attribute `doc` of an item, and
 * its paths lead there. A refused patch leaves the item as it was.
 */
import { createRequire } from 'node:module';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectProblem, Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

interface Case {
  comment?: string;
  doc: unknown;
  patch: { path?: string; from?: string }[];
  /** Absent where the patch only tests. */
  expected?: unknown;
  error?: string;
}

const load = createRequire(import.meta.url);
const cases = ['spec_tests.json', 'tests.json'].flatMap((file) =>
  (load(`json-patch-test-suite/${file}`) as Case[]).map((test, index) => ({ ...test, id: `${file} ${index}` })),
);

/** Cases that can't be told here, and why. */
const inapplicable: Record<string, string> = {
  'spec_tests.json 13':
    'It is about two `op` members in one operation; parsing the suite leaves one, and so does the server.',
  'tests.json 76': 'The same: of two `op` members the last counts, and a valid operation is left.',
};
const applicable = cases.filter(({ id }) => !(id in inapplicable));

const JSON_PATCH = { 'content-type': 'application/json-patch+json' };
const under = (pointer: string | undefined) => (pointer === undefined ? undefined : `/attributes/doc${pointer}`);

describe.each(databases)('the JSON Patch test suite on $name', ({ name }) => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({ database: name });
  });

  it('is the whole suite but for what is named', () => {
    expect(cases).toHaveLength(95);
    expect(applicable).toHaveLength(93);
  });

  it.each(applicable)('$id: $comment $error', async ({ doc, patch, expected = doc, error }) => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: { doc, other: true } });
    const mapped = patch.map((operation) => ({
      ...operation,
      path: under(operation.path),
      from: under(operation.from),
    }));
    const answer = await scenario.call('PATCH C/items/a', mapped, JSON_PATCH);
    if (error === undefined) {
      expect(answer.status, answer.text).toBe(200);
      expect(answer.body.attributes).toEqual({ doc: expected, other: true });
    } else {
      expect([400, 409], answer.text).toContain(answer.status);
      expectProblem(answer, answer.status, answer.status === 400 ? 'badRequest' : 'conflict');
    }
    expect(await scenario.attributes('a')).toEqual({ doc: error === undefined ? expected : doc, other: true });
    expect(await scenario.revision()).toBe(error === undefined && answer.body.changed.length > 0 ? 2 : 1);
  });
});
