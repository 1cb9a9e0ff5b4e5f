/**
 * The generated part of the clients below sdks/: written from the OpenAPI document by openapi-generator with the configurations and templates
 * of openapi/generator, and compared with what is committed. It lies in folders called `generated`, of which nothing is written by hand.
 */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { generate } from './openapi-generator.mjs';
import { ROOT } from './programs.mjs';

/** `made`: what of the generator's output is taken. `kept`: where it is kept. In the order in which they are laid over one another. */
const CLIENTS = [
  { name: 'python', made: 'stargus/generated', kept: 'sdks/python/src/stargus/generated' },
  { name: 'python-aio', made: 'stargus/generated/aio', kept: 'sdks/python/src/stargus/generated/aio' },
  { name: 'go', made: '.', kept: 'sdks/go/generated' },
  { name: 'typescript', made: '.', kept: 'sdks/typescript/src/generated' },
];

const SETTINGS = path.join(ROOT, 'openapi', 'generator');
const IGNORE = '.openapi-generator-ignore';

/** Models, settings and errors of the asyncio client are those of the synchronous one. */
const SHARED = /\bstargus\.generated\.aio\.(models|configuration|exceptions|api_response)\b/g;

/** The document's own description would stand at the head of each of a thousand files. */
const BRIEF = 'Shared, persistent, watchable state over plain HTTP/JSON and Server-Sent Events.';

/** Replaces the generated folders. */
export async function writeClients(document) {
  await withGenerated(document, (files) => {
    for (const { kept } of CLIENTS) rmSync(path.join(ROOT, kept), { recursive: true, force: true });
    for (const [file, text] of files) {
      mkdirSync(path.dirname(path.join(ROOT, file)), { recursive: true });
      writeFileSync(path.join(ROOT, file), text);
    }
  });
}

/** @returns {Promise<string[]>} sentences about the files that aren't as they would be written */
export async function staleClients(document) {
  return withGenerated(document, (files) => {
    const present = new Set(
      CLIENTS.flatMap(({ kept }) => filesBelow(path.join(ROOT, kept)).map((file) => path.join(kept, file))),
    );
    const stale = [...files].filter(
      ([file, text]) => !present.has(file) || readFileSync(path.join(ROOT, file), 'utf8') !== text,
    );
    return [
      ...stale.map(([file]) => `${file} ${present.has(file) ? 'is not as generated' : 'is missing'}`),
      ...[...present].filter((file) => !files.has(file)).map((file) => `${file} is not generated`),
    ];
  });
}

/** Hands over what is generated, by the path where it is kept. */
async function withGenerated(document, use) {
  const folder = mkdtempSync(path.join(tmpdir(), 'stargus-clients-'));
  try {
    const inputSpec = path.join(folder, 'openapi.json');
    writeFileSync(inputSpec, JSON.stringify({ ...document, info: { ...document.info, description: BRIEF } }));
    const configs = CLIENTS.map(({ name }) => {
      const config = path.join(folder, `${name}.yaml`);
      const text = readFileSync(path.join(SETTINGS, `${name}.yaml`), 'utf8');
      writeFileSync(config, `${text}inputSpec: ${inputSpec}\noutputDir: ${path.join(folder, name)}\n`);
      // Its patterns are relative to where it lies.
      mkdirSync(path.join(folder, name));
      copyFileSync(path.join(SETTINGS, name, IGNORE), path.join(folder, name, IGNORE));
      return config;
    });
    await generate(configs);
    const files = new Map();
    for (const { name, made, kept } of CLIENTS) {
      const from = path.join(folder, name, made);
      for (const file of filesBelow(from))
        files.set(path.join(kept, file), asKept(readFileSync(path.join(from, file), 'utf8')));
    }
    return use(files);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function asKept(text) {
  const shared = text.replace(SHARED, 'stargus.generated.$1');
  // Trailing blanks and empty lines at the end come from the generator's own templates.
  return `${shared.replace(/[ \t]+$/gm, '').trimEnd()}\n`;
}

function filesBelow(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)))
    .filter((file) => !file.startsWith('.openapi-generator') && !file.includes('__pycache__'))
    .sort();
}
