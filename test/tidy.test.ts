/**
 * What keeps the tree readable and no other tool checks. The names of folders and the direction of imports are told in
 * docs/ARCHITECTURE.md.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';

const ROOT = path.resolve(import.meta.dirname, '..');
const FILE_LINES_MAX = 500;
const FOLDER_LEVELS_MAX = 2;
const NAMELESS_FOLDERS = ['utils', 'util', 'helpers', 'common', 'types', 'interfaces'];

/** What git has or would add, as paths from the root: generated and downloaded files are in .gitignore. */
const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  cwd: ROOT,
  encoding: 'utf8',
})
  .split('\n')
  .filter((file) => file !== '' && existsSync(path.join(ROOT, file)));
const written = files.filter((file) => !/^sdks\/.*\/generated\//.test(file));
const sources = files.filter((file) => /^src\/.*\.ts$/.test(file));

const text = (file: string): string => readFileSync(path.join(ROOT, file), 'utf8');

test('the list of files is there', () => {
  expect(files).toContain('package.json');
  expect(sources.length).toBeGreaterThan(0);
});

test('no barrels: a thing is imported from the file that has it', () => {
  expect(written.filter((file) => /^(src|test)\/(.*\/)?index\.ts$/.test(file))).toEqual([]);
});

test('no folder is named for being nothing in particular', () => {
  const nameless = (file: string) =>
    path
      .dirname(file)
      .split('/')
      .some((part) => NAMELESS_FOLDERS.includes(part));
  expect(written.filter(nameless)).toEqual([]);
});

test(`at most ${FOLDER_LEVELS_MAX} folder levels under src`, () => {
  expect(sources.filter((file) => file.split('/').length - 2 > FOLDER_LEVELS_MAX)).toEqual([]);
});

test('each source file opens by telling what it is', () => {
  // A spec tells the same as the file it is named for.
  const product = sources.filter((file) => !file.endsWith('.spec.ts'));
  expect(product.filter((file) => !/^(#!.*\n)?\/\*\*/.test(text(file)))).toEqual([]);
});

test(`no source file has more than ${FILE_LINES_MAX} lines`, () => {
  const lines = (file: string) => text(file).split('\n').length - 1;
  expect(sources.filter((file) => lines(file) > FILE_LINES_MAX).map((file) => `${file}: ${lines(file)}`)).toEqual([]);
});

test('no file names a place on the machine where it was written', () => {
  const folders = ['home', 'root', 'work', 'Users'].join('|');
  // A path of that kind inside a longer one, as in a URL, is no machine path.
  const machinePath = new RegExp(`(?<![\\w.~)}*:/-])/(${folders})/[\\w.-]+`);
  const found = written.flatMap((file) => {
    const content = text(file);
    if (content.includes('\0')) return [];
    const match = machinePath.exec(content);
    return match ? [`${file}: ${match[0]}`] : [];
  });
  expect(found).toEqual([]);
});

test('no test is left out, and none runs alone', () => {
  const leftOut = /\b(describe|it|test|suite)(\.\w+)*\.(only|skip|skipIf|todo)\b/;
  const tests = written.filter((file) => /\.(test|spec)\.ts$/.test(file) && file !== 'test/tidy.test.ts');
  expect(tests.filter((file) => leftOut.test(text(file)))).toEqual([]);
});

test('every link to a file in a markdown text leads somewhere', () => {
  const broken = written
    .filter((file) => file.endsWith('.md'))
    .flatMap((file) =>
      localLinks(text(file))
        .filter((link) => !existsSync(path.resolve(ROOT, link.startsWith('/') ? '.' : path.dirname(file), `./${link}`)))
        .map((link) => `${file}: ${link}`),
    );
  expect(broken).toEqual([]);
});

/** The targets of links and images without their anchors, but for those to other sites, and for what only shows how to write one. */
function localLinks(markdown: string): string[] {
  const prose = markdown.replaceAll(/^(`{3,}|~{3,})[\s\S]*?^\1/gm, '').replaceAll(/`[^`\n]*`/g, '');
  const inline = [...prose.matchAll(/\]\(\s*<?([^)\s>]+)>?[^)]*\)/g)];
  const referenced = [...prose.matchAll(/^\[[^\]]+\]:\s*<?(\S+?)>?(\s|$)/gm)];
  return [...inline, ...referenced]
    .map(([, target = '']) => target)
    .filter((target) => !/^([a-z][a-z0-9+.-]*:|\/\/|#)/i.test(target))
    .map((target) => decodeURIComponent(target.replace(/[?#].*$/s, '')));
}
