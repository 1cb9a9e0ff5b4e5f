/**
 * `npm run gen` writes openapi/stargus.json from the routes of the built server, and the clients below sdks/ from that; `npm run gen:check` (`--check`)
 * says whether the committed files are what `npm run gen` would write. Either refuses a document that isn't valid OpenAPI 3.0 or
 * breaks a rule of openapi-rules.mjs.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { Validator } from '@seriousme/openapi-schema-validator';
import { staleClients, writeClients } from './clients.mjs';
import { violationsOf } from './openapi-rules.mjs';
import { ROOT } from './programs.mjs';

const FILE = path.join('openapi', 'stargus.json');

const built = (file) => import(pathToFileURL(path.join(ROOT, 'dist', 'src', file)).href);
const { controllers } = await built('app.module.js');
const { openApiDocument } = await built('http/openapi.js');
const { version } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8'));

const text = `${JSON.stringify(openApiDocument(controllers, version), null, 2)}\n`;
const faults = await faultsOf(JSON.parse(text));
if (faults.length > 0)
  fail(`${faults.join('\n')}\nThe document is made by src/http/openapi.ts from the routes and schemas of src/http.`);
const isCheck = process.argv.includes('--check');
if (!isCheck) writeFileSync(path.join(ROOT, FILE), text);
else if (!existsSync(path.join(ROOT, FILE)) || readFileSync(path.join(ROOT, FILE), 'utf8') !== text) {
  fail(`${FILE} is not what the routes in src/http say now. Run \`npm run gen\` and commit what it writes.`);
}

try {
  if (!isCheck) await writeClients(JSON.parse(text));
  else {
    const stale = await staleClients(JSON.parse(text));
    if (stale.length > 0)
      fail(
        `${stale.join('\n')}\nThese are not what openapi/generator makes of ${FILE}. Run \`npm run gen\` and commit what it writes.`,
      );
  }
} catch (error) {
  fail(error.message);
}

async function faultsOf(document) {
  const { valid, errors = [] } = await new Validator().validate(structuredClone(document));
  if (!valid) return [`${FILE} is not valid OpenAPI 3.0: ${JSON.stringify(errors, null, 2)}`];
  return violationsOf(document);
}

/** @returns {never} */
function fail(message) {
  console.error(message);
  process.exit(1);
}
