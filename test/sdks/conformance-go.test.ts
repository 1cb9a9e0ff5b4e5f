/** The scenarios by the Go client. */
import { beforeAll } from 'vitest';
import { conformance } from './conformance.js';
import { type DriverProgram, startDriver } from './driver.js';
import { BUILD_MS, goDriver } from './languages.js';

let program: DriverProgram;
beforeAll(async () => {
  program = await goDriver();
}, BUILD_MS);

conformance({ name: 'Go', drive: () => startDriver(program) });
