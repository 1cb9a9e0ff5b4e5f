/** Values: JSON comes back as it was given, or is refused with its place named; nothing is altered silently. */
import { beforeAll, describe, expect, it } from 'vitest';
import { pointersOf, Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

const nested = (levels: number) => '['.repeat(levels) + ']'.repeat(levels);
const nestedObjects = (levels: number) => `${'{"a":'.repeat(levels - 1)}{}${'}'.repeat(levels - 1)}`;

describe.each(databases)('values on $name', ({ name }) => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({ database: name });
  });

  /** Texts of one JSON value, written and read as they are; where reading shows them otherwise, how. */
  const kept: [text: string, shown?: string][] = [
    ['9007199254740991'],
    ['-9007199254740991'],
    ['9007199254740992'],
    ['9007199254740994'],
    ['100000000000000000000'],
    ['0'],
    ['-0', '0'],
    ['0.1'],
    ['1e3', '1000'],
    ['1.5E+2', '150'],
    ['1e21', '1e+21'],
    ['1.7976931348623157e308', '1.7976931348623157e+308'],
    ['5e-324'],
    ['0.1234567890123456789', '0.12345678901234568'],
    ['true'],
    ['false'],
    ['""'],
    ['"9007199254740993"'],
    ['"1e400"'],
    ['[]'],
    ['{}'],
    ['[null]'],
    ['{"a":null}'],
    ['"\\u0000"'],
    ['"\\u001f\\u007f"', '"\\u001f\x7f"'],
    ['"\\ud83d\\ude00"', '"😀"'],
    ['"😀"'],
    ['"\\\\ud800"'],
    ['"\\u2028"', '"\u2028"'],
    ['"<script>"'],
    ['" "'],
    ['"ä\u0308"'],
    ['{"b":1,"a":2}'],
    ['{"":{"":""}}'],
    ['{"__proto__":{"x":1}}'],
    ['{"constructor":{"prototype":1},"toString":null,"hasOwnProperty":1}'],
    ['{"a":1,"a":2}', '{"a":2}'],
    ['{"a":{"x":1},"a":{"y":2}}', '{"a":{"y":2}}'],
    [nested(100)],
    [nestedObjects(100)],
  ];

  it.each(kept)('%s is kept', async (text, shown = text) => {
    const scenario = new Scenario(server);
    const body = `{"attributes":{"v":${text},"w":1}}`;
    await scenario.calls(
      ['PUT C/items/put', body],
      ['PATCH C/items/patch', body],
      ['PUT C/items/set/attributes/v', `{"value":${text}}`],
    );
    await scenario.calls([
      'POST P/batch',
      `{"ops":[{"op":"put","collection":"things","key":"batch","attributes":{"v":${text}}}]}`,
    ]);
    for (const key of ['put', 'patch', 'set', 'batch']) {
      const read = await scenario.calls([`GET C/items/${key}/attributes/v`]);
      // A merge takes a null in an object for a removal, at any depth.
      const wanted =
        key === 'patch' && text.startsWith('{') && text.includes('null')
          ? text.replace(/"(a|toString)":null,?/, '')
          : shown;
      expect(read.text).toContain(`"value":${wanted},"revision"`);
    }
    const told = await scenario.calls(['GET P/changes?limit=1']);
    expect(told.text).toContain(`"v":${shown}`);
    const again = await scenario.calls(['PUT C/items/put', body]);
    expect(again.body.changed).toEqual([]);
  });

  /** Texts that are refused where they stand, as `V`. */
  const refused: [says: string, code: string, text: string][] = [
    ['an integer between two doubles', 'numberOutOfRange', '9007199254740993'],
    ['its negative', 'numberOutOfRange', '-9007199254740993'],
    ['a long integer', 'numberOutOfRange', '12345678901234567890'],
    ['past the range', 'numberOutOfRange', '1e400'],
    ['past the range, negative', 'numberOutOfRange', '-1e400'],
    ['too small to be told from 0', 'numberOutOfRange', '1e-400'],
    ['a long number past the range', 'numberOutOfRange', '9'.repeat(400)],
    ['a lone high surrogate', 'badRequest', '"\\ud800"'],
    ['a lone low surrogate', 'badRequest', '"a\\udc00b"'],
    ['surrogates the wrong way round', 'badRequest', '"\\ude00\\ud83d"'],
  ];
  const places: [body: string, pointer: string, line: string][] = [
    ['{"attributes":{"a":1,"v":V}}', '/attributes/v', 'PUT C/items/a'],
    ['{"attributes":{"a":{"b":[0,{"c/d~":V}]}}}', '/attributes/a/b/1/c~1d~0', 'PUT C/items/a'],
    ['{"attributes":{"v":[[],[1,2,V]]}}', '/attributes/v/1/2', 'PATCH C/items/a'],
    ['{"value":{"x":"y","v":V}}', '/value/v', 'PUT C/items/a/attributes/x'],
    [
      '{"ops":[{"op":"delete","collection":"things","key":"a"},{"op":"append","collection":"things","key":"a","attribute":"l","value":V}]}',
      '/ops/1/value',
      'POST P/batch',
    ],
    ['[{"op":"add","path":"/attributes/x","value":V}]', '/0/value', 'PATCH C/items/a'],
    ['{"attributes":{"v":V,"v":1}}', '/attributes/v', 'PUT C/items/a'],
  ];

  describe.each(refused)('%s', (_says, code, text) => {
    it.each(places)('in %s', async (body, pointer, line) => {
      const scenario = new Scenario(server);
      await scenario.fill({ a: { x: 1 } });
      const headers = body.startsWith('[') ? { 'content-type': 'application/json-patch+json' } : undefined;
      const answer = await scenario.refused(400, code, line, body.replace('V', text), headers);
      expect(pointersOf(answer)).toEqual([pointer]);
      expect(await scenario.attributes('a')).toEqual({ x: 1 });
    });
  });

  it('numbers of an increment obey the same rule', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: { n: 1 } });
    const answer = await scenario.refused(
      400,
      'numberOutOfRange',
      'POST C/items/a/increment',
      '{"attribute":"n","by":9007199254740993}',
    );
    expect(pointersOf(answer)).toEqual(['/by']);
  });

  it('a lone surrogate in a name or a key is refused', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: {} });
    await scenario.refused(400, 'badRequest', 'PUT C/items/a', '{"attributes":{"\\ud800":1}}');
    await scenario.refused(400, 'badRequest', 'POST C/items', '{"key":"\\udc00","attributes":{}}');
  });

  it.each([101, 1000, 50_000])('%i levels are refused', async (levels) => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: { x: 1 } });
    for (const text of [nested(levels), nestedObjects(levels)]) {
      await scenario.refused(400, 'badRequest', 'PUT C/items/a', `{"attributes":{"v":${text}}}`);
      await scenario.refused(400, 'badRequest', 'PATCH C/items/a', `{"attributes":{"v":${text}}}`);
      await scenario.refused(400, 'badRequest', 'PUT C/items/a/attributes/v', `{"value":${text}}`);
      await scenario.refused(
        400,
        'badRequest',
        'POST P/batch',
        `{"ops":[{"op":"append","collection":"things","key":"a","attribute":"l","value":${text}}]}`,
      );
    }
    expect(await scenario.attributes('a')).toEqual({ x: 1 });
  });

  it('a deep value does not grow by patches either', async () => {
    const scenario = new Scenario(server);
    await scenario.calls(['PUT C/items/a', `{"attributes":{"v":${nestedObjects(100)}}}`]);
    const path = `/attributes/v${'/a'.repeat(100)}`;
    await scenario.refused(400, 'badRequest', 'PATCH C/items/a', [{ op: 'add', path, value: {} }], {
      'content-type': 'application/json-patch+json',
    });
    await scenario.calls([
      'PATCH C/items/a',
      [{ op: 'add', path, value: 1 }],
      { 'content-type': 'application/json-patch+json' },
    ]);
  });

  it('nor does an array by appending', async () => {
    const scenario = new Scenario(server);
    const append = (value: string) =>
      `{"ops":[{"op":"append","collection":"things","key":"a","attribute":"l","value":${value}}]}`;
    await scenario.calls(['POST P/batch', append(nested(99))]);
    await scenario.refused(400, 'badRequest', 'POST P/batch', append(nested(100)));
  });

  it.each<[says: string, body: string]>([
    ['no JSON', '{"attributes":'],
    ['a trailing comma', '{"attributes":{"a":1,}}'],
    ['a comment', '{"attributes":{}} // x'],
    ['two texts', '{"attributes":{}}{}'],
    ['NaN', '{"attributes":{"a":NaN}}'],
    ['Infinity', '{"attributes":{"a":Infinity}}'],
    ['a leading zero', '{"attributes":{"a":01}}'],
    ['single quotes', "{'attributes':{}}"],
    ['a raw control character', '{"attributes":{"a":"\n"}}'],
    ['a byte order mark', '\ufeff{"attributes":{}}'],
    ['blanks only', '  '],
  ])('%s is malformed', async (_says, body) => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: { x: 1 } });
    await scenario.refused(400, 'badRequest', 'PUT C/items/a', body);
  });
});
