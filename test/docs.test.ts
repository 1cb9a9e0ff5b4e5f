/** What docs/ tells in tables is what the sources say: settings, metrics, limits, error codes. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { parsePolicy } from '../src/engine/access/policy.js';
import { errorTable } from '../src/engine/errors.js';
import { limits } from '../src/engine/limits.js';
import type { Attributes } from '../src/engine/state/model.js';
import { variables } from '../src/platform/config.js';
import { Metrics } from '../src/platform/metrics.js';

const ROOT = path.resolve(import.meta.dirname, '..');
const operating = document('OPERATING.md');
const errors = document('ERRORS.md');
const documents = readdirSync(path.join(ROOT, 'docs')).filter((name) => name.endsWith('.md'));

test('OPERATING.md has each variable, with what holds without it', () => {
  const documented = rowsOf(section(operating, 'Settings')).map(([name, fallback]) => [bare(name), bare(fallback)]);
  expect(documented).toEqual(Object.entries(variables).map(([name, { fallback }]) => [name, fallback]));
});

test('OPERATING.md has each metric, with its kind and labels', async () => {
  const zero = {
    streams: 0,
    streamsBehind: 0,
    watchGroups: 0,
    bufferedBytes: 0,
    queuedCommands: 0,
    pools: 0,
    cacheBytes: 0,
    leasesHeld: 0,
    locks: 0,
    locksWaiting: 0,
    notifierLag: 0,
    blockedAddresses: 0,
    redisUp: undefined,
  };
  const metrics = new Metrics(() => zero, '0');
  metrics.requestAnswered('getItem', 200, 0.001);
  // The times of requests are kept beside the registry; their labels are those of every line of theirs.
  const requests = { name: 'stargus_http_request_seconds', labelNames: ['operation', 'status'] };
  const own = [...metrics.registry.getMetricsAsArray().filter(({ name }) => name.startsWith('stargus_')), requests];
  const text = await metrics.text();
  expect(text).toMatch(/^stargus_http_request_seconds_count\{operation="getItem",status="200"\} 1$/m);
  const kinds = own.map(({ name }) => [name, new RegExp(`^# TYPE ${name} (\\w+)$`, 'm').exec(text)?.[1]]);
  const documented = rowsOf(section(operating, 'Metrics'));
  expect(documented.map(([name, kind = '']) => [bare(name), kind.split(',')[0]])).toEqual(kinds);
  const labels = own.map((metric) => (metric as unknown as { labelNames: string[] }).labelNames);
  expect(documented.map(([, kind = '']) => [...kind.matchAll(/`(\w+)`/g)].map(([, label]) => label))).toEqual(labels);
});

test.each(['OPERATING', 'POLICY'])('%s.md tells limits as they are', (name) => {
  const documented = rowsOf(section(document(`${name}.md`), 'Limits'));
  expect(documented.length).toBeGreaterThan(10);
  for (const [name, value = ''] of documented) {
    expect([bare(name), numberOf(value)]).toEqual([bare(name), limits[bare(name) as keyof typeof limits]]);
  }
});

test('POLICY.md shows policies as they can be', () => {
  const shown = [...document('POLICY.md').matchAll(/^```json policy\n(.*?)^```$/gms)].map(([, text = '']) => text);
  expect(shown.length).toBeGreaterThan(3);
  for (const text of shown) expect(() => parsePolicy(JSON.parse(text)), text).not.toThrow();
});

test('POLICY.md has each member of a rule, and each action', () => {
  const rule = { effect: 'allow', who: { anyone: true }, actions: ['read'], collections: ['a'] };
  const told = (broken: object): string[] => {
    try {
      parsePolicy({ rules: [{ ...rule, ...broken }] } as Attributes);
    } catch (error) {
      return /there are ([\w, ]+)\./.exec((error as Error).message)?.[1]?.split(', ') ?? [];
    }
    return [];
  };
  const rows = (heading: string) =>
    rowsOf(
      document('POLICY.md')
        .split(/^#+ /m)
        .find((text) => text.startsWith(`${heading}\n`)) ?? '',
    ).map(([name]) => bare(name));
  expect(rows('Rules').sort()).toEqual(told({ unknown: 1 }).sort());
  expect(rows('Actions')).toEqual(told({ actions: ['unknown'] }));
  expect(rows('Who').sort()).toEqual(told({ who: { unknown: 1 } }).sort());
});

test('ERRORS.md has each code, with its status, and no other', () => {
  const documented = rowsOf(errors).map(([code, status, again]) => [
    /^\[`(\w+)`\]/.exec(code ?? '')?.[1],
    Number(status),
    again === 'yes',
  ]);
  const real = Object.entries(errorTable).map(([code, { status, retryable }]) => [code, status, retryable]);
  expect(documented).toEqual(real);
});

test('ERRORS.md has a section for each code that says what to do', () => {
  const sections = errors.split(/^## /m).slice(1);
  expect(sections.map((text) => text.split('\n')[0])).toEqual(Object.keys(errorTable));
  expect(sections.filter((text) => !text.includes('**What to do:**'))).toEqual([]);
});

test('documents name no variable and no error code that does not exist', () => {
  const text = [...documents.map(document), readFileSync(path.join(ROOT, 'README.md'), 'utf8')].join('\n');
  const named = new Set([...text.matchAll(/\bSTARGUS_[A-Z_]+\b/g)].map(([name]) => name));
  // The command line has some of its own.
  const own = readFileSync(path.join(ROOT, 'src/cli/secrets.ts'), 'utf8');
  const isKnown = (name: string) => Object.hasOwn(variables, name) || own.includes(`'${name}'`);
  expect([...named].filter((name) => !isKnown(name))).toEqual([]);
  const codes = new Set([...text.matchAll(/\b[45]\d\d `(\w+)`/g)].map(([, code]) => code as string));
  expect(codes.size).toBeGreaterThan(5);
  expect([...codes].filter((code) => !Object.hasOwn(errorTable, code))).toEqual([]);
});

test('links inside the documents lead to headings that exist', () => {
  const broken = documents.flatMap((name) => {
    const links = document(name).matchAll(/\]\((\w+\.md)?#([\w-]+)\)/g);
    return [...links]
      .filter(([, file = name, anchor]) => !headings(document(file)).includes(anchor as string))
      .map(([link]) => `${name}: ${link}`);
  });
  expect(broken).toEqual([]);
});

test('GLOSSARY.md defines each word once', () => {
  const words = [...document('GLOSSARY.md').matchAll(/^- \*\*(.+?)\*\*/gm)].map(([, word]) => word as string);
  expect(words.length).toBeGreaterThan(20);
  expect(words.filter((word, i) => words.indexOf(word) !== i)).toEqual([]);
});

test('CHANGELOG.md has the version of package.json', () => {
  const { version } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as { version: string };
  expect(readFileSync(path.join(ROOT, 'CHANGELOG.md'), 'utf8')).toContain(`\n## ${version}`);
});

function document(name: string): string {
  return readFileSync(path.join(ROOT, 'docs', name), 'utf8');
}

/** The text below a heading of the second level. */
function section(markdown: string, heading: string): string {
  const found = markdown.split(/^## /m).find((text) => text.startsWith(`${heading}\n`));
  if (found === undefined) throw new Error(`There is no section ${heading}`);
  return found;
}

/** The rows of a section's last table, without its head. */
function rowsOf(markdown: string): string[][] {
  const table = [...markdown.matchAll(/^\|.*\n\|[-|]+\n((?:\|.*\n)+)/gm)].at(-1)?.[1] ?? '';
  return table
    .trim()
    .split('\n')
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

function bare(cell = ''): string {
  return cell.replaceAll('`', '');
}

const UNITS = { '': 1, MiB: 1024 * 1024, s: 1000, h: 3_600_000 } as const;

function numberOf(value: string): number {
  const [, digits = '', unit = ''] = /^([\d,]+) ?(\w*)$/.exec(value) ?? [];
  return Number(digits.replaceAll(',', '')) * UNITS[unit as keyof typeof UNITS];
}

/** As GitHub makes them of headings. */
function headings(markdown: string): string[] {
  return [...markdown.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  );
}
