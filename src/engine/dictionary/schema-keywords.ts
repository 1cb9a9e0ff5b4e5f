/**
 * Keywords and formats of JSON Schema that the library does in a way that a hostile value or schema could make slow, or
 * that isn't exact, done here instead; and one of our own, which charges the meter.
 */
import { createRequire } from 'node:module';
import type { Format } from 'ajv';
import type { Ajv2020 } from 'ajv/dist/2020.js';
import type { Type } from 'ajv/dist/compile/util.js';
import { isObject, type Json } from '../state/json.js';
import { type Meter, TEXT_PER_STEP } from './meter.js';

/** Put into schemas by schema.ts: what one use of the schema costs. A user's own keyword of this name is replaced. */
export const COST_KEYWORD = 'x-stargus-cost';

/** The first that the library looks at, whatever the value is. */
const FIRST_KEYWORD = '$dynamicAnchor';

export function addKeywords(ajv: Ajv2020, meter: Meter): void {
  ajv.addKeyword({
    keyword: COST_KEYWORD,
    // Where it stood last, a schema that doesn't hold would cost nothing.
    before: FIRST_KEYWORD,
    schemaType: 'number',
    code({ gen, schema }) {
      const owner = gen.scopeValue('obj', { ref: meter });
      const { _ } = codegen();
      gen.code(_`${owner}.charge(${schema})`);
    },
  });
  // The library counts from `true` where all items were evaluated in one of several branches.
  ajv.removeKeyword('unevaluatedItems');
  ajv.addKeyword({
    keyword: 'unevaluatedItems',
    type: 'array',
    schemaType: ['boolean', 'object'],
    code(cxt) {
      const { gen, data, it } = cxt;
      const { _, not } = codegen();
      const seen = it.items ?? 0;
      if (seen === true) return;
      const length = gen.const('len', _`${data}.length`);
      const start =
        typeof seen === 'number' ? seen : gen.const('start', _`${seen} === true ? ${length} : ${seen} || 0`);
      const valid = gen.var('valid', true);
      gen.forRange('i', start, length, (i) => {
        cxt.subschema({ keyword: 'unevaluatedItems', dataProp: i, dataPropType: NUMBERED }, valid);
        if (!it.allErrors) gen.if(not(valid), () => gen.break());
      });
      cxt.ok(valid);
      it.items = true;
    },
  });
  // The library compares each with each, 10^11 times for an item full of numbers.
  ajv.removeKeyword('uniqueItems');
  ajv.addKeyword({
    keyword: 'uniqueItems',
    type: 'array',
    schemaType: 'boolean',
    error: { message: 'must not have the same element twice' },
    validate: (wanted: boolean, value: Json[]) => !wanted || areUnique(value, meter),
  });
  // The library counts characters each time; mostly the count of UTF-16 units is enough to tell.
  for (const [keyword, words, holds] of [
    ['maxLength', 'more', (text: string, max: number) => text.length <= max || characters(text, meter) <= max],
    ['minLength', 'fewer', (text: string, min: number) => text.length >= 2 * min || characters(text, meter) >= min],
  ] as const) {
    ajv.removeKeyword(keyword);
    ajv.addKeyword({
      keyword,
      type: 'string',
      schemaType: 'number',
      error: { message: ({ schema }) => `must NOT have ${words} than ${schema} characters` },
      validate: (bound: number, text: string) => holds(text, bound),
    });
  }
  // The library divides doubles: 1.1 is no multiple of 0.1 there, or 1e308 of everything.
  ajv.removeKeyword('multipleOf');
  ajv.addKeyword({
    keyword: 'multipleOf',
    type: 'number',
    schemaType: 'number',
    error: { message: ({ schema }) => `must be a multiple of ${schema}` },
    validate: (step: number, value: number) => isMultiple(value, step, meter),
  });
}

/** The library's enum for a place in an array; it is not exported as a value. */
const NUMBERED = 0 as Type.Num;

/** Formats, asserted. Those that take time in the square of a text's length are replaced. */
export function formats(meter: Meter): Record<string, Format> {
  const load = createRequire(import.meta.url);
  const { fullFormats } = load('ajv-formats/dist/formats') as typeof import('ajv-formats/dist/formats.js');
  const charged: Record<string, Format> = {};
  for (const [name, format] of Object.entries(fullFormats as Record<string, Format>)) {
    const test = testOf(format);
    charged[name] = test
      ? (text: string) => {
          meter.charge(text.length / FORMAT_TEXT_PER_STEP);
          return test(text);
        }
      : format;
  }
  const isUri = testOf(fullFormats.uri as Format) as (text: string) => boolean;
  charged.url = (text: string) => {
    meter.charge(text.length / FORMAT_TEXT_PER_STEP);
    return /^(?:https?|ftp):\/\/[^/?#]/i.test(text) && isUri(text);
  };
  charged.regex = (text: string) => {
    // The engine takes about a microsecond for two characters.
    if (text.length > REGEX_LENGTH_MAX) return false;
    meter.charge(text.length);
    try {
      return new RegExp(text, 'u') !== undefined;
    } catch {
      return false;
    }
  };
  return charged;
}

/** The patterns of formats look at a character for longer than a search does. */
const FORMAT_TEXT_PER_STEP = 16;

/** No pattern that a person wrote is longer. */
const REGEX_LENGTH_MAX = 10_000;

/** How a format judges a text; undefined for those of numbers and those that take anything. */
function testOf(format: Format): ((text: string) => boolean) | undefined {
  if (typeof format === 'function') return format as (text: string) => boolean;
  if (format instanceof RegExp) return (text) => format.test(text);
  if (typeof format !== 'object' || format.type === 'number' || format.async === true) return undefined;
  return testOf(format.validate as Format);
}

function characters(text: string, meter: Meter): number {
  meter.charge(text.length / TEXT_PER_STEP);
  let pairs = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit >= 0xd800 && unit < 0xdc00) pairs++;
  }
  return text.length - pairs;
}

/** Whether all elements differ, as JSON: objects whatever the order of their members. */
function areUnique(values: readonly Json[], meter: Meter): boolean {
  const seen = new Set<unknown>();
  for (const value of values) {
    // A text is made of what isn't one value.
    meter.chargeDeep(value, typeof value === 'object' ? 4 : 1);
    const form = typeof value === 'object' && value !== null ? `\0${canonical(value)}` : value;
    if (seen.has(form)) return false;
    seen.add(form);
  }
  return true;
}

/** JSON text with members in the order of their names. */
export function canonical(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (!isObject(value)) return JSON.stringify(value);
  const names = Object.keys(value).sort();
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonical(value[name] as Json)}`).join()}}`;
}

/** Exactly, of the decimals as they are written. */
export function isMultiple(value: number, step: number, meter: Meter): boolean {
  if (Number.isSafeInteger(value) && Number.isSafeInteger(step)) return value % step === 0;
  const [a, b] = [decimal(value), decimal(step)];
  // 1e308 in units of 5e-324 has 632 digits.
  meter.charge(5 + Math.abs(a.exponent - b.exponent) / 32);
  const exponent = Math.min(a.exponent, b.exponent);
  const scaled = ({ digits, exponent: own }: typeof a) => digits * 10n ** BigInt(own - exponent);
  return scaled(a) % scaled(b) === 0n;
}

function decimal(value: number): { digits: bigint; exponent: number } {
  const [, whole = '', fraction = '', power = '0'] = /^-?(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(String(value)) ?? [];
  return { digits: BigInt(whole + fraction), exponent: Number(power) - fraction.length };
}

let loadedCodegen: typeof import('ajv/dist/compile/codegen/index.js') | undefined;
function codegen(): typeof import('ajv/dist/compile/codegen/index.js') {
  loadedCodegen ??= createRequire(import.meta.url)('ajv/dist/compile/codegen') as NonNullable<typeof loadedCodegen>;
  return loadedCodegen;
}
