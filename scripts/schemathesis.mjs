/** Installs schemathesis, which fuzzes a server from its OpenAPI document, and prints the path of its program. */
import { printInstalled } from './python-package.mjs';

await printInstalled('schemathesis', '4.32.5', 'st');
