/**
 * Builds the TypeScript client, with the driver of its scenarios and the command line, into sdks/typescript/dist. tsc does only what is needed.
 * Apart from scripts/setup.mjs: whoever starts a server doesn't wait for it.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { nodeProgram, ROOT, run, toolFile } from './programs.mjs';

if (!existsSync(path.join(ROOT, 'node_modules', 'typescript'))) {
  console.error(
    `The TypeScript client is built with what the repository depends on. Run \`npm run build\` in ${ROOT}, which installs it, then this again.`,
  );
  process.exit(1);
}
const config = path.join(ROOT, 'sdks', 'typescript', 'tsconfig.conformance.json');
const { code, output } = await run(nodeProgram(), [toolFile('typescript', 'tsc'), '-b', config], { quiet: true });
if (code !== 0) {
  console.error(`${output.trim()}\n\nThe TypeScript client could not be built.`);
  process.exit(1);
}
