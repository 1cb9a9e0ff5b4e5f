/**
 * Watching and crashing for minutes instead of seconds: what goes wrong once in a hundred thousand writes. Excluded unless
 * STARGUS_TEST_SOAK=1; STARGUS_TEST_SOAK_MINUTES says how long each part runs on each database (2).
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Client, pause, until } from '../robustness/client.js';
import { crashAgainAndAgain } from '../robustness/crash.js';
import { Load, type Write, write } from '../robustness/load.js';
import { checkLives, type Variant, Watcher } from '../robustness/watcher.js';
import { databases, startServer } from '../support/server.js';

const MINUTES = Number(process.env.STARGUS_TEST_SOAK_MINUTES ?? 2);
const TIME_MS = MINUTES * 60_000;
/** What ends a round and compares takes as long again at worst. */
const LIMIT_MS = 3 * TIME_MS + 120_000;

describe.each(databases)('for $name, minutes', ({ name }) => {
  test(
    'of killing',
    async () => {
      const end = Date.now() + TIME_MS;
      for (let round = 0; Date.now() < end; round++) {
        const plan = {
          database: name,
          crashes: 20,
          writers: 2 + (round % 8),
          counters: 1 + (round % 4),
          loadMsMax: 100 * (1 + (round % 10)),
          acknowledgedMin: 1,
        };
        const report = await crashAgainAndAgain({ ...plan, random: Math.random });
        expect(report.unanswered + report.repeated).toBeGreaterThan(5);
      }
    },
    LIMIT_MS,
  );

  test(
    'of watching, with connections that are cut, servers that are killed, and a history that is forgotten',
    async () => {
      const env = { STARGUS_HISTORY_COMMITS: '300', STARGUS_SWEEP: '1s' };
      const end = Date.now() + TIME_MS;
      let server = await startServer({ database: name, env });
      const client = new Client(() => server.url);
      let resets = 0;
      for (let round = 0; Date.now() < end; round++) {
        const pool = `soak-${round}`;
        await client.ok(`PUT /v1/pools/${pool}`);
        const load = new Load(client, pool);
        const watchers = (fc.sample(variant, { numRuns: 40 }) as Variant[]).map((each, i) => {
          const cuts = fc.sample(fc.integer({ min: 1, max: 40 }), { numRuns: 30 });
          return new Watcher(() => server.url, pool, each, cuts, undefined, i % 4 === 3 ? 1500 : 0).start();
        });
        let writing = true;
        const writers = [0, 1, 2, 3].map(async (own) => {
          for (const each of fc.sample(write(), { numRuns: 10_000, seed: round * 10 + own }) as Write[]) {
            if (!writing) return;
            await load.write(each);
            if (own > 0) await pause(own * 3);
          }
        });
        await pause(8000);
        writing = false;
        await Promise.all(writers);
        // Between rounds of writing, so that each write's fate is known; the watchers find it out by themselves.
        if (round % 2) {
          await server.kill();
          server = await startServer({ database: name, databaseUrl: server.databaseUrl, env });
        }
        await load.write([{ op: 'put', collection: 'c1', key: 'last', extra: 0 }]);
        const { revision } = load;
        for (const watcher of watchers) {
          await until(
            () => `${watcher.name} is at ${watcher.reached} of ${revision}`,
            () => watcher.failure !== undefined || watcher.reached >= revision,
            60_000,
          );
          await watcher.stop();
          resets += watcher.resets.length;
        }
        const { model, stateAt } = load.truth(
          watchers.flatMap(({ lives }) => lives.flatMap(({ after, reached }) => [after ?? 0, reached])),
        );
        for (const watcher of watchers) checkLives(watcher, model.commits, stateAt);
      }
      expect(resets).toBeGreaterThan(0);
      client.close();
      await server.stop();
    },
    LIMIT_MS,
  );
});

const variant: fc.Arbitrary<Variant> = fc.record({
  kind: fc.constantFrom('attach' as const, 'feed' as const),
  collection: fc.constant('c1'),
  prefix: fc.option(fc.constantFrom('a', 'b/', '😀'), { nil: undefined }),
  fields: fc.option(fc.constantFrom(['n'], ['m', 's']), { nil: undefined }),
  values: fc.constantFrom('changed' as const, 'full' as const, 'none' as const),
});
