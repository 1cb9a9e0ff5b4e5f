/**
 * Histories of real traffic against one node and three, with faults drawn at random: linearizable, and told to watchers in order,
 * once, whole and without a gap, by the judgement of porcupine, of etcd's validators and of our own (judge/). README.md says how
 * a failure is replayed.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Services } from './cluster.js';
import { watchEntitled } from './entitled-history.js';
import { entitled, plans } from './histories.js';
import { buildJudge, expectSound, judge } from './judging.js';
import { seedOfRun } from './random.js';
import { record } from './recording.js';

/** A history takes seconds; on a machine that has much else to do, minutes. */
const LIMIT_MS = 1_500_000;
const BOUNDS = { ms: 8_000, commitsMin: 130, answersMax: 2_500 };

let services: Services | undefined;
beforeAll(async () => {
  // It takes a minute the first time: meanwhile a history is recorded.
  void buildJudge().catch(() => undefined);
  services = await Services.start();
});
afterAll(() => services?.close());

describe.each(plans)('$name', (plan) => {
  test('is strictly serializable and watched without a gap', { timeout: LIMIT_MS }, async () => {
    const seed = seedOfRun();
    console.log(`STARGUS_TEST_SEED=${seed} ${plan.name}`);
    const recording = await record({ ...plan, ...BOUNDS }, seed, services);
    const verdict = await judge(recording.folder);
    const { faults, ...found } = verdict;
    console.log(JSON.stringify({ ...found, faults: recording.faults, locks: recording.locks }));
    expectSound(recording.folder, verdict, seed);
    expect(recording.locks?.faults ?? []).toEqual([]);
    // What didn't happen proves nothing.
    for (const fault of plan.faults) expect(recording.faults[fault], fault).toBeGreaterThan(0);
    expect(found.commits).toBeGreaterThan(100);
    expect(found.refused).toBeGreaterThan(5);
    expect(found.resumed).toBeGreaterThan(20);
  });
});

test('three nodes: subjects are told what they may know, and nothing else', { timeout: LIMIT_MS }, async () => {
  const seed = seedOfRun();
  console.log(`STARGUS_TEST_SEED=${seed} entitled`);
  const report = await watchEntitled({ ...entitled, ms: BOUNDS.ms, writesMin: 100 }, seed, services);
  console.log(JSON.stringify(report));
  for (const fault of entitled.faults) expect(report.faults[fault], fault).toBeGreaterThan(0);
  expect(report.told).toBeGreaterThan(100);
  expect(report.connections).toBeGreaterThan(20);
});
