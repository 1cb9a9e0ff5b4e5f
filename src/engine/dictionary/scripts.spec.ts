import { describe, expect, test } from 'vitest';
import type { Problem } from '../errors.js';
import { limits } from '../limits.js';
import type { Attributes } from '../state/model.js';
import { checkScript, scriptType } from './scripts.js';

function faults(attributes: Attributes): string[] {
  try {
    checkScript('hello', attributes);
  } catch (error) {
    expect(error).toMatchObject({ code: 'invalid', status: 422 });
    return ((error as Problem).extras.errors ?? []).map(({ pointer }) => pointer);
  }
  return [];
}

describe('a script', () => {
  test.each<[says: string, attributes: Attributes, pointers: string[]]>([
    ['source alone', { source: '' }, []],
    ['all members', { source: 'x', title: 't', language: 'tcl', mediaType: 'application/x-tcl', version: '1' }, []],
    ['no source', {}, ['/attributes/source']],
    ['a source that is no text', { source: 1 }, ['/attributes/source']],
    ['a source of the largest size', { source: 'x'.repeat(limits.scriptSourceBytesMax) }, []],
    ['a source one byte larger', { source: 'ä'.repeat(limits.scriptSourceBytesMax / 2 + 1) }, ['/attributes/source']],
    ['an unknown member', { source: '', 'a/b': 1 }, ['/attributes/a~1b']],
    [
      'a member of every object',
      { source: '', toString: 'x', constructor: 'x' },
      ['/attributes/toString', '/attributes/constructor'],
    ],
    ['a long title', { source: '', title: 'x'.repeat(1025) }, ['/attributes/title']],
    ['a version that is a number', { source: '', version: 2 }, ['/attributes/version']],
    ['a media type with parameters', { source: '', mediaType: 'text/css; charset=x' }, ['/attributes/mediaType']],
    ['a media type with a line break', { source: '', mediaType: 'text/css\r\nx: y' }, ['/attributes/mediaType']],
    ['several faults', { title: 1, version: 2 }, ['/attributes/title', '/attributes/version', '/attributes/source']],
  ])('with %s', (_, attributes, pointers) => {
    expect(faults(attributes)).toEqual(pointers);
  });
});

test.each([
  [{}, 'text/plain; charset=utf-8'],
  [{ language: 'JavaScript' }, 'text/javascript; charset=utf-8'],
  [{ language: 'css' }, 'text/css; charset=utf-8'],
  [{ language: 'html' }, 'text/html; charset=utf-8'],
  [{ language: 'python' }, 'text/x-python; charset=utf-8'],
  [{ language: 'tcl' }, 'application/x-tcl'],
  [{ language: 'cobol' }, 'text/plain; charset=utf-8'],
  [{ language: 'constructor' }, 'text/plain; charset=utf-8'],
  [{ language: 'css', mediaType: 'image/svg+xml' }, 'image/svg+xml'],
  [{ mediaType: 'TEXT/css' }, 'TEXT/css; charset=utf-8'],
])('%j is served as %s', (attributes, type) => {
  expect(scriptType({ source: '', ...attributes })).toBe(type);
});
