/**
 * Regular expressions in linear time. Patterns of a schema are written in the syntax of ECMAScript (with the `u` flag) and
 * those of `matches` in that of RE2; both run on RE2, which can't be made to take exponential time, so a pattern and a
 * text from strangers hold nobody up. What RE2 can't do (look-around, references back) is refused when a definition is set.
 *
 * All patterns run on RE2, also those that the native engine would do as fast: it takes 0.03 to 0.6 µs where that takes 0.01
 * to 0.05, too little to judge which patterns would be safe there.
 */
import { createRequire } from 'node:module';
import type { RE2JS } from 're2js';
import { limits } from '../limits.js';
import type { Meter } from './meter.js';

export interface Pattern {
  /** @throws OVERSPENT when the text is too long for what the meter has left */
  test(text: string): boolean;
  /** The pattern; the schema compiler tells patterns apart by it. */
  toString(): string;
}

/** Says why a pattern can't be used. */
export class PatternFault extends Error {}

/** From the syntax of RE2. @throws PatternFault; OVERSPENT when the meter hasn't enough left to compile it */
export function compilePattern(source: string, meter: Meter, compiling = meter): Pattern {
  if (source.length > limits.patternLengthMax) {
    throw new PatternFault(`The pattern is longer than ${limits.patternLengthMax} characters.`);
  }
  // A repetition is written out when it is compiled, so its product is known before anything is spent on it.
  const repeated = repetitions(source);
  if (repeated > limits.patternStepsMax) throw new PatternFault(tooLarge());
  const before = costBefore(source, repeated);
  if (before > limits.patternCompileCostMax) throw new PatternFault(TOO_WIDE);
  compiling.charge(before);
  let compiled: RE2JS;
  try {
    compiled = engine().compile(source);
  } catch (error) {
    throw new PatternFault(`The pattern can't be used: ${(error as Error).message}.`);
  }
  const size = compiled.programSize();
  if (size > limits.patternStepsMax) throw new PatternFault(tooLarge());
  // Nested repetitions are known only now.
  const after = costOf(source, size);
  compiling.charge(after);
  if (after > limits.patternCompileCostMax) throw new PatternFault(TOO_WIDE);
  const { dfa, onepass, prefixComplete } = (compiled as unknown as { re2Input: Matcher }).re2Input;
  dfa.stateBudget = STATES_BYTES_MAX;
  dfa.memBudget = STATES_BYTES_MAX;
  const isDirect = onepass !== null || prefixComplete;
  return {
    toString: () => source,
    test(text) {
      meter.charge(isDirect ? directCost(text.length, size) : statesCost(text.length, size));
      return compiled.test(text);
    },
  };
}

/** What the engine has beside its interface; a spec fails when a version has others. */
interface Matcher {
  /** Keeps sets of states that it has met; a pattern and a text can make each character another one. */
  readonly dfa: { stateBudget: number; memBudget: number };
  /** There where each character leaves one way to go on, as in most patterns that begin with ^. */
  readonly onepass: object | null;
  /** Whether it looks for a text and nothing else. */
  readonly prefixComplete: boolean;
}

/** Room for some dozens of sets of states; in the engine's own 8 MiB a hostile text spends a fifth of a second. */
const STATES_BYTES_MAX = 512 * 1024;

/** Some 50 ns a character, and what groups and empty conditions stand between two. */
function directCost(length: number, size: number): number {
  return 1 + length * (0.5 + size / 20);
}

/** At most, for each character, another set with all states in it; a small pattern has few sets, and the rest are looked up. */
function statesCost(length: number, size: number): number {
  const sets = size < 10 ? Math.min(length, 2 ** size) : length;
  return 1 + length / 10 + sets * (4 + size / 3);
}

const FOLDS = /\(\?[a-zA-Z-]*i/;
const PROPERTY = /\\[pP]/g;
const RANGE = /(\\x\{[0-9a-fA-F]+\}|\\.|[^\\])-(\\x\{[0-9a-fA-F]+\}|\\.|[^\\])/gsu;
/** Of these characters every one in a range is looked up when cases are folded. */
const [FOLDED_FIRST, FOLDED_LAST] = [0x41, 0x1e943];

/** What is known of the cost of compiling before it is done. */
function costBefore(source: string, repeated: number): number {
  let cost = 500 + 20 * source.length;
  if (FOLDS.test(source)) {
    for (const [, low = '', high = ''] of source.matchAll(RANGE)) {
      const [first, last] = [codeOf(low) ?? FOLDED_FIRST, codeOf(high) ?? FOLDED_LAST];
      cost += Math.max(0, Math.min(last, FOLDED_LAST) - Math.max(first, FOLDED_FIRST)) / 2;
    }
  }
  return cost + costOf(source, repeated);
}

/** A class of Unicode is a list of some hundred ranges, at each place where it is written out. */
function costOf(source: string, size: number): number {
  const properties = source.match(PROPERTY)?.length ?? 0;
  return size * (properties > 0 ? 120 : 15) + properties * 500;
}

/** The character at one end of a range; undefined where it is written in another way. */
function codeOf(end: string): number | undefined {
  if (end.startsWith('\\x{')) return Number.parseInt(end.slice(3, -1), 16);
  return end.startsWith('\\') && /\w/.test(end[1] as string)
    ? undefined
    : end.codePointAt(end.startsWith('\\') ? 1 : 0);
}

const TOO_WIDE =
  'The pattern takes too long to compile: it has too many classes of characters (\\p{…}, or ranges without regard to case) with their repetitions written out.';

/** From the syntax of ECMAScript with the `u` flag, as in JSON Schema. @throws PatternFault; OVERSPENT */
export function compileSchemaPattern(source: string, meter: Meter, compiling = meter): Pattern {
  try {
    new RegExp(source, 'u');
  } catch (error) {
    throw new PatternFault(`It is no regular expression: ${(error as Error).message}.`);
  }
  return compilePattern(translate(source), meter, compiling);
}

function tooLarge(): string {
  return `The pattern, with its repetitions written out, has more than ${limits.patternStepsMax} steps; use maxLength for lengths.`;
}

/** An estimate from above of how often repetitions multiply what they repeat: the sum of all, as nested ones are limited by RE2. */
function repetitions(source: string): number {
  let sum = source.length;
  for (const [, low = '0', high = ''] of source.matchAll(/(?<!\\[xpP])\{(\d+)(?:,(\d*))?\}/g)) {
    sum += Math.max(Number(low), Number(high || 0));
  }
  return sum;
}

let loaded: typeof RE2JS | undefined;
function engine(): typeof RE2JS {
  loaded ??= (createRequire(import.meta.url)('re2js') as typeof import('re2js')).RE2JS;
  return loaded;
}

/** What \s is in ECMAScript; RE2's is ASCII. */
const SPACE =
  '\\t\\n\\x{b}\\f\\r \\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}\\x{feff}';
const NO_SPACE =
  '\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{fefe}\\x{ff00}-\\x{10ffff}';
const ANY = '\\x{0}-\\x{10ffff}';
const TOKEN =
  /\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|\\u\{([0-9a-fA-F]+)\}|\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})|\\c([A-Za-z])|\\([pP])\{([^}]*)\}|\\k<|\\(.)|\(\?<([=!])|\(\?([=!])|\[\^?|[\]./]/gsu;

/** Writes a valid ECMAScript pattern in the syntax of RE2. @throws PatternFault */
function translate(source: string): string {
  let inClass = false;
  return source.replace(TOKEN, (...match) => {
    const [token, high, low, braced, four, two, control, p, property, letter, behind, ahead] = match as string[];
    if (high && low) {
      return hex(((Number.parseInt(high, 16) - 0xd800) << 10) + Number.parseInt(low, 16) - 0xdc00 + 0x10000);
    }
    const code = braced ?? four ?? two;
    if (code !== undefined) return hex(Number.parseInt(code, 16));
    if (control) return hex(control.charCodeAt(0) & 31);
    if (p) return propertyClass(p, property as string, inClass);
    if (behind || ahead) {
      if (inClass) return token as string;
      throw new PatternFault(
        `${token}…) looks ${behind ? 'behind' : 'ahead'}, which takes time without bound; say the same with several patterns in allOf or not.`,
      );
    }
    if (token === '\\k<' || (letter !== undefined && /[1-9]/.test(letter))) {
      throw new PatternFault('It refers back to a group, which takes time without bound; use an enum or a rule.');
    }
    if (letter !== undefined) return escaped(letter, inClass);
    if (token === ']') {
      inClass = false;
      return token;
    }
    if (token === '.' && !inClass) return '[^\\n\\r\\x{2028}\\x{2029}]';
    if (token === '[' || token === '[^') {
      if (inClass) return `\\${token}`;
      const index = match.findLast((part) => typeof part === 'number') as number;
      // [^] is everything and [] nothing; RE2 would take the ] for a member.
      const empty = source[index + token.length] === ']';
      inClass = true;
      return empty ? (token === '[' ? `[^${ANY}` : `[${ANY}`) : token;
    }
    return token as string;
  });
}

function escaped(letter: string, inClass: boolean): string {
  if (letter === 's') return inClass ? SPACE : `[${SPACE}]`;
  if (letter === 'S') return inClass ? NO_SPACE : `[^${SPACE}]`;
  if (letter === '0') return hex(0);
  if (letter === 'v') return hex(11);
  if (letter === 'b' && inClass) return hex(8);
  return `\\${letter}`;
}

function hex(code: number): string {
  return `\\x{${code.toString(16)}}`;
}

/** The long names of Unicode's general categories; RE2 knows the short ones. */
const CATEGORIES: Readonly<Record<string, string>> = Object.assign(Object.create(null), {
  Letter: 'L',
  Uppercase_Letter: 'Lu',
  Lowercase_Letter: 'Ll',
  Titlecase_Letter: 'Lt',
  Modifier_Letter: 'Lm',
  Other_Letter: 'Lo',
  Mark: 'M',
  Combining_Mark: 'M',
  Nonspacing_Mark: 'Mn',
  Spacing_Mark: 'Mc',
  Enclosing_Mark: 'Me',
  Number: 'N',
  Decimal_Number: 'Nd',
  digit: 'Nd',
  Letter_Number: 'Nl',
  Other_Number: 'No',
  Punctuation: 'P',
  punct: 'P',
  Connector_Punctuation: 'Pc',
  Dash_Punctuation: 'Pd',
  Open_Punctuation: 'Ps',
  Close_Punctuation: 'Pe',
  Initial_Punctuation: 'Pi',
  Final_Punctuation: 'Pf',
  Other_Punctuation: 'Po',
  Symbol: 'S',
  Math_Symbol: 'Sm',
  Currency_Symbol: 'Sc',
  Modifier_Symbol: 'Sk',
  Other_Symbol: 'So',
  Separator: 'Z',
  Space_Separator: 'Zs',
  Line_Separator: 'Zl',
  Paragraph_Separator: 'Zp',
  Other: 'C',
  Control: 'Cc',
  cntrl: 'Cc',
  Format: 'Cf',
  Private_Use: 'Co',
});

/** Those that were met: each is compiled to find out whether it is one, and there are only so many. */
const knownProperties = new Set<string>();

function propertyClass(p: string, property: string, inClass: boolean): string {
  if (property === 'Any') return p === 'p' ? (inClass ? ANY : `[${ANY}]`) : inClass ? '' : `[^${ANY}]`;
  if (property === 'ASCII') {
    const range = p === 'p' ? '\\x{0}-\\x{7f}' : '\\x{80}-\\x{10ffff}';
    return inClass ? range : `[${range}]`;
  }
  const [, kind, value] = /^(?:(General_Category|gc|Script|sc)=)?(.*)$/.exec(property) as unknown as string[];
  const name = kind?.startsWith('S') || kind === 'sc' ? value : (CATEGORIES[value as string] ?? value);
  const written = `\\${p}{${name}}`;
  if (knownProperties.has(written)) return written;
  try {
    engine().compile(written);
    knownProperties.add(written);
  } catch {
    throw new PatternFault(`\\${p}{${property}} is not known here; there are the general categories and scripts.`);
  }
  return written;
}
