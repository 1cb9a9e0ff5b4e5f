/** The scenarios by the Python client that waits: threads and urllib3. */
import { beforeAll } from 'vitest';
import { conformance } from './conformance.js';
import { type DriverProgram, startDriver } from './driver.js';
import { BUILD_MS, pythonDriver } from './languages.js';

let program: DriverProgram;
beforeAll(async () => {
  program = await pythonDriver();
}, BUILD_MS);

conformance({ name: 'Python', drive: () => startDriver(program) });
