import { describe, expect, it } from 'vitest';
import { Problem } from '../errors.js';
import type { JsonObject } from '../state/json.js';
import { detailsOf, narrowed, parseRestriction } from './restriction.js';

const PLACE = '/authorizationDetails';
const parse = (...grants: object[]) =>
  parseRestriction(
    grants.map((grant) => ({ type: 'stargus', actions: ['read'], collections: ['a'], ...grant })) as JsonObject[],
    PLACE,
  );

function pointersOf(work: () => unknown): string[] {
  try {
    work();
  } catch (error) {
    expect(error).toBeInstanceOf(Problem);
    expect((error as Problem).code).toBe('invalid');
    return ((error as Problem).extras.errors ?? []).map(({ pointer }) => pointer.replace(PLACE, ''));
  }
  return [];
}

describe('narrowing, member by member', () => {
  const rows: [says: string, held: object, wanted: object, tooMuch: string[]][] = [
    ['the same', {}, {}, []],
    ['all pools to one', {}, { pools: ['p'] }, []],
    ['two pools to one', { pools: ['p', 'q'] }, { pools: ['q'] }, []],
    ['one pool to another', { pools: ['p'] }, { pools: ['q'] }, ['/0/pools']],
    ['one pool to two', { pools: ['p'] }, { pools: ['p', 'q'] }, ['/0/pools']],
    ['one pool to all', { pools: ['p'] }, {}, ['/0/pools']],
    ['two actions to one', { actions: ['read', 'write'] }, { actions: ['write'] }, []],
    ['an action to another', { actions: ['read'] }, { actions: ['write'] }, ['/0/actions']],
    ['an action to two', { actions: ['read'] }, { actions: ['read', 'admin'] }, ['/0/actions']],
    ['read to watch', { actions: ['read'] }, { actions: ['watch'] }, ['/0/actions']],
    ['all collections to one', { collections: ['*'] }, { collections: ['a'] }, []],
    ['all collections to a beginning', { collections: ['*'] }, { collections: ['a*'] }, []],
    ['a beginning to a longer one', { collections: ['a*'] }, { collections: ['ab*', 'ac'] }, []],
    ['a beginning to itself without more', { collections: ['a*'] }, { collections: ['a'] }, []],
    ['a beginning to a shorter one', { collections: ['ab*'] }, { collections: ['a*'] }, ['/0/collections']],
    ['a beginning to another', { collections: ['a*'] }, { collections: ['b'] }, ['/0/collections']],
    ['a name to its beginning', { collections: ['a'] }, { collections: ['a*'] }, ['/0/collections']],
    ['a name to all', { collections: ['a'] }, { collections: ['*'] }, ['/0/collections']],
    [
      'all collections to one of the system',
      { collections: ['*'] },
      { collections: ['_policies'] },
      ['/0/collections'],
    ],
    ['all collections to all of the system', { collections: ['*'] }, { collections: ['_*'] }, ['/0/collections']],
    ['all of the system to one', { collections: ['_*'] }, { collections: ['_locks'] }, []],
    [
      'one of several to what it doesn’t have',
      { collections: ['a', 'b*'] },
      { collections: ['a', 'c'] },
      ['/0/collections'],
    ],
    ['all keys to a prefix', {}, { keys: { prefix: 'x' } }, []],
    ['a prefix to a longer one', { keys: { prefix: 'x/' } }, { keys: { prefix: 'x/y' } }, []],
    ['a prefix to a shorter one', { keys: { prefix: 'x/y' } }, { keys: { prefix: 'x/' } }, ['/0/keys']],
    ['a prefix to all', { keys: { prefix: 'x' } }, {}, ['/0/keys']],
    ['a prefix to a pattern', { keys: { prefix: 'x' } }, { keys: { pattern: 'x.*' } }, ['/0/keys']],
    ['a pattern to the same', { keys: { pattern: 'x.*' } }, { keys: { pattern: 'x.*' } }, []],
    ['a pattern to another', { keys: { pattern: 'x.*' } }, { keys: { pattern: 'x.+' } }, ['/0/keys']],
    ['all attributes to some', {}, { attributes: ['t'] }, []],
    ['some attributes to fewer', { attributes: ['t', 'u'] }, { attributes: ['u'] }, []],
    ['some attributes to others', { attributes: ['t'] }, { attributes: ['u'] }, ['/0/attributes']],
    ['some attributes to all', { attributes: ['t'] }, {}, ['/0/attributes']],
    ['an attribute that every object has', { attributes: ['t'] }, { attributes: ['constructor'] }, ['/0/attributes']],
    ['a filter to another, for they are joined', { where: { x: 1 } }, { where: { x: 2 } }, []],
    ['a filter to none, for it holds all the same', { where: { x: 1 } }, {}, []],
    [
      'several members at once',
      { pools: ['p'], actions: ['read'] },
      { actions: ['write'] },
      ['/0/pools', '/0/actions'],
    ],
  ];
  it.each(rows)('%s', (_says, held, wanted, tooMuch) => {
    expect(pointersOf(() => narrowed([parse(held)], parse(wanted), PLACE))).toEqual(tooMuch);
  });

  it('each grant lies within one of those that there are, and the nearest tells what is too much', () => {
    const held = parse({ collections: ['a'], actions: ['read'] }, { collections: ['b'], actions: ['read', 'write'] });
    expect(
      narrowed([held], parse({ collections: ['b'], actions: ['write'] }, { collections: ['a'] }), PLACE),
    ).toHaveLength(2);
    expect(pointersOf(() => narrowed([held], parse({ collections: ['a'] }, { actions: ['write'] }), PLACE))).toEqual([
      '/1/actions',
    ]);
    // The two together would allow it; no one of them does.
    expect(pointersOf(() => narrowed([held], parse({ collections: ['a', 'b'] }), PLACE))).toEqual(['/0/collections']);
  });

  it('each restriction of the chain is asked, and each is kept', () => {
    const first = parse({ collections: ['*'], where: { x: 1 } });
    const second = parse({ collections: ['ab*'] });
    const chain = narrowed(narrowed([], first, PLACE), second, PLACE);
    expect(chain).toEqual([first, second]);
    expect(pointersOf(() => narrowed(chain, parse({ collections: ['ac'] }), PLACE))).toEqual(['/0/collections']);
    expect(narrowed(chain, undefined, PLACE)).toBe(chain);
  });

  it('a chain has at most eight, and 4 KiB', () => {
    let chain = narrowed([], parse({}), PLACE);
    for (let i = 1; i < 8; i++) chain = narrowed(chain, parse({}), PLACE);
    expect(pointersOf(() => narrowed(chain, parse({}), PLACE))).toEqual(['']);
    const long = parse({
      attributes: Array.from({ length: 90 }, (_, i) => `attribute-of-a-long-name-${i}-${'x'.repeat(40)}`),
    });
    expect(pointersOf(() => narrowed([], long, PLACE))).toEqual(['']);
  });
});

describe('authorization_details are refused', () => {
  const right = { type: 'stargus', actions: ['read'], collections: ['a'] };
  const rows: [says: string, details: unknown, pointer: string][] = [
    ['empty', [], ''],
    ['that are an object', right, ''],
    ['with a text', ['x'], '/0'],
    ['with null', [null], '/0'],
    ['of another type', [{ ...right, type: 'other' }], '/0/type'],
    ['without a type', [{ ...right, type: undefined }], '/0/type'],
    ['with an unknown member', [{ ...right, 'ro/le': 'x' }], '/0/ro~1le'],
    [
      'with a member of prototypes',
      [JSON.parse('{"type":"stargus","actions":["read"],"collections":["a"],"__proto__":{}}')],
      '/0/__proto__',
    ],
    ['without actions', [{ ...right, actions: undefined }], '/0/actions'],
    ['with no actions', [{ ...right, actions: [] }], '/0/actions'],
    ['with an unknown action', [{ ...right, actions: ['read', 'toString'] }], '/0/actions/1'],
    ['without collections', [{ ...right, collections: undefined }], '/0/collections'],
    ['with no collections', [{ ...right, collections: [] }], '/0/collections'],
    ['with a star in the middle', [{ ...right, collections: ['a*b'] }], '/0/collections/0'],
    ['with an empty name', [{ ...right, collections: [''] }], '/0/collections/0'],
    ['with no pools', [{ ...right, pools: [] }], '/0/pools'],
    ['with a pool that is a pattern', [{ ...right, pools: ['p*'] }], '/0/pools/0'],
    ['with keys of two kinds', [{ ...right, keys: { prefix: 'a', pattern: 'b' } }], '/0/keys'],
    ['with an empty prefix', [{ ...right, keys: { prefix: '' } }], '/0/keys/prefix'],
    ['with no attributes', [{ ...right, attributes: [] }], '/0/attributes'],
    ['with the second entry wrong', [right, { ...right, actions: 'read' }], '/1/actions'],
    ['with more than 20 entries', Array.from({ length: 21 }, () => right), ''],
  ];
  it.each(rows)('%s', (_says, details, pointer) => {
    expect(pointersOf(() => parseRestriction(details as never, PLACE))).toEqual([pointer]);
  });

  it('a filter that is none is refused where it is wrong', () => {
    try {
      parse({ where: { x: { above: 1 } } });
      expect.unreachable();
    } catch (error) {
      expect((error as Problem).code).toBe('invalidFilter');
      expect((error as Problem).extras.errors?.[0]?.pointer).toContain(`${PLACE}/0/where`);
    }
  });

  it('what is parsed is told again as it was', () => {
    const details = [{ ...right, pools: ['p'], keys: { prefix: 'x' }, attributes: ['t'], where: { x: 1 } }];
    expect(detailsOf(parseRestriction(details, PLACE))).toEqual(details);
  });
});
