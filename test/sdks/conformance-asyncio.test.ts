/** The scenarios by the Python client of asyncio, on one database: what it says to the server is of the engine that it shares with threads. */
import { beforeAll } from 'vitest';
import { conformance } from './conformance.js';
import { type DriverProgram, startDriver } from './driver.js';
import { BUILD_MS, pythonDriver } from './languages.js';

let program: DriverProgram;
beforeAll(async () => {
  program = await pythonDriver('--aio');
}, BUILD_MS);

conformance({ name: 'asyncio', drive: () => startDriver(program), on: [{ name: 'sqlite' }] });
