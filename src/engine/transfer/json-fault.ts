/**
 * Where a text stops being JSON. JSON.parse knows and mostly doesn't tell; whoever has a file of a million lines wants to
 * be led to the place. Pure, in one pass, and only asked once a text has been refused.
 */

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;
const WORDS = ['true', 'false', 'null'];

type Expected = 'value' | 'valueOrEnd' | 'name' | 'nameOrEnd' | 'colon' | 'commaOrEnd' | 'nothing';

/** The offset of the first character that can't stand where it is, or of the text's end; undefined where all is well. */
export function jsonFault(text: string): number | undefined {
  const closers: string[] = [];
  let expected: Expected = 'value';
  const afterValue = (): Expected => (closers.length > 0 ? 'commaOrEnd' : 'nothing');
  for (let at = skipSpace(text, 0); ; at = skipSpace(text, at)) {
    if (at >= text.length) return expected === 'nothing' ? undefined : at;
    const character = text[at] as string;
    const isEnd = character === closers.at(-1) && expected.endsWith('OrEnd');
    if (isEnd) {
      closers.pop();
      expected = afterValue();
      at++;
      continue;
    }
    switch (expected) {
      case 'nothing':
        return at;
      case 'colon':
      case 'commaOrEnd':
        if (character !== (expected === 'colon' ? ':' : ',')) return at;
        expected = expected === 'colon' || closers.at(-1) === ']' ? 'value' : 'name';
        at++;
        continue;
      case 'name':
      case 'nameOrEnd': {
        const scan = character === '"' ? scanString(text, at) : { fault: at };
        if ('fault' in scan) return scan.fault;
        expected = 'colon';
        at = scan.end;
        continue;
      }
      case 'value':
      case 'valueOrEnd':
    }
    if (character === '{' || character === '[') {
      closers.push(character === '{' ? '}' : ']');
      expected = character === '{' ? 'nameOrEnd' : 'valueOrEnd';
      at++;
      continue;
    }
    const scan = scanScalar(text, at);
    if ('fault' in scan) return scan.fault;
    expected = afterValue();
    at = scan.end;
  }
}

type Scan = { readonly end: number } | { readonly fault: number };

function scanScalar(text: string, at: number): Scan {
  if (text[at] === '"') return scanString(text, at);
  const word = WORDS.find((one) => text.startsWith(one, at));
  if (word) return { end: at + word.length };
  NUMBER.lastIndex = at;
  return NUMBER.test(text) ? { end: NUMBER.lastIndex } : { fault: at };
}

function scanString(text: string, begin: number): Scan {
  for (let at = begin + 1; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x22) return { end: at + 1 };
    if (code < 0x20) return { fault: at };
    if (code !== 0x5c) continue;
    ESCAPE.lastIndex = at;
    if (!ESCAPE.test(text)) return { fault: at };
    at = ESCAPE.lastIndex - 1;
  }
  return { fault: text.length };
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (at < text.length && ' \t\n\r'.includes(text[at] as string)) at++;
  return at;
}
