/**
 * Histories with faults (test/robustness/README.md), one after another for minutes: STARGUS_TEST_SOAK_MINUTES says how long (10). Each has a
 * seed of its own, which is printed; the first is STARGUS_TEST_SEED where that is set.
 */
import { rmSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Services } from '../robustness/cluster.js';
import { watchEntitled } from '../robustness/entitled-history.js';
import { entitled, plans } from '../robustness/histories.js';
import { buildJudge, expectSound, judge } from '../robustness/judging.js';
import { seedOfRun } from '../robustness/random.js';
import { record } from '../robustness/recording.js';

const TIME_MS = Number(process.env.STARGUS_TEST_SOAK_MINUTES ?? 10) * 60_000;
/** Longer than in `npm test`, but no longer than the judges can search through. */
const BOUNDS = { ms: 25_000, commitsMin: 400, answersMax: 6_000 };

let services: Services | undefined;
beforeAll(async () => {
  void buildJudge().catch(() => undefined);
  services = await Services.start();
}, 300_000);
afterAll(() => services?.close());

test('histories with faults, for minutes', { timeout: 5 * TIME_MS + 600_000 }, async () => {
  const end = Date.now() + TIME_MS;
  for (let round = 0, seed = seedOfRun(); Date.now() < end; round++, seed++) {
    const plan = plans[round % (plans.length + 1)];
    if (!plan) {
      console.log(`STARGUS_TEST_SEED=${seed} entitled`);
      const { told } = await watchEntitled(
        { ...entitled, ms: BOUNDS.ms, writesMin: BOUNDS.commitsMin },
        seed,
        services,
      );
      expect(told).toBeGreaterThan(0);
      continue;
    }
    console.log(`STARGUS_TEST_SEED=${seed} ${plan.name}`);
    const { folder, locks, faults } = await record({ ...plan, ...BOUNDS }, seed, services);
    const verdict = await judge(folder);
    console.log(JSON.stringify({ ...verdict, faults, locks }));
    expectSound(folder, verdict, seed);
    expect(locks?.faults ?? []).toEqual([]);
    rmSync(folder, { recursive: true, force: true });
  }
});
