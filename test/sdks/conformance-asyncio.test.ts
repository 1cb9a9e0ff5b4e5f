/** The scenarios by the Python client of asyncio. */
import { beforeAll } from 'vitest';
import { conformance } from './conformance.js';
import { type DriverProgram, startDriver } from './driver.js';
import { BUILD_MS, pythonDriver } from './languages.js';

let program: DriverProgram;
beforeAll(async () => {
  program = await pythonDriver('--aio');
}, BUILD_MS);

conformance({ name: 'asyncio', drive: () => startDriver(program) });
