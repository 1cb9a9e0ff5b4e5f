/**
 * Scripts: programs and pages that an application keeps in its pool, as items of the system collection `_scripts` under
 * the script's name. Pure: what such an item may be, and as what its source is served.
 */
import { type ErrorPlace, Problem } from '../errors.js';
import { limits } from '../limits.js';
import { getMember, type Json, pointerToken } from '../state/json.js';
import type { Attributes } from '../state/model.js';

export const SCRIPTS = '_scripts';

/** A media type of RFC 6838 without parameters: the character set of a script is always UTF-8. */
const MEDIA_TYPE = /^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}\/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$/;

const TYPE_OF_LANGUAGE: Readonly<Record<string, string>> = {
  javascript: 'text/javascript',
  css: 'text/css',
  html: 'text/html',
  python: 'text/x-python',
  tcl: 'application/x-tcl',
};

type Check = (value: Json) => string | undefined;

/** What each member must be; the answer says what is wrong with it. */
const MEMBERS: Readonly<Record<string, Check>> = {
  title: shortText(limits.scriptTitleLengthMax),
  language: shortText(limits.scriptLabelLengthMax),
  version: shortText(limits.scriptLabelLengthMax),
  mediaType: (value) =>
    typeof value === 'string' && MEDIA_TYPE.test(value)
      ? undefined
      : 'must be a media type without parameters, such as text/javascript.',
  source: (value) => {
    if (typeof value !== 'string') return 'must be a string: the text of the script.';
    const bytes = Buffer.byteLength(value);
    return bytes > limits.scriptSourceBytesMax
      ? `is ${bytes} bytes of UTF-8; at most ${limits.scriptSourceBytesMax} are allowed.`
      : undefined;
  },
};

/** Refuses with `invalid` what isn't a script, and names each place at fault. */
export function checkScript(key: string, attributes: Attributes): void {
  const errors: ErrorPlace[] = [];
  const fault = (name: string, detail: string) =>
    errors.push({ pointer: `/attributes/${pointerToken(name)}`, code: 'invalid', detail });
  for (const name of Object.keys(attributes)) {
    const check = Object.hasOwn(MEMBERS, name) ? MEMBERS[name] : undefined;
    const wrong = check
      ? check(attributes[name] as Json)
      : `Unknown: a script has ${Object.keys(MEMBERS).join(', ')} and nothing else.`;
    if (wrong) fault(name, wrong);
  }
  if (getMember(attributes, 'source') === undefined) fault('source', 'is missing.');
  const [first] = errors;
  if (!first) return;
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more)` : '';
  throw new Problem('invalid', `The script ${JSON.stringify(key)}: ${first.pointer} ${first.detail}${more}`, {
    errors: errors.slice(0, 20),
  });
}

/** The Content-Type under which the source of a checked script is served. */
export function scriptType(attributes: Attributes): string {
  const language = getMember(attributes, 'language');
  const byLanguage = typeof language === 'string' ? language.toLowerCase() : '';
  const given = getMember(attributes, 'mediaType');
  const type =
    typeof given === 'string'
      ? given
      : Object.hasOwn(TYPE_OF_LANGUAGE, byLanguage)
        ? (TYPE_OF_LANGUAGE[byLanguage] as string)
        : 'text/plain';
  return /^text\//i.test(type) ? `${type}; charset=utf-8` : type;
}

function shortText(lengthMax: number): Check {
  return (value) =>
    typeof value === 'string' && value.length <= lengthMax
      ? undefined
      : `must be a string of at most ${lengthMax} characters.`;
}
