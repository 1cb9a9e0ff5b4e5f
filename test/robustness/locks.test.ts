/**
 * Locks exclude, whatever is stopped or killed: clients that count under locks lose no update, and none of their writes is
 * committed but by the holder of its fence. See lock-nemesis.ts for what befalls them, exclusion.ts for how it is judged.
 */
import { describe, expect, test } from 'vitest';
import { checkExclusion } from './exclusion.js';
import { countUnderNemesis, type Deed, type NemesisPlan } from './lock-nemesis.js';

const toWorkers: readonly Deed[] = ['pauseBetween', 'killBetween', 'pause', 'killWorker'];
const plans: NemesisPlan[] = [
  { database: 'sqlite', nodes: 1, workers: 4, ms: 15_000, toWorkers, toServers: ['killServer'] },
  { database: 'mariadb', nodes: 2, workers: 4, ms: 15_000, toWorkers, toServers: ['killServer', 'stopServer'] },
];

describe.each(plans)('counting under locks on $database, nodes: $nodes', (plan) => {
  test('loses nothing while clients and servers are stopped and killed', async () => {
    const { log, steps, deeds } = await countUnderNemesis(plan);
    const { faults, ...found } = checkExclusion(log, steps);
    expect(faults, faults.join('\n')).toEqual([]);
    // What didn't happen proves nothing.
    for (const deed of [...plan.toWorkers, ...plan.toServers]) expect(deeds[deed], deed).toBeGreaterThan(0);
    expect(found.acknowledged).toBeGreaterThan(20);
    expect(found.refused).toBeGreaterThan(0);
    expect(found.takeovers).toBeGreaterThan(0);
  }, 120_000);
});
