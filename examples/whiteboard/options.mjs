/** The command lines of the programs of this example: what they have in common, and how a fault in one is told. */
import { parseArgs } from 'node:util';

const URL_OPTION = { type: 'string', default: 'http://127.0.0.1:8080' };

/** Exits with 0 after `--help`, and with 2 after what it doesn't understand. `check` may throw an Error that says why. */
export function readOptions(usage, options, check = () => {}) {
  try {
    const { values, positionals } = parseArgs({
      options: { url: URL_OPTION, help: { type: 'boolean', short: 'h' }, ...options },
      allowPositionals: true,
    });
    if (values.help) {
      console.log(usage);
      process.exit(0);
    }
    check(values, positionals);
    return { ...values, url: values.url.replace(/\/$/, ''), positionals };
  } catch (error) {
    console.error(`${error.message}\n\n${usage}`);
    process.exit(2);
  }
}
