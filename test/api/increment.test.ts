/** Increment: exact, within bounds, atomic under any number of callers. */
import { beforeAll, describe, expect, it } from 'vitest';
import { rowsOf, Scenario, type Story } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

describe.each(databases)('increment on $name', ({ name }) => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({ database: name });
  });

  const stories: Story[] = [
    [
      'a missing item and a missing attribute count as 0',
      [
        'POST C/items/a/increment',
        { attribute: 'n', by: 2 },
        200,
        { attribute: 'n', value: 2, revision: 1, changed: ['n'] },
      ],
      ['POST C/items/a/increment', { attribute: 'm', by: -1.5 }, 200, { value: -1.5, revision: 2, changed: ['m'] }],
      ['GET C/items/a', undefined, 200, { attributes: { n: 2, m: -1.5 } }],
    ],
    [
      'by 0 changes nothing, but for a missing attribute, which becomes 0',
      ['POST C/items/a/increment', { attribute: 'n', by: 0 }, 200, { value: 0, revision: 1, changed: ['n'] }],
      ['POST C/items/a/increment', { attribute: 'n', by: 0 }, 200, { value: 0, revision: 1, changed: [] }],
    ],
    [
      'up to a bound, and not past it',
      ['POST C/items/a/increment', { attribute: 'n', by: 3, max: 3 }, 200, { value: 3 }],
      ['POST C/items/a/increment', { attribute: 'n', by: 1, max: 3 }, 409, { code: 'conflict', value: 3 }],
      ['POST C/items/a/increment', { attribute: 'n', by: -3, min: 0 }, 200, { value: 0 }],
      ['POST C/items/a/increment', { attribute: 'n', by: -1, min: 0, max: 9 }, 409, { code: 'conflict', value: 0 }],
      ['GET C/items/a', undefined, 200, { revision: 2, attributes: { n: 0 } }],
    ],
    [
      'to the last integer that a double holds, and not past it',
      ['PUT C/items/a', { attributes: { n: Number.MAX_SAFE_INTEGER - 1 } }, 201],
      ['POST C/items/a/increment', { attribute: 'n', by: 1 }, 200, { value: Number.MAX_SAFE_INTEGER }],
      ['POST C/items/a/increment', { attribute: 'n', by: 1 }, 200, { value: 9007199254740992 }],
      ['POST C/items/a/increment', { attribute: 'n', by: 1 }, 400, { code: 'numberOutOfRange' }],
      ['GET C/items/a', undefined, 200, { revision: 3, attributes: { n: 9007199254740992 } }],
    ],
    [
      'not past the range of a double',
      ['PUT C/items/a', { attributes: { n: 1.7e308 } }, 201],
      ['POST C/items/a/increment', { attribute: 'n', by: 1.7e308 }, 400, { code: 'numberOutOfRange' }],
      ['GET C/items/a', undefined, 200, { revision: 1, attributes: { n: 1.7e308 } }],
    ],
    [
      'not of what is no number',
      ['PUT C/items/a', { attributes: { n: '1' } }, 201],
      ['POST C/items/a/increment', { attribute: 'n', by: 1 }, 422, { code: 'invalid' }],
      ['GET C/items/a', undefined, 200, { revision: 1, attributes: { n: '1' } }],
    ],
    [
      'not with a bound below the other',
      ['PUT P', undefined, 201],
      [
        'POST C/items/a/increment',
        { attribute: 'n', by: 1, min: 2, max: 1 },
        400,
        { code: 'badRequest', errors: [{ pointer: '/min' }] },
      ],
      ['GET C/items/a', undefined, 404],
    ],
    [
      'only where the item is what If-Match says',
      ['PUT C/items/a', { attributes: { n: 1 } }, 201],
      [
        'POST C/items/a/increment',
        { attribute: 'n', by: 1 },
        412,
        { code: 'preconditionFailed' },
        { 'if-match': '"9"' },
      ],
      ['POST C/items/a/increment', { attribute: 'n', by: 1 }, 200, { value: 2 }, { 'if-match': '"1"' }],
    ],
  ];

  it.each(rowsOf(stories))('%s', async (_says, steps) => {
    await new Scenario(server).play(steps);
  });

  it('a hundred at once: none is lost, and each saw another value', async () => {
    const scenario = new Scenario(server);
    const answers = await Promise.all(
      Array.from({ length: 100 }, () => scenario.call('POST C/items/a/increment', { attribute: 'n', by: 1 })),
    );
    expect(answers.map(({ body }) => body.value).sort((a, b) => a - b)).toEqual(
      Array.from({ length: 100 }, (_, i) => i + 1),
    );
    expect(await scenario.attributes('a')).toEqual({ n: 100 });
  });

  it('a hundred at once with a bound: just as many as there is room for', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: { left: 30 } });
    const answers = await Promise.all(
      Array.from({ length: 100 }, () =>
        scenario.call('POST C/items/a/increment', { attribute: 'left', by: -1, min: 0 }),
      ),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(30);
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(70);
    expect(await scenario.attributes('a')).toEqual({ left: 0 });
  });
});
