/** Installs zeroconf, another implementation of multicast DNS, and prints the path of the Python that has it. */
import { printInstalled } from './python-package.mjs';

await printInstalled('zeroconf', '0.154.0', 'python');
