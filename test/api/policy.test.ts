/** Policy over HTTP: who may do what, what they are shown of it, and what the server says of its decisions. */
import { beforeAll, describe, expect, it } from 'vitest';
import { accountOf, asOperator, People, startStrictServer } from '../support/people.js';
import { type Answer, expectProblem, type Headers, Scenario } from '../support/scenario.js';
import { databases, type Server } from '../support/server.js';

const [ANN, BOB] = [accountOf('ann'), accountOf('bob')];
const rule = (members: object = {}) => ({
  effect: 'allow',
  actions: ['read', 'watch'],
  who: { anyone: true },
  collections: ['things'],
  ...members,
});

describe.each(databases)('policy on $name', ({ name }) => {
  let server: Server;
  beforeAll(async () => {
    server = await startStrictServer(name);
  });

  /** A pool with a policy and items, and those who use it. */
  async function pool(rules: readonly object[], items: Readonly<Record<string, object>> = {}, more: object = {}) {
    const scenario = new Scenario(server);
    const people = new People(scenario);
    const put = (line: string, attributes: object) => scenario.calls([`PUT ${line}`, { attributes }, asOperator]);
    await put('P/collections/_policies/items/main', { rules, ...more });
    for (const [key, attributes] of Object.entries(items)) await put(`C/items/${encodeURIComponent(key)}`, attributes);
    const as = async (who: string, line: string, body?: unknown, headers?: Headers): Promise<Answer> =>
      people.call(who, line, body, headers);
    const refused = async (
      status: number,
      code: string,
      who: string,
      line: string,
      body?: unknown,
      headers?: Headers,
    ) => {
      const before = (await as('operator', 'GET P')).body.revision;
      const answer = await as(who, line, body, headers);
      expectProblem(answer, status, code);
      expect((await as('operator', 'GET P')).body.revision, `${line} was refused, but the pool moved`).toBe(before);
      return answer;
    };
    return { scenario, people, as, refused, put };
  }

  const rooms = {
    a: { name: 'attic', owner: ANN, pay: 3, shared: true },
    b: { name: 'bath', owner: BOB, pay: 1, shared: true },
    c: { name: 'cellar', owner: BOB, pay: 2, shared: false },
  };

  it('without a token nothing is told, and without a rule nothing is allowed', async () => {
    const { scenario, refused } = await pool([], rooms);
    expectProblem(await scenario.call('GET C/items/a'), 401, 'unauthenticated');
    expect((await scenario.call('GET P')).body).toEqual({
      pool: scenario.pool,
      authentication: { required: true, schemes: expect.any(Array) },
    });
    for (const line of [
      'GET P',
      'GET C',
      'GET C/items',
      'GET C/items/a',
      'GET C/items/none',
      'GET C/attach',
      'GET P/changes',
      'GET P/export',
      'GET P/collections/_policies/items/main',
      'GET C/items/a/history',
    ])
      await refused(403, 'forbidden', 'ann', line);
    await refused(403, 'forbidden', 'ann', 'PUT C/items/a', { attributes: {} });
    await refused(403, 'forbidden', 'ann', 'DELETE C/items/none');
    await refused(403, 'forbidden', 'ann', 'POST P/sessions', {});
    await refused(403, 'forbidden', 'ann', 'PUT P', {});
    await refused(403, 'forbidden', 'ann', 'DELETE P');
    await refused(403, 'forbidden', 'ann', 'PUT C', {});
  });

  it('who may do nothing in a pool isn’t told whether there is one, nor anything of it', async () => {
    const { scenario, as } = await pool([rule({ who: { subjects: [BOB] } })], rooms);
    const none = new Scenario(server);
    for (const path of [
      '',
      '/collections',
      '/collections/things',
      '/collections/things/items',
      '/collections/things/items/a',
      '/locks',
      '/locks/x',
      '/sessions/x',
      '/changes',
      '/policy/effective',
      '/export',
      '/collections/_policies/items',
    ]) {
      const [there, not] = [scenario, none].map(({ pool: name }) => `GET /v1/pools/${name}${path}`) as [string, string];
      const [one, other] = [await as('ann', there), await as('ann', not)];
      expect([path, one.status, one.body.detail]).toEqual([path, other.status, other.body.detail]);
      expect([path, one.status, one.headers['stargus-revision']]).toEqual([path, 403, undefined]);
    }
    const options = await as('ann', `OPTIONS /v1/pools/${scenario.pool}`);
    expect(options.headers['stargus-revision']).toBeUndefined();
  });

  it('items and attributes that are hidden are absent', async () => {
    const { as } = await pool(
      [rule({ where: { owner: '$subject.id' } }), rule({ where: { shared: true }, attributes: ['name'] })],
      rooms,
    );
    const body = async (line: string, sent?: unknown) => (await as('ann', line, sent)).body;
    expect((await body('GET C/items/a')).attributes).toEqual(rooms.a);
    expect((await body('GET C/items/b')).attributes).toEqual({ name: 'bath' });
    const missing = await as('ann', 'GET C/items/none');
    const hidden = await as('ann', 'GET C/items/c');
    expectProblem(hidden, 404, 'notFound');
    expect(hidden.body.detail.replace('"c"', '"none"')).toBe(missing.body.detail);
    expect(hidden.headers.etag).toBeUndefined();
    expectProblem(await as('ann', 'GET C/items/b/attributes/pay'), 404, 'notFound');
    expectProblem(await as('ann', 'GET C/items/c', undefined, { 'if-none-match': '*' }), 404, 'notFound');
  });

  it.each<[says: string, query: object, wanted: object]>([
    ['all', {}, { items: ['a', 'b'], count: 2 }],
    ['what is hidden isn’t there to be found', { where: { pay: 1 } }, { items: [], count: 0 }],
    ['nor to be missed', { where: { pay: { exists: false } } }, { items: ['b'], count: 1 }],
    ['nor by its opposite', { where: { not: { pay: { gte: 0 } } } }, { items: ['b'], count: 1 }],
    ['what is seen is', { where: { pay: { gt: 2 } } }, { items: ['a'], count: 1 }],
    ['order by what is hidden of some', { order: ['pay'] }, { items: ['a', 'b'], count: 2 }],
    ['and backwards', { order: ['-pay'] }, { items: ['a', 'b'], count: 2 }],
    ['order by what is seen of all', { order: ['-name'] }, { items: ['b', 'a'], count: 2 }],
    ['by a key that is hidden', { where: { '/@key': 'c' } }, { items: [], count: 0 }],
  ])('queries: %s', async (_says, query, { items, count }: { items?: string[]; count?: number }) => {
    for (const indexes of [[], [{ attributes: ['pay'] }, { attributes: ['name'] }, { attributes: ['owner'] }]]) {
      const { as, put } = await pool(
        [rule({ where: { owner: '$subject.id' } }), rule({ where: { shared: true }, attributes: ['name'] })],
        rooms,
      );
      if (indexes.length > 0) await put('P/collections/_dictionary/items/things', { indexes });
      const { body } = await as('ann', 'POST C/query', { ...query, count: 'exact' });
      expect([body.items?.map((item: { key: string }) => item.key), body.count]).toEqual([items, count]);
    }
  });

  it('aggregates, groups and pages are of what is seen, and how it was found isn’t told', async () => {
    const { as, refused } = await pool(
      [rule({ where: { owner: '$subject.id' } }), rule({ where: { shared: true }, attributes: ['name'] })],
      rooms,
    );
    const asked = { aggregates: { sum: { sum: 'pay' }, n: { count: '/@key' } } };
    expect((await as('ann', 'POST C/query', asked)).body.aggregates).toEqual({ sum: 3, n: 2 });
    expect((await as('ann', 'POST C/query', { ...asked, groupBy: ['shared'] })).body.groups).toEqual([
      { group: { shared: true }, aggregates: { sum: 3, n: 1 } },
      { group: {}, aggregates: { sum: 0, n: 1 } },
    ]);
    await refused(403, 'forbidden', 'ann', 'POST C/query', { explain: true });
    const first = (await as('ann', 'GET C/items?limit=1')).body;
    const next = (await as('ann', `GET C/items?limit=1&pageToken=${encodeURIComponent(first.nextPageToken)}`)).body;
    expect([first.items[0].key, next.items[0].key, next.nextPageToken]).toEqual(['a', 'b', undefined]);
  });

  it('of pools and collections those are told with which one may do something, and counts to who sees all', async () => {
    const { scenario, as, put } = await pool(
      [rule({ attributes: ['name'] }), rule({ who: { subjects: [BOB] } })],
      rooms,
    );
    await put('P/collections/secret/items/x', { a: 1 });
    const names = ({ body }: Answer) => body.collections.map(({ collection }: { collection: string }) => collection);
    expect(names(await as('ann', 'GET P/collections'))).toEqual(['things']);
    expect((await as('ann', 'GET C')).body.items).toBeUndefined();
    expect((await as('bob', 'GET C')).body.items).toBe(3);
    expectProblem(await as('ann', 'GET P/collections/secret'), 403, 'forbidden');
    const { body } = await as('ann', 'GET P');
    expect([body.pool, body.items, body.collections]).toEqual([scenario.pool, undefined, undefined]);
    const pools = (await as('ann', 'GET /v1/pools?limit=1000')).body.pools.map((each: { pool: string }) => each.pool);
    expect(pools).toContain(scenario.pool);
    const closed = await pool([], rooms);
    const others = (await as('ann', 'GET /v1/pools?limit=1000')).body.pools;
    expect(others.map((each: { pool: string }) => each.pool)).not.toContain(closed.scenario.pool);
  });

  const mine = (more: object = {}) =>
    rule({ actions: ['read', 'watch', 'create', 'write', 'delete'], where: { owner: '$subject.id' }, ...more });

  it.each<[says: string, line: string, body: unknown, status: number, wanted: object, headers?: Headers]>([
    ['of one’s own', 'PATCH C/items/a', { attributes: { pay: 4 } }, 200, { changed: ['pay'] }],
    ['of another’s', 'PATCH C/items/b', { attributes: { pay: 4 } }, 403, {}],
    ['that takes another’s', 'PATCH C/items/b', { attributes: { owner: ANN } }, 403, {}],
    ['that gives away', 'PATCH C/items/a', { attributes: { owner: BOB } }, 403, {}],
    ['that would change nothing of another’s', 'PATCH C/items/b', { attributes: { pay: 1 } }, 403, {}],
    ['of a new one', 'PUT C/items/d', { attributes: { owner: ANN } }, 201, { changed: ['owner'] }],
    ['of a new one for another', 'PUT C/items/d', { attributes: { owner: BOB } }, 403, {}],
    ['that deletes', 'DELETE C/items/a', undefined, 200, { existed: true }],
    ['that deletes another’s: it isn’t there', 'DELETE C/items/b', undefined, 200, { existed: false }],
    ['that deletes what isn’t there', 'DELETE C/items/none', undefined, 200, { existed: false }],
    [
      'with a condition on what is hidden',
      'PUT C/items/b',
      { attributes: { owner: ANN } },
      412,
      {},
      { 'if-match': '*' },
    ],
    ['that may only create', 'PUT C/items/b', { attributes: { owner: ANN } }, 403, {}, { 'if-none-match': '*' }],
    ['by increment', 'POST C/items/a/increment', { attribute: 'pay', by: 1 }, 200, { value: 4 }],
    ['by increment of another’s', 'POST C/items/b/increment', { attribute: 'pay', by: 1 }, 403, {}],
    ['of the dictionary', 'PUT P/collections/_dictionary/items/things', { attributes: {} }, 403, {}],
    ['of a policy', 'PUT P/collections/_policies/items/x', { attributes: {} }, 403, {}],
    ['by query, of one’s own only', 'POST C/delete', { prefix: '' }, 200, { deleted: 1, keys: ['a'] }],
    [
      'in a batch',
      'POST P/batch',
      {
        ops: [
          { op: 'merge', collection: 'things', key: 'a', attributes: { pay: 9 } },
          { op: 'delete', collection: 'things', key: 'c' },
          { op: 'put', collection: 'things', key: 'e', attributes: { owner: ANN } },
        ],
      },
      200,
      {},
    ],
    [
      'in a batch with one that isn’t allowed',
      'POST P/batch',
      {
        ops: [
          { op: 'merge', collection: 'things', key: 'a', attributes: { pay: 9 } },
          { op: 'merge', collection: 'things', key: 'b', attributes: { pay: 9 } },
        ],
      },
      403,
      { errors: [{ index: 1 }] },
    ],
    [
      'with a condition that asks about what is hidden',
      'POST P/batch',
      { if: [{ collection: 'things', key: 'b', where: { pay: 1 } }], ops: [] },
      412,
      {},
    ],
    [
      'with a condition that it isn’t there',
      'POST P/batch',
      { if: [{ collection: 'things', key: 'b', exists: false }], ops: [] },
      200,
      {},
    ],
  ])('a write %s', async (_says, line, body, status, wanted, headers) => {
    const { as } = await pool([mine()], rooms);
    const before = (await as('operator', 'GET C/items')).body.items;
    const answer = await as('ann', line, body, headers);
    expect({ line, status: answer.status, body: answer.body }).toMatchObject({ line, status, body: wanted });
    if (status >= 400) expect((await as('operator', 'GET C/items')).body.items).toEqual(before);
    expect(answer.text).not.toContain(status >= 400 ? 'bath' : 'cellar');
  });

  it.each<[line: string, body?: unknown, headers?: Headers]>([
    ['PUT C/items/KEY', { attributes: { pay: 1, name: 'x' } }],
    ['PUT C/items/KEY', { attributes: { pay: 2, name: 'bath' } }],
    ['PATCH C/items/KEY', { attributes: { pay: 1, gone: null } }],
    ['PATCH C/items/KEY', { attributes: { owner: ANN } }],
    [
      'PATCH C/items/KEY',
      [{ op: 'test', path: '/attributes/pay', value: 1 }],
      { 'content-type': 'application/json-patch+json' },
    ],
    ['PUT C/items/KEY/attributes/pay', { value: 1 }],
    ['DELETE C/items/KEY/attributes/pay'],
    ['DELETE C/items/KEY'],
    ['POST C/items/KEY/increment', { attribute: 'pay', by: 1 }],
    ['POST C/items/KEY/increment', { attribute: 'pay', by: 1, max: 0 }],
    ...[
      { op: 'unset', names: ['pay'] },
      { op: 'merge', attributes: {} },
      { op: 'append', attribute: 'list', value: 1 },
      { op: 'remove', attribute: 'name', value: 'bath' },
    ].map((op): [string, unknown] => ['POST P/batch', { ops: [{ ...op, collection: 'things', key: 'KEY' }] }]),
  ])('by %s with %j nobody who may not create tells a hidden item from a missing one', async (line, body, headers) => {
    const hidden = { 'key-of-another': { owner: BOB, name: 'bath', pay: 1 } };
    const { as } = await pool([mine({ actions: ['read', 'write', 'delete'] })], { ...rooms, ...hidden });
    const told = async (key: string) => {
      const sent = body === undefined ? undefined : JSON.parse(JSON.stringify(body).replaceAll('KEY', key));
      const { status, text } = await as('ann', line.replace('KEY', key), sent, headers);
      return [status, text.replaceAll(/"(requestId|cursor)":"[^"]*"/g, '').replaceAll(key, 'KEY')];
    };
    expect(await told('key-of-another')).toEqual(await told('key-of-nothing'));
  });

  it('who may write what they don’t read learns nothing of it', async () => {
    const writer = [rule({ attributes: ['name'] }), rule({ actions: ['write'] })];
    const { as, refused } = await pool(writer, rooms);
    for (const pay of [3, 4]) {
      const { body, status } = await as('ann', 'PATCH C/items/a', { attributes: { pay } });
      expect([status, body.changed, body.attributes]).toEqual([200, [], { name: 'attic' }]);
    }
    // To replace all is to replace what one sees.
    await as('ann', 'PUT C/items/a', { attributes: { name: 'loft' } });
    expect((await as('operator', 'GET C/items/a')).body.attributes).toEqual({ ...rooms.a, name: 'loft', pay: 4 });
    for (const line of ['increment'])
      await refused(403, 'forbidden', 'ann', `POST C/items/a/${line}`, { attribute: 'pay', by: 0 });
    const patch = (operations: object[]) =>
      as('ann', 'PATCH C/items/a', operations, { 'content-type': 'application/json-patch+json' });
    expect((await patch([{ op: 'test', path: '/attributes/pay', value: 4 }])).status).toBe(409);
    expect((await patch([{ op: 'test', path: '/attributes/pay', value: 5 }])).status).toBe(409);
    expect((await patch([{ op: 'copy', from: '/attributes/pay', path: '/attributes/name' }])).status).toBe(409);
    expect((await patch([{ op: 'add', path: '/attributes/pay', value: 7 }])).body.attributes).toEqual({ name: 'loft' });
    expect((await as('operator', 'GET C/items/a')).body.attributes.pay).toBe(7);
  });

  it('who may not write what they don’t read isn’t told either whether it was that already', async () => {
    const { as, refused } = await pool(
      [rule({ attributes: ['name'] }), rule({ actions: ['create', 'write'], attributes: ['name'] })],
      rooms,
    );
    const texts: string[] = [];
    for (const pay of [3, 4, null]) {
      for (const [line, body] of [
        ['PATCH C/items/a', { attributes: { pay } }],
        ['PUT C/items/a/attributes/pay', { value: pay }],
        ...(pay === null ? [] : [['PUT C/items/a', { attributes: { name: 'attic', pay } }] as const]),
      ] as const) {
        const { body: problem } = await refused(403, 'forbidden', 'ann', line, body);
        texts.push(problem.detail);
      }
    }
    expect(new Set(texts).size).toBe(1);
    expect((await as('ann', 'PATCH C/items/a', { attributes: { name: 'loft' } })).body.changed).toEqual(['name']);
  });

  it('a denied administrator doesn’t get at policies by what an administrator has', async () => {
    const admin = rule({ actions: ['admin'], collections: ['*'] });
    const closed = await pool([admin, { ...admin, effect: 'deny', who: { subjects: [ANN] } }, rule()], rooms);
    await closed.refused(403, 'forbidden', 'ann', 'GET P/collections/_policies/items/main');
    await closed.refused(403, 'forbidden', 'ann', 'PUT P/collections/_policies/items/mine', {
      attributes: { rules: [rule()] },
    });
    expect((await closed.as('bob', 'GET P/collections/_policies/items/main')).status).toBe(200);
  });

  it('the filter of a weaker token asks about what policy shows, and not about what it hides', async () => {
    const { scenario } = await pool([rule({ actions: ['read', 'write', 'lock'], attributes: ['name'] })], rooms);
    const tokenWith = async (where: object) => {
      const details = [{ type: 'stargus', actions: ['read', 'write', 'lock'], collections: ['things'], where }];
      const key = { name: 'weak', subject: ANN, authorizationDetails: details };
      const { body } = await scenario.calls(['POST /v1/auth/keys', key, asOperator]);
      return { authorization: `Bearer ${body.secret}` };
    };
    const found = async (where: object) => {
      const headers = await tokenWith(where);
      const { body } = await scenario.call('GET C/items', undefined, headers);
      return body.items.map(({ key }: { key: string }) => key);
    };
    expect(await found({ pay: { gt: 1 } })).toEqual([]);
    expect(await found({ pay: { exists: false } })).toEqual(['a', 'b', 'c']);
    expect(await found({ name: 'bath' })).toEqual(['b']);
    const guessing = await tokenWith({ pay: 3 });
    expectProblem(await scenario.call('PATCH C/items/a', { attributes: { name: 'x' } }, guessing), 403, 'forbidden');
  });

  it('who may administer some items by a token administers no collection', async () => {
    const { scenario } = await pool([rule({ actions: ['read', 'delete', 'admin'] })], rooms);
    const key = {
      name: 'weak',
      subject: ANN,
      authorizationDetails: [
        { type: 'stargus', actions: ['delete', 'admin'], collections: ['things'], keys: { prefix: 'a' } },
      ],
    };
    const answer = await scenario.call('POST /v1/auth/keys', key, asOperator);
    expect([answer.status, answer.body.errors?.[0]?.pointer]).toEqual([422, '/authorizationDetails/0/keys']);
  });

  it('what a commit that changes the policy changed is told as it was seen before', async () => {
    const hiding = { rules: [rule({ attributes: ['name'] }), rule({ collections: ['_changes'] })] };
    const { as } = await pool(hiding.rules, { a: { name: 'attic', pay: 'SECRET' } });
    const ops = [
      {
        op: 'put',
        collection: '_policies',
        key: 'main',
        attributes: { rules: [rule(), rule({ collections: ['_changes'] })] },
      },
      { op: 'merge', collection: 'things', key: 'a', attributes: { pay: 0 } },
    ];
    expect((await as('operator', 'POST P/batch', { ops })).status).toBe(200);
    for (const line of [
      'GET C/items/a/history',
      'GET P/collections/_changes/items',
      'GET P/export?collection=_changes',
      'GET P/changes?values=full',
    ]) {
      const answer = await as('ann', line);
      expect([line, answer.status]).toEqual([line, 200]);
      expect(answer.text, line).not.toContain('SECRET');
    }
    expect((await as('ann', 'GET C/items/a')).body.attributes).toEqual({ name: 'attic', pay: 0 });
  });

  it('a feed of all collections is told of each that a policy shows or hides', async () => {
    const { as, put } = await pool([rule()]);
    await put('P/collections/others/items/k', { n: 1 });
    const rules = [rule(), rule({ collections: ['others'] })];
    const ops = [
      { op: 'put', collection: '_policies', key: 'main', attributes: { rules } },
      { op: 'put', collection: 'things', key: 'k', attributes: { n: 2 } },
    ];
    await as('operator', 'POST P/batch', { ops });
    const { commits } = (await as('ann', 'GET P/changes')).body;
    const told = commits
      .at(-1)
      .changes.map(({ op, collection, key }: { op: string; collection: string; key: string }) => [op, collection, key]);
    expect(told.sort()).toEqual([
      ['add', 'others', 'k'],
      ['add', 'things', 'k'],
    ]);
  });

  it('imports and batches of single ops are judged op by op', async () => {
    const { scenario, people, as, put } = await pool([mine()], rooms);
    await put('P/collections/_dictionary/items/things', {
      mode: 'strict',
      schema: { type: 'object', properties: { pay: { maximum: 5 } } },
    });
    const lines = [
      { collection: 'things', key: 'x', attributes: { owner: ANN } },
      { collection: 'things', key: 'b', attributes: { owner: ANN } },
    ];
    const imported = await scenario.call(
      'POST P/import',
      `${lines.map((line) => JSON.stringify(line)).join('\n')}\n`,
      await people.as('ann', { 'content-type': 'application/x-ndjson' }),
    );
    expect(imported.status).toBe(200);
    expect(imported.text).toMatch(/"kind":"done"|"done"/);
    expect((await as('ann', 'GET C/items/x')).body.attributes).toEqual({ owner: ANN });
    const ops = [1, 9].map((pay) => ({ op: 'put', collection: 'things', key: 'y', attributes: { owner: ANN, pay } }));
    const { body } = await as('ann', 'POST P/batch', { atomic: false, ops });
    expect(body.results.map(({ status }: { status: number }) => status)).toEqual([201, 422]);
  });

  it('refusals say the same of an item that is hidden and of one that isn’t there', async () => {
    const { as, put } = await pool([rule({ actions: ['read', 'write'], where: { owner: '$subject.id' } })], rooms);
    await put('C/items/big', { owner: BOB, text: 'x'.repeat(600_000) });
    const attributes = { more: 'y'.repeat(600_000) };
    for (const body of [{ attributes: { a: 1 } }, { attributes }]) {
      const [hidden, none] = [await as('ann', 'PATCH C/items/big', body), await as('ann', 'PATCH C/items/nil', body)];
      expect([hidden.status, hidden.body.detail.replace('big', 'nil')]).toEqual([none.status, none.body.detail]);
    }
    const dry = async (key: string) =>
      as('ann', 'POST P/batch', {
        atomic: false,
        dryRun: true,
        ops: [{ op: 'merge', collection: 'things', key, attributes: { pay: 1 } }],
      });
    const [hidden, none] = [(await dry('b')).body.results[0], (await dry('z')).body.results[0]];
    expect([hidden.status, hidden.revision, hidden.problem.detail.replace('/b', '/z')]).toEqual([
      none.status,
      none.revision,
      none.problem.detail,
    ]);
  });

  it('a value that is written without being read can’t be guessed', async () => {
    const { as } = await pool([rule({ attributes: ['name'] }), rule({ actions: ['write'] })], rooms);
    const guess = async (pay: number) => {
      const ops = [{ op: 'merge', collection: 'things', key: 'a', attributes: { pay } }];
      const dry = (await as('ann', 'POST P/batch', { dryRun: true, ops })).body;
      const { revision } = (await as('ann', 'GET C/items/a')).body;
      const conditional = await as('ann', 'POST P/batch', {
        ops: [...ops, { op: 'merge', collection: 'things', key: 'a', attributes: { name: 'attic' }, if: { revision } }],
      });
      return [dry.results[0].status, dry.results[0].revision - revision > 0, conditional.status];
    };
    expect(await guess(3)).toEqual(await guess(4));
    for (const [attribute, line] of [
      ['pay', 'C/items/a/increment'],
      ['none', 'C/items/a/increment'],
    ] as const)
      expectProblem(await as('ann', `POST ${line}`, { attribute, by: 1 }), 403, 'forbidden');
  });

  it('a read is new under a newer policy', async () => {
    const { as, put } = await pool([rule({ attributes: ['name'] })], rooms);
    const { etag } = (await as('ann', 'GET C/items/a')).headers as { etag: string };
    // The policy is older than the item here.
    expect((await as('ann', 'GET C/items/a', undefined, { 'if-none-match': etag })).status).toBe(304);
    await put('P/collections/_policies/items/main', { rules: [rule()] });
    const answer = await as('ann', 'GET C/items/a', undefined, { 'if-none-match': etag });
    expect([answer.status, answer.body.attributes]).toEqual([200, rooms.a]);
  });

  it('a rule whose filter takes too long on an item doesn’t allow it', async () => {
    const has = { or: Array.from({ length: 32 }, (_, i) => ({ list: { has: i } })) };
    const { as } = await pool([rule({ where: has })], {
      small: { list: [1] },
      large: { list: Array.from({ length: 200_000 }, () => -1).concat(31) },
    });
    expect((await as('ann', 'GET C/items/small')).status).toBe(200);
    expect((await as('ann', 'GET C/items/large')).status).toBe(404);
  });

  it('unique values and the dictionary tell no more than that something stands in the way', async () => {
    const { as, put } = await pool([mine()], rooms);
    await put('P/collections/_dictionary/items/things', { indexes: [{ attributes: ['name'], unique: true }] });
    const answer = await as('ann', 'PUT C/items/d', { attributes: { owner: ANN, name: 'bath' } });
    expectProblem(answer, 409, 'conflict');
    expect(answer.text).not.toContain('"b"');
    expect(answer.body.key).toBeUndefined();
  });

  it('a change of policy is refused where its writer could not take it back, unless that is meant', async () => {
    const admin = rule({ actions: ['admin'], who: { subjects: [ANN] }, collections: ['*'] });
    const { as, refused } = await pool([admin], rooms);
    const P = 'P/collections/_policies/items';
    await refused(409, 'conflict', 'ann', `DELETE ${P}/main`);
    await refused(409, 'conflict', 'ann', `PUT ${P}/main`, { attributes: { rules: [] } });
    await refused(409, 'conflict', 'ann', `PUT ${P}/other`, {
      attributes: { rules: [{ ...admin, effect: 'deny', actions: ['write'], collections: ['_policies'] }] },
    });
    expect((await as('ann', `PUT ${P}/other`, { attributes: { rules: [rule()] } })).status).toBe(201);
    expect((await as('ann', 'GET C/items/a')).body.attributes).toEqual(rooms.a);
    expect((await as('ann', `PUT ${P}/main?force=true`, { attributes: { rules: [] } })).status).toBe(200);
    await refused(403, 'forbidden', 'ann', `GET ${P}/main`);
    // Whom nothing binds is never locked out.
    expect((await as('operator', `DELETE ${P}/main`)).status).toBe(200);
  });

  it.each<[says: string, attributes: object, pointer: string]>([
    ['no collections', { rules: [rule({ collections: [] })] }, '/attributes/rules/0/collections'],
    ['an unknown action', { rules: [rule({ actions: ['fly'] })] }, '/attributes/rules/0/actions/0'],
    ['a filter that is wrong', { rules: [rule({ where: { a: { near: 1 } } })] }, '/attributes/rules/0/where/a/near'],
    ['an unknown attribute', { rule: [] }, '/attributes/rule'],
  ])('a policy with %s is refused by name', async (_says, attributes, pointer) => {
    const { as } = await pool([]);
    const answer = await as('operator', 'PUT P/collections/_policies/items/x', { attributes });
    expect([answer.status, answer.body.errors?.[0]?.pointer]).toEqual([pointer.includes('where') ? 400 : 422, pointer]);
  });

  it('says what it decides, and by which rule', async () => {
    const rules = [
      rule({ attributes: ['name'] }),
      rule({ effect: 'deny', where: { owner: BOB } }),
      rule({ actions: ['admin'], who: { subjects: [BOB] }, collections: ['*'] }),
    ];
    const { as, refused } = await pool(rules, rooms, { roles: { staff: [ANN] } });
    const checks = [
      { action: 'read', collection: 'things', key: 'a' },
      { action: 'read', collection: 'things', key: 'a', attributes: ['pay'] },
      { action: 'read', collection: 'things', key: 'b' },
      { action: 'write', collection: 'things' },
      { action: 'admin', collection: '*' },
    ];
    const { results } = (await as('ann', 'POST P/policy/check', { checks })).body;
    expect(results.map((each: { allow: boolean; rule?: string }) => [each.allow, each.rule])).toEqual([
      [true, 'main/rules/0'],
      [false, undefined],
      [true, 'main/rules/0'],
      [false, undefined],
      [false, undefined],
    ]);
    const effective = (await as('ann', 'GET P/policy/effective')).body;
    expect(effective).toMatchObject({ subject: ANN, restrictions: [] });
    expect(effective.rules).toEqual([
      { action: ['read', 'watch'], subject: ['things'], fields: ['name'], reason: 'main/rules/0' },
      {
        action: ['read', 'watch'],
        subject: ['things'],
        conditions: { owner: { $eq: BOB } },
        inverted: true,
        reason: 'main/rules/1',
      },
    ]);
    await refused(403, 'forbidden', 'ann', 'POST P/policy/explain', checks[0]);
    const explained = (await as('bob', 'POST P/policy/explain', checks[1])).body;
    expect(explained.subjects.map((each: { subject: string; allow: boolean }) => [each.subject, each.allow])).toEqual([
      [BOB, false],
      [ANN, false],
    ]);
    expect(explained.anyone.allow).toBe(false);
    expect((await as('operator', 'GET P/policy/effective')).body.rules).toEqual([
      { action: ['manage'], subject: ['all'] },
    ]);
  });

  it('previews what other policies would change for those who watch', async () => {
    const { scenario, people, as } = await pool([rule({ where: { shared: true } })], rooms);
    const stream = await scenario.watch('C/attach', await people.as('ann'));
    await stream.waitFor(({ event }) => event === 'live');
    const preview = async (policies: object) =>
      (await as('operator', 'POST P/policy/preview', { policies })).body.watchers;
    const gain = { subject: ANN, collection: 'things', watchers: 1, added: 0, changed: 0, removed: 0, resets: false };
    expect(await preview({})).toEqual([gain]);
    expect(await preview({ main: null })).toEqual([{ ...gain, removed: 2 }]);
    expect(await preview({ main: { rules: [rule({ attributes: ['name'] })] } })).toEqual([
      { ...gain, added: 1, changed: 2 },
    ]);
    stream.close();
  });

  it('exports, histories and the log are of what is seen', async () => {
    const { as } = await pool(
      [
        rule({ attributes: ['name'] }),
        rule({ effect: 'deny', where: { shared: false } }),
        rule({ collections: ['_changes'] }),
      ],
      rooms,
    );
    const lines = (await as('ann', 'GET P/export')).text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.map(({ key, attributes }) => [key, attributes])).toEqual([
      ['a', { name: 'attic' }],
      ['b', { name: 'bath' }],
    ]);
    await as('operator', 'PATCH C/items/a', { attributes: { pay: 9 } });
    const history = (await as('ann', 'GET C/items/a/history')).body.changes;
    expect(history.map((change: { op: string; attributes: object }) => [change.op, change.attributes])).toEqual([
      ['add', { name: 'attic' }],
    ]);
    const log = (await as('ann', 'GET P/collections/_changes/items')).body.items;
    const told = log.flatMap((item: { attributes: { changes: object[] } }) => item.attributes.changes);
    expect(JSON.stringify(told)).not.toMatch(/pay|owner|cellar|_policies/);
    expect(told.length).toBe(2);
    const { body: changes } = await as('ann', 'GET P/changes?values=full');
    expect(JSON.stringify(changes)).not.toMatch(/pay|cellar/);
  });

  it('collections of the system are seen by whom the policy names for them, and by who administers the pool', async () => {
    const { as } = await pool(
      [
        rule({ collections: ['*'] }),
        rule({ collections: ['_clients'], who: { subjects: [BOB] } }),
        rule({ actions: ['admin'], collections: ['*'], who: { subjects: [accountOf('olga')] } }),
      ],
      rooms,
    );
    const system = ['_policies', '_dictionary', '_scripts', '_clients', '_attachments', '_locks', '_changes', '_usage'];
    const seen = async (who: string) => {
      const answers = await Promise.all(
        [...system, '_audit', 'things'].map((name) => as(who, `GET P/collections/${name}/items`)),
      );
      return answers.flatMap(({ status }, i) => (status === 200 ? [[...system, '_audit', 'things'][i]] : []));
    };
    expect(await seen('ann')).toEqual(['things']);
    expect(await seen('bob')).toEqual(['_clients', 'things']);
    expect(await seen('olga')).toEqual([...system, '_audit', 'things']);
  });

  it('an import is judged line by line', async () => {
    const { scenario, people, as } = await pool([mine()], rooms);
    const lines = { d: ANN, e: BOB, b: ANN, a: ANN };
    const response = await fetch(`${server.url}/v1/pools/${scenario.pool}/import`, {
      method: 'POST',
      headers: await people.as('ann', { 'content-type': 'application/x-ndjson' }),
      body: Object.entries(lines)
        .map(([key, owner]) => JSON.stringify({ collection: 'things', key, attributes: { owner } }))
        .join('\n'),
    });
    const told = (await response.text())
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(told.filter(({ problem }) => problem).map(({ key, problem }) => [key, problem.code])).toEqual([
      ['e', 'forbidden'],
      ['b', 'forbidden'],
    ]);
    expect(told.at(-1)).toMatchObject({ done: true, lines: 4, applied: 2, refused: 2 });
    const { items } = (await as('operator', 'GET C/items?fields=owner')).body;
    expect(items.map((item: { key: string; attributes: object }) => [item.key, item.attributes])).toEqual([
      ['a', { owner: ANN }],
      ['b', { owner: BOB }],
      ['c', { owner: BOB }],
      ['d', { owner: ANN }],
    ]);
  });

  it('a lock is for who may lock all of it, and tells others no more than that it is there', async () => {
    const { as, refused } = await pool(
      [
        mine(),
        rule({ actions: ['lock'], keys: { prefix: 'a' } }),
        rule({ who: { subjects: [BOB] }, actions: ['lock'] }),
      ],
      rooms,
    );
    const session = async (who: string) => (await as(who, 'POST P/sessions', { ttlMs: 60_000 })).body.session;
    const [ann, bob] = [await session('ann'), await session('bob')];
    const ask = (who: string, body: object) => as(who, 'POST P/locks', { mode: 'exclusive', ...body });
    await refused(403, 'forbidden', 'ann', 'POST P/locks', { session: ann, mode: 'exclusive', scopes: [{}] });
    await refused(403, 'forbidden', 'ann', 'POST P/locks', {
      session: ann,
      mode: 'exclusive',
      scopes: [{ collection: 'things', key: 'b' }],
    });
    await refused(403, 'forbidden', 'ann', 'POST P/locks', {
      session: bob,
      mode: 'exclusive',
      scopes: [{ collection: 'things', key: 'a' }],
    });
    const held = await ask('bob', { session: bob, scopes: [{ collection: 'things' }], note: 'cellar' });
    expect(held.status).toBe(201);
    const conflict = await refused(409, 'lockConflict', 'ann', 'POST P/locks', {
      session: ann,
      mode: 'shared',
      scopes: [{ collection: 'things', key: 'a' }],
    });
    expect(conflict.body.holders).toEqual([{ state: 'granted', mode: 'exclusive' }]);
    const locked = await refused(423, 'locked', 'ann', 'PATCH C/items/a', { attributes: { pay: 5 } });
    expect(locked.body.locks).toEqual([{ mode: 'exclusive' }]);
    expect((await as('ann', 'GET P/locks')).body.locks).toEqual([]);
    expectProblem(await as('ann', `GET P/locks/${held.body.lock}`), 404, 'notFound');
    expect((await as('bob', 'GET P/locks')).body.locks).toHaveLength(1);
    await refused(403, 'forbidden', 'ann', `POST P/locks/${held.body.lock}/break`, {});
    expectProblem(await as('ann', `GET P/sessions/${bob}`), 404, 'notFound');
  });

  it('a weaker token does less, and has nothing of what the stronger one has', async () => {
    const { scenario, as } = await pool([mine(), rule({ actions: ['lock'] })], rooms);
    const details = [
      { type: 'stargus', pools: [scenario.pool], actions: ['read'], collections: ['things'], attributes: ['name'] },
    ];
    const { body } = await scenario.calls([
      'POST /v1/auth/keys',
      { name: 'weak', subject: ANN, authorizationDetails: details },
      asOperator,
    ]);
    const weak = { authorization: `Bearer ${body.secret}` };
    expect((await scenario.call('GET C/items/a', undefined, weak)).body.attributes).toEqual({ name: 'attic' });
    expectProblem(await scenario.call('PATCH C/items/a', { attributes: { pay: 1 } }, weak), 403, 'forbidden');
    expectProblem(await scenario.call('GET C/attach', undefined, weak), 403, 'forbidden');
    const { session } = (await as('ann', 'POST P/sessions', { name: 'desk' })).body;
    expectProblem(await scenario.call(`GET P/sessions/${session}`, undefined, weak), 404, 'notFound');
    expectProblem(await scenario.call('PUT P/sessions/desk', {}, weak), 403, 'forbidden');
    // An answer that is kept is its own too.
    const once = { 'idempotency-key': 'k' };
    await as('ann', 'PATCH C/items/a', { attributes: { pay: 8 } }, once);
    expectProblem(
      await scenario.call('PATCH C/items/a', { attributes: { pay: 8 } }, { ...weak, ...once }),
      403,
      'forbidden',
    );
  });

  it('a pool can be for tokens that are bound to a key', async () => {
    const { as, refused } = await pool([rule()], rooms, { requireBound: true });
    await refused(403, 'forbidden', 'ann', 'GET C/items/a');
    expect((await as('operator', 'GET C/items/a')).status).toBe(200);
  });
});
