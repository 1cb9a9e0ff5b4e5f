/** The scenarios by the TypeScript client in Node. */
import { conformance } from './conformance.js';
import { startDriver } from './driver.js';
import { nodeDriver } from './languages.js';

conformance({ name: 'Node', drive: () => startDriver(nodeDriver()) });
