import { describe, expect, it } from 'vitest';
import { Problem } from '../errors.js';
import type { JsonObject } from '../state/json.js';
import { compileDefinition } from './definition.js';

const written = (transforms: JsonObject[], self: JsonObject, old?: JsonObject) =>
  compileDefinition({ transforms }).onWrite(self, old);
const read = (transforms: JsonObject[], self: JsonObject) =>
  compileDefinition({ transforms: transforms.map((transform) => ({ ...transform, on: 'read' })) }).onRead?.(self);

describe('on write', () => {
  it('computes, normalizes what is there, and fills in what is missing', () => {
    const transforms: JsonObject[] = [
      { attribute: 'mail', kind: 'normalize', expression: 'self.mail.trim().lowerAscii()' },
      { attribute: 'status', kind: 'default', expression: '"new"' },
      { attribute: 'total', expression: 'self.price * self.count' },
    ];
    expect(written(transforms, { mail: ' A@B.org ', price: 2.5, count: 2 })).toEqual({
      mail: 'a@b.org',
      price: 2.5,
      count: 2,
      status: 'new',
      total: 5,
    });
    expect(written(transforms, { price: 1, count: 1, status: 'old' })).toEqual({
      price: 1,
      count: 1,
      status: 'old',
      total: 1,
    });
  });

  it('runs in order, each on what those before it made; null removes', () => {
    const transforms = [
      { attribute: 'a', expression: 'self.n + 1' },
      { attribute: 'b', expression: 'self.a + 1' },
      { attribute: 'n', expression: 'null' },
    ];
    expect(written(transforms, { n: 1 })).toEqual({ a: 2, b: 3 });
  });

  it('gives back the same object when nothing is altered, and never alters the one it was given', () => {
    const same = { a: 'x' };
    expect(written([{ attribute: 'a', expression: 'self.a.trim()' }], same)).toBe(same);
    const other = Object.freeze({ a: ' x ' });
    expect(written([{ attribute: 'a', expression: 'self.a.trim()' }], other)).toEqual({ a: 'x' });
  });

  it('sees the former item as `old`, null for a new one', () => {
    const transforms = [{ attribute: 'writes', expression: 'old == null ? 1.0 : old.writes + 1' }];
    expect(written(transforms, {})).toEqual({ writes: 1 });
    expect(written(transforms, {}, { writes: 4 })).toEqual({ writes: 5 });
  });

  it('makes JSON of what CEL has beside it', () => {
    const transforms = [
      { attribute: 'i', expression: 'size(self.list)' },
      { attribute: 't', expression: 'timestamp("2026-01-01T00:00:00Z") + duration("1h")' },
      { attribute: 'd', expression: 'duration("90s")' },
      { attribute: 'l', expression: 'self.list.map(x, {"x": x})' },
      { attribute: 'parts', expression: '["-1.5s", "1ms", "0.000000001s", "-2m"].map(x, duration(x))' },
    ];
    expect(written(transforms, { list: [1] })).toEqual({
      list: [1],
      i: 1,
      t: '2026-01-01T01:00:00.000Z',
      d: '90s',
      l: [{ x: 1 }],
      parts: ['-1.5s', '0.001s', '0.000000001s', '-120s'],
    });
  });

  it('looks at what it leaves as it is only once, however many there are', () => {
    let asked = 0;
    const large = new Proxy<JsonObject>(
      {},
      {
        ownKeys(target) {
          asked++;
          return Reflect.ownKeys(target);
        },
      },
    );
    const transforms = Array.from({ length: 100 }, (_, i) => ({ attribute: `t${i}`, expression: `self.n + ${i}` }));
    const made = written(transforms, { large, n: 1 });
    expect([made.t0, made.t99, asked]).toEqual([1, 100, 1]);
    const odd = [
      { attribute: 'constructor', expression: '1' },
      { attribute: 'seen', expression: 'self.constructor + self.n' },
      { attribute: 'constructor', expression: 'null' },
      { attribute: 'gone', expression: '!has(self.constructor) && self.seen == 3.0' },
    ];
    expect(written(odd, { n: 2 })).toEqual({ n: 2, seen: 3, gone: true });
  });

  it('takes __proto__ for a name like any other', () => {
    const made = written([{ attribute: '__proto__', expression: '7' }], { a: 1 });
    expect(Object.getOwnPropertyDescriptor(made, '__proto__')?.value).toBe(7);
    expect(Object.getPrototypeOf(made)).toBe(Object.prototype);
  });

  it.each([
    ['self.absent', /No such key/],
    ['9007199254740993', /past what a JSON number holds/],
    ['1.0 / 0.0', /no JSON number/],
    ['type(1)', /no JSON value/],
    ['self.list.map(x, self.list.map(y, self.list))', /costs more/],
  ])('refuses the item when there is no value: %s', (expression, message) => {
    const list = Array.from({ length: 5000 }, (_, i) => i);
    const write = () => written([{ attribute: 'a/b', expression }], { list });
    expect(write).toThrow(Problem);
    try {
      write();
    } catch (error) {
      const { code, extras } = error as Problem;
      expect(code).toBe('schemaViolation');
      expect(extras.errors).toMatchObject([{ pointer: '/attributes/a~1b', detail: expect.stringMatching(message) }]);
    }
  });
});

describe('on read', () => {
  it('leaves an attribute away whose transform fails, and goes on', () => {
    const transforms = [
      { attribute: 'a', expression: 'self.absent' },
      { attribute: 'b', expression: 'self.n * 2' },
    ];
    expect(read(transforms, { n: 2, a: 1 })).toEqual({ n: 2, b: 4 });
    expect(
      read([{ attribute: 'n', expression: 'self.list.map(x, self.list.map(y, self.list))' }], {
        n: 1,
        list: Array(5000).fill(0),
      }),
    ).toEqual({
      list: Array(5000).fill(0),
    });
  });

  it('is undefined where nothing is transformed on read, and knows no `old`', () => {
    expect(compileDefinition({ transforms: [{ attribute: 'a', expression: '1' }] }).onRead).toBeUndefined();
    expect(() => read([{ attribute: 'a', expression: 'old.a' }], {})).toThrow(/Unknown variable: old/);
  });
});
