/** Killed twenty times under load, on each database, the server has lost nothing that it acknowledged. See crash.ts. */
import { describe, expect, test } from 'vitest';
import { databases } from '../support/server.js';
import { crashAgainAndAgain } from './crash.js';

describe.each(databases)('kill -9 on $name', ({ name }) => {
  test('loses nothing acknowledged, leaves no hole, repeats nothing', async () => {
    const load = { writers: 6, counters: 3, loadMsMax: 300, acknowledgedMin: 6 };
    const report = await crashAgainAndAgain({ ...load, database: name, crashes: 20, random: Math.random });
    expect(report.acknowledged).toBeGreaterThan(100);
    // Kills that interrupt nobody prove nothing.
    expect(report.unanswered + report.repeated).toBeGreaterThan(20);
  }, 180_000);
});
