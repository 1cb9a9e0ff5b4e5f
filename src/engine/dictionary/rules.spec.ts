import { describe, expect, it } from 'vitest';
import type { Problem } from '../errors.js';
import type { JsonObject } from '../state/json.js';
import { compileDefinition } from './definition.js';

const told = (rule: string | JsonObject, self: JsonObject, old?: JsonObject) =>
  compileDefinition({ rules: [typeof rule === 'string' ? { rule } : rule] }).violations(self, old);
const holds = (rule: string, self: JsonObject, old?: JsonObject) => told(rule, self, old).length === 0;
const fault = (rule: string): string => {
  try {
    compileDefinition({ rules: [{ rule }] });
  } catch (error) {
    const [place] = (error as Problem).extras.errors ?? [];
    expect(place?.pointer).toBe('/attributes/rules/0/rule');
    return place?.detail ?? '';
  }
  throw new Error(`${rule.slice(0, 100)} was taken`);
};

const item: JsonObject = {
  n: 3,
  f: 2.5,
  s: 'héllo',
  tags: ['a', 'b'],
  numbers: [1, 2],
  nested: { a: { b: 1 } },
  odd: { constructor: 'x', z: 1 },
  none: { x: null },
};

describe('a rule that holds', () => {
  it.each([
    'self.n == 3',
    'self.n > 2 && self.n >= 2.5 && self.n < 3.5',
    'self.n + 1 == 4 && self.n * 2 == 6 && self.n % 2 == 1 && 7 - self.n == 4 && self.f / 2 == 1.25',
    'self.n in [1, 2, 3] && !(self.n in [1.0, 2.0])',
    'self.numbers == [1, 2] && self.numbers[0] == 1 && self.numbers[self.n - 2] == 2',
    'has(self.nested.a.b) && !has(self.nested.a.c) && !has(self.absent)',
    'self.tags.all(t, t.size() == 1) && self.tags.exists(t, t == "b") && self.tags.exists_one(t, t == "a")',
    'self.numbers.map(x, x * 2) == [2, 4] && self.numbers.filter(x, x > 1).size() == 1',
    'self.s.startsWith("h") && self.s.contains("ll") && self.s.size() == 5 && self.s.matches("^h.llo$")',
    'self.s.replace("l", "L") == "héLLo" && self.s.charAt(1) == "é"',
    'self.odd.z == 1 && self.odd.constructor == "x" && size(self.odd) == 2',
    'self.none.x == null',
    '"n" in self && self.n != "3"',
    'type(self.n) == double && string(self.n) == "3"',
    'timestamp("2026-01-01T00:00:00Z") + duration("1h") > timestamp("2026-01-01T00:30:00Z")',
    'cel.bind(x, self.n, x + x == 6)',
    '"ÉA".lowerAscii() == "Éa" && self.s.upperAscii() == "HéLLO"',
    'timestamp("2026-07-01T00:30:00Z").getDayOfYear() == 181 && timestamp("2026-01-01T00:00:00Z").getDayOfYear() == 0',
    'timestamp("2026-07-01T23:30:00Z").getHours("Europe/Oslo") == 1 && timestamp("2026-07-01T23:30:00Z").getDate("Europe/Oslo") == 2',
    'timestamp("2026-07-01T23:30:00+02:00").getHours() == 21 && timestamp("2026-07-01T23:30:00Z").getMinutes("-01:15") == 15',
    'duration("1h30m") == duration("5400s") && duration("-1.5h") == duration("-90m") && duration("1m1ms1us1µs1ns") > duration("+.5s")',
    'timestamp("2026-11-21T00:00:00Z").getDayOfWeek() == 6 && timestamp("2026-01-31T00:00:00Z").getDayOfMonth() == 30',
    `${'('.repeat(100)}true${')'.repeat(100)}`,
  ])('%s', (rule) => {
    expect(told(rule, item)).toEqual([]);
  });

  it('knows attributes called __proto__ and constructor', () => {
    const self = JSON.parse('{"__proto__": 5, "constructor": 6}') as JsonObject;
    expect(holds('self.__proto__ == 5 && self.constructor == 6', self)).toBe(true);
    expect(holds('has(self.constructor) || has(self.__proto__) || has(self.toString)', {})).toBe(false);
  });
});

describe('a rule that is broken', () => {
  it('says what it is, in its own words, or in words made of the item', () => {
    expect(told('self.n > 5', item)).toEqual([
      { pointer: '/attributes', code: 'schemaViolation', detail: 'breaks the rule `self.n > 5`' },
    ]);
    expect(told({ rule: 'self.n > 5', message: 'n is small', pointer: '/n' }, item)).toEqual([
      { pointer: '/attributes/n', code: 'schemaViolation', detail: 'n is small' },
    ]);
    const messageExpression = '"n is " + string(self.n)';
    expect(told({ rule: 'self.n > 5', messageExpression }, item)[0]?.detail).toBe('n is 3');
    const failing = { rule: 'self.n > 5', message: 'plain', messageExpression: 'self.absent' };
    expect(told(failing, item)[0]?.detail).toBe('plain');
  });

  it('has no value: that is told too', () => {
    expect(told('self.absent == 1', item)[0]?.detail).toMatch(/can't be evaluated: No such key: absent/);
    expect(told('self.n', item)[0]?.detail).toMatch(/neither true nor false/);
    expect(told('timestamp("2026-01-01T00:00:00.000") == timestamp("2026-01-01T00:00:00Z")', item)[0]?.detail).toMatch(
      /RFC 3339/,
    );
    expect(told('timestamp("2026-01-01T00:00:00Z").getHours("Mars") == 1', item)[0]?.detail).toMatch(
      /no time zone "Mars"/,
    );
    for (const text of ['', '1', 'h', '1h2', ' 1h', '1 h', '--1h', '9'.repeat(65), `${'9'.repeat(64)}h`]) {
      expect(told('duration(self.text) > duration("1h")', { text })[0]?.detail).toMatch(
        /duration\(\) takes at most 64/,
      );
    }
    expect(told('self.n > "a"', item)[0]?.detail).toMatch(/no such overload/);
  });

  it('is not asked while the schema is broken', () => {
    const definition = compileDefinition({ schema: { required: ['a'] }, rules: [{ rule: 'self.a > 1' }] });
    expect(definition.violations({}, undefined)).toEqual([
      { pointer: '/attributes/a', code: 'schemaViolation', detail: 'is required' },
    ]);
    expect(definition.violations({ a: 1 }, undefined)).toHaveLength(1);
    expect(definition.violations({ a: 2 }, undefined)).toEqual([]);
  });
});

it('a rule that names `old` is asked only when the item existed', () => {
  expect(holds('self.n >= old.n', { n: 1 })).toBe(true);
  expect(holds('self.n >= old.n', { n: 1 }, { n: 2 })).toBe(false);
  expect(holds('self.n >= old.n', { n: 2 }, { n: 1 })).toBe(true);
});

describe('is refused when it is set', () => {
  it.each([
    ['self.n >', /Unexpected token/],
    ['nobody == 1', /Unknown variable: nobody/],
    ['self.n.foo()', /foo/],
    ['1 + 2', /must be a bool; it is of type int/],
    ['self.s.matches("(?=a)")', /pattern can't be used/],
    ['true || true'.repeat(600), /longer than 4096/],
    [`${'('.repeat(500)}true${')'.repeat(500)}`, /nests|maxDepth/],
    [`${'!'.repeat(3000)}true`, /nests|maxDepth|maxAstNodes/],
    [`[${'1,'.repeat(1999)}1].size() > 0`, /maxListElements|maxAstNodes|elements/i],
  ])('%.40s', (rule, message) => {
    expect(fault(rule)).toMatch(message);
  });
});

it('patterns of rules that take too long to compile together are refused at the rule that is too much', () => {
  const rules = Array.from({ length: 30 }, (_, i) => ({ rule: `self.s.matches("${'a'.repeat(900)}${i}")` }));
  try {
    compileDefinition({ rules });
    expect.unreachable();
  } catch (error) {
    const [place] = (error as Problem).extras.errors ?? [];
    expect(place).toMatchObject({
      pointer: expect.stringMatching(/^\/attributes\/rules\/1\d\/rule$/),
      detail: 'With this one the patterns of the definition take too long.',
    });
  }
});

describe('a hostile rule ends soon, and is told as a violation', () => {
  const list = Array.from({ length: 10_000 }, (_, i) => i);
  const self: JsonObject = {
    list,
    other: [...list],
    text: 'a'.repeat(500_000),
    n: 1,
    same: 'a'.repeat(500_000),
    mixed: 'Aé'.repeat(100_000),
    map: Object.fromEntries(list.map((i) => [`k${i}`, i])),
  };
  const binds = (count: number, first: string, next: (before: string) => string, last: string): string => {
    let made = last;
    for (let i = count; i > 0; i--) made = `cel.bind(x${i}, ${i === 1 ? first : next(`x${i - 1}`)}, ${made})`;
    return made;
  };
  const COSTS = /costs more than/;

  it.each([
    ['loops in loops', 'self.list.all(x, self.list.all(y, self.list.all(z, true)))', COSTS],
    ['loops of errors', 'self.list.all(x, self.list.all(y, self.list.all(z, self.absent == 1)))', COSTS],
    ['errors forgiven', 'self.list.all(x, self.list.all(y, self.absent == 1 || true))', COSTS],
    ['no booleans', 'self.list.all(x, self.list.all(y, self.n && self.n))', COSTS],
    ['maps in maps', 'self.list.map(x, self.list.map(y, self.list.map(z, z))).size() > 0', COSTS],
    ['filters', 'self.list.filter(x, self.list.exists(y, self.list.exists_one(z, z == 1) && y < 0)).size() > 0', COSTS],
    ['thirty levels', `${'self.list.all(x, '.repeat(30)}true${')'.repeat(30)}`, COSTS],
    ['thirty levels of errors', `${'self.list.all(x, '.repeat(30)}self.absent == 1${')'.repeat(30)}`, COSTS],
    ['comparisons', 'self.list.all(x, self.list == self.other)', COSTS],
    ['comparing long texts', 'self.list.all(x, self.text <= self.same)', COSTS],
    [
      'comparing bytes',
      'cel.bind(a, bytes(self.text), cel.bind(b, bytes(self.same), self.list.all(x, a == b)))',
      COSTS,
    ],
    ['adding bytes', 'cel.bind(a, bytes(self.text), self.list.all(x, (a + a).size() > 0))', COSTS],
    ['the names of a map', 'self.list.all(x, self.map.exists(k, true))', COSTS],
    ['the size of a map', 'self.list.all(x, self.map.size() > 0 && size(self.map) > 0)', COSTS],
    ['the size of a text', 'self.list.all(x, self.text.size() > 0)', COSTS],
    ['letters in lower case', Array(20).fill('self.mixed.lowerAscii() != ""').join(' && '), COSTS],
    ['durations made', 'self.list.all(x, self.list.all(y, duration("1h") > duration("1m")))', COSTS],
    ['errors that quote much', 'self.list.all(x, bool(self.text) || true)', COSTS],
    ['searches', 'self.list.all(x, !(-1 in self.list))', COSTS],
    ['a text doubled', `${binds(60, 'self.text', (x) => `${x} + ${x}`, 'x60.size() > 0')}`, COSTS],
    ['a list doubled', `${binds(60, 'self.list', (x) => `${x} + ${x}`, 'x60.size() > 0')}`, COSTS],
    ['a nested list', binds(60, 'dyn(self.list)', (x) => `dyn([${x}, ${x}])`, 'x60 == x60 && x59 == x60'), COSTS],
    ['joining', 'self.list.map(x, self.text).join("").size() > 0', COSTS],
    ['replacing', 'self.text.replace("a", self.text).size() > 0', COSTS],
    ['splitting', 'self.list.all(x, self.text.split("").size() > 0)', COSTS],
    ['searching text', 'self.list.all(x, !self.text.contains(self.text.substring(1) + "b"))', COSTS],
    ['time zones', 'self.list.all(x, timestamp("2026-01-01T00:00:00Z").getHours("Europe/Oslo") > 0)', COSTS],
    ['patterns made', 'self.list.all(x, !self.text.matches("b" + string(x)))', COSTS],
    ['a pattern of text', 'self.text.matches(self.text)', /costs more than|longer than/],
    ['a pattern without end', 'self.text.matches("^(a+)+$") && self.text.matches("(a|a)*b$")', /breaks the rule/],
    ['a pattern of many states', 'self.text.matches("(a|b)*a(a|b){20}c")', /breaks the rule|costs/],
  ])('%s', (_what, rule, message) => {
    const definition = compileDefinition({ rules: [{ rule }] });
    const started = performance.now();
    const violations = definition.violations(self, undefined);
    const ms = performance.now() - started;
    expect(violations).toHaveLength(1);
    expect(violations[0]?.detail).toMatch(message);
    // Far above what it takes, for slow machines; without a bound most of these would take years.
    expect(ms).toBeLessThan(2000);
  });

  it('a duration of many digits is none, and its units are not looked for', () => {
    // The library takes seconds for these, and a year for those of a whole item.
    expect(told('duration(self.text) == duration("1h")', { text: '1'.repeat(2000) })[0]?.detail).toMatch(
      /can't be evaluated: duration\(\) takes at most 64 characters/,
    );
  });

  it('operations cost something outside of loops too', () => {
    const definition = compileDefinition({ rules: Array(50).fill({ rule: `${'1 + '.repeat(900)}1 > 0` }) });
    expect(definition.violations({}, undefined)).toEqual([]);
    expect(definition.cost).toBeGreaterThan(20_000);
  });

  it('a map is not gone through each time that its type is asked for', () => {
    let asked = 0;
    const map = new Proxy<JsonObject>(
      { a: 1 },
      {
        ownKeys(target) {
          asked++;
          return Reflect.ownKeys(target);
        },
      },
    );
    expect(holds('[1, 2, 3].all(x, self.map + 1 == x || self.map["a"] == 1 || size(self.map.a) == 1)', { map })).toBe(
      true,
    );
    // Once to be converted.
    expect(asked).toBe(1);
  });

  it('what is told of it quotes only so much of the item', () => {
    expect(told('bool(self.text)', { text: 'x'.repeat(100_000) })[0]?.detail.length).toBeLessThan(700);
  });

  it('ends at the same place each time, and spends from one allowance for all rules', () => {
    const rules = Array(100).fill({ rule: 'self.list.all(x, self.list.all(y, true))' });
    const definition = compileDefinition({ rules });
    const first = definition.violations(self, undefined);
    expect(first).toHaveLength(1);
    expect(definition.violations(self, undefined)).toEqual(first);
    expect(definition.violations({ list: [1], n: 1 }, undefined)).toEqual([]);
  });
});
