/** Items and attributes: created, replaced, read, taken away, each answer with the state that it speaks of. */
import { beforeAll, describe, expect, it } from 'vitest';
import { rowsOf, Scenario, type Story } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

describe.each(databases)('items on $name', ({ name }) => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({ database: name });
  });

  const stories: Story[] = [
    [
      'PUT creates, replaces all attributes, and names what it changed',
      [
        'PUT C/items/a',
        { attributes: { x: 1, y: [1] } },
        201,
        {
          collection: 'things',
          key: 'a',
          revision: 1,
          createdRevision: 1,
          attributes: { x: 1, y: [1] },
          changed: ['x', 'y'],
        },
      ],
      [
        'PUT C/items/a',
        { attributes: { x: 2, z: {} } },
        200,
        { revision: 2, createdRevision: 1, attributes: { x: 2, z: {} }, changed: ['x', 'z', 'y'] },
      ],
      [
        'GET C/items/a',
        undefined,
        200,
        { collection: 'things', key: 'a', revision: 2, createdRevision: 1, attributes: { x: 2, z: {} } },
      ],
    ],
    [
      'PUT of what is there already commits nothing',
      ['PUT C/items/a', { attributes: { x: { b: 1, c: [2] } } }, 201, { revision: 1 }],
      ['PUT C/items/b', { attributes: {} }, 201, { revision: 2, changed: [] }],
      ['PUT C/items/a', { attributes: { x: { c: [2], b: 1 } } }, 200, { revision: 1, changed: [] }],
      ['GET P', undefined, 200, { revision: 2 }],
    ],
    [
      'a top-level null is absent, a nested one is kept',
      [
        'PUT C/items/a',
        { attributes: { x: null, y: { z: null } } },
        201,
        { attributes: { y: { z: null } }, changed: ['y'] },
      ],
      ['PUT C/items/a', { attributes: { y: null } }, 200, { attributes: {}, changed: ['y'] }],
    ],
    [
      'POST makes an item once',
      [
        'POST C/items',
        { key: 'a', attributes: { x: 1 } },
        201,
        { key: 'a', revision: 1, attributes: { x: 1 }, changed: ['x'] },
      ],
      ['POST C/items', { key: 'a', attributes: { x: 2 } }, 409, { code: 'conflict' }],
      ['GET C/items/a', undefined, 200, { revision: 1, attributes: { x: 1 } }],
    ],
    [
      'DELETE says whether there was something, and commits only then',
      ['PUT C/items/a', { attributes: { x: 1 } }, 201],
      ['DELETE C/items/a', undefined, 200, { revision: 2, existed: true }],
      ['GET C/items/a', undefined, 404, { code: 'notFound' }],
      ['DELETE C/items/a', undefined, 200, { revision: 2, existed: false }],
      ['DELETE P/collections/never/items/a', undefined, 200, { revision: 2, existed: false }],
    ],
    [
      'an item made again is a new one',
      ['PUT C/items/a', { attributes: { x: 1 } }, 201],
      ['DELETE C/items/a', undefined, 200],
      ['PUT C/items/a', { attributes: { x: 1 } }, 201, { revision: 3, createdRevision: 3 }],
    ],
    [
      'attributes are set, read and removed one by one',
      [
        'PUT C/items/a/attributes/x',
        { value: [1, { y: 2 }] },
        201,
        { name: 'x', value: [1, { y: 2 }], revision: 1, changed: ['x'] },
      ],
      ['PUT C/items/a/attributes/y', { value: false }, 200, { name: 'y', value: false, revision: 2, changed: ['y'] }],
      ['GET C/items/a/attributes/x', undefined, 200, { name: 'x', value: [1, { y: 2 }], revision: 2 }],
      ['DELETE C/items/a/attributes/x', undefined, 200, { name: 'x', value: null, revision: 3, changed: ['x'] }],
      ['DELETE C/items/a/attributes/x', undefined, 200, { revision: 3, changed: [] }],
      ['GET C/items/a/attributes/x', undefined, 404, { code: 'notFound' }],
      ['GET C/items/a', undefined, 200, { attributes: { y: false } }],
    ],
    [
      'an attribute set to null is removed, and makes no item',
      ['PUT C/items/a/attributes/x', { value: 1 }, 201],
      ['PUT C/items/a/attributes/x', { value: null }, 200, { value: null, changed: ['x'] }],
      ['PUT C/items/b/attributes/x', { value: null }, 200, { value: null, changed: [] }],
      ['GET C/items/b', undefined, 404],
    ],
    [
      'an item whose last attribute goes stays',
      ['PUT C/items/a', { attributes: { x: 1 } }, 201],
      ['DELETE C/items/a/attributes/x', undefined, 200],
      ['GET C/items/a', undefined, 200, { attributes: {}, revision: 2 }],
    ],
    [
      'fields choose attributes, in the order asked for; unknown ones are left out',
      ['PUT C/items/a', { attributes: { x: 1, y: 2, z: 3 } }, 201],
      ['GET C/items/a?fields=z,x,nowhere', undefined, 200, { attributes: { x: 1, z: 3 } }],
      ['GET C/items/a?fields=toString', undefined, 200, { attributes: {} }],
    ],
  ];

  it.each(rowsOf(stories))('%s', async (_says, steps) => {
    await new Scenario(server).play(steps);
  });

  it('POST without a key makes one that orders by time, and Location leads to it', async () => {
    const scenario = new Scenario(server);
    const keys: string[] = [];
    for (let i = 0; i < 5; i++) {
      const { body, headers } = await scenario.calls(['POST C/items', { attributes: { i } }]);
      expect(body.key).toMatch(UUID_V7);
      const found = await scenario.calls([`GET ${headers.location}`]);
      expect(found.body).toMatchObject({ key: body.key, attributes: { i } });
      keys.push(body.key);
    }
    expect(keys).toEqual([...new Set(keys)].sort());
  });

  it('HEAD is GET without its body', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: { x: 1 } });
    const get = await scenario.call('GET C/items/a');
    const head = await scenario.call('HEAD C/items/a');
    expect(head.status).toBe(200);
    expect(head.text ?? '').toBe('');
    for (const header of ['etag', 'stargus-revision', 'stargus-cursor', 'content-type', 'content-length']) {
      expect(head.headers[header], header).toBe(get.headers[header]);
    }
    expect((await scenario.call('HEAD C/items/b')).status).toBe(404);
  });

  it.each<[key: string]>([
    ['a b'],
    ['a/b'],
    ['a?b#c'],
    ['100%'],
    ['ä€😀'],
    ['"\\'],
    ["~!*'();:@&=+$,[]"],
    ['...'],
    ['_a'],
    ['%2F'],
    [' '],
  ])('the key %j comes back as it was given', async (key) => {
    const scenario = new Scenario(server);
    const { body, headers } = await scenario.calls([
      `PUT C/items/${encodeURIComponent(key)}`,
      { attributes: { x: key } },
    ]);
    expect(body.key).toBe(key);
    expect((await scenario.calls([`GET ${headers.location}`])).body).toMatchObject({ key, attributes: { x: key } });
    expect((await scenario.calls(['GET C/items'])).body.items.map((item: { key: string }) => item.key)).toEqual([key]);
    expect((await scenario.calls(['GET P/changes'])).body.commits[0].changes[0]).toMatchObject({ op: 'add', key });
  });

  it.each<[name: string]>([
    ['a b'],
    ['a/b'],
    ['ä€😀'],
    ['.'],
    ['..x'],
    ['__proto__'],
    ['constructor'],
    ['toString'],
    ['a,b'],
    ['""'],
  ])('the attribute %j comes back as it was given', async (attribute) => {
    const scenario = new Scenario(server);
    const path = `C/items/a/attributes/${encodeURIComponent(attribute)}`;
    await scenario.fill({ a: { other: 1 } });
    expect((await scenario.calls([`PUT ${path}`, { value: { deep: 1 } }])).body).toMatchObject({
      name: attribute,
      changed: [attribute],
    });
    expect((await scenario.calls([`GET ${path}`])).body.value).toEqual({ deep: 1 });
    const { attributes } = JSON.parse((await scenario.calls(['GET C/items/a'])).text) as { attributes: object };
    expect(Object.keys(attributes).sort()).toEqual([attribute, 'other'].sort());
    expect((await scenario.calls([`DELETE ${path}`])).body.changed).toEqual([attribute]);
    expect(await scenario.attributes('a')).toEqual({ other: 1 });
  });

  it('what is made of concurrent writers is what some order of them makes', async () => {
    const scenario = new Scenario(server);
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => scenario.call(`PUT C/items/a/attributes/n${i}`, { value: i })),
    );
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
    expect(answers.map(({ body }) => body.revision).sort((a, b) => a - b)).toEqual(
      Array.from({ length: 20 }, (_, i) => i + 1),
    );
    expect(await scenario.attributes('a')).toEqual(
      Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`n${i}`, i])),
    );
  });
});
