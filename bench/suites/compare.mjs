// The main suite: every target under the same workloads, in turn, twice and in opposite order, so that what drifts in the machine
// (its clock, its disk) falls on all alike.
import { generate } from '../generator.mjs';
import { comparisonMarkdown } from '../report.mjs';
import { canDo, withTarget } from '../targets/all.mjs';
import { fan, fullSpeed, paced, seed, troubleOf } from './loads.mjs';

// Each workload: what a target must be able to do, the generator's flags, which of its figures is the result.
export const workloads = {
  put1: { needs: 'put', unit: 'writes/s', figure: 'rate', flags: fullSpeed('put', 1) },
  put16: { needs: 'put', unit: 'writes/s', figure: 'rate', flags: fullSpeed('put', 16) },
  put64: { needs: 'put', unit: 'writes/s', figure: 'rate', flags: fullSpeed('put', 64) },
  get64: { needs: 'get', unit: 'reads/s', figure: 'rate', flags: fullSpeed('get', 64) },
  latency: { needs: 'watch', unit: 'p99 ms', figure: 'p99Ms', flags: paced },
  // Last, because what a server could not deliver yet would spoil what follows.
  fanout: {
    needs: 'watch',
    unit: 'deliveries/s',
    figure: 'deliveriesPerSecond',
    flags: { ...fan, mode: 'fanout', connections: 64 },
  },
};

export async function run({ names, workloadNames, seconds, warmSeconds, warmUpSeconds, rounds, watchers = 1000, say }) {
  const measurements = []; // {round, target, workload, …the generator's result}
  for (let round = 1; round <= rounds; round++) {
    const order = round % 2 ? names : [...names].reverse();
    for (const [index, name] of order.entries()) {
      const place = `round ${round}/${rounds}, target ${index + 1}/${order.length}`;
      try {
        await measureTarget(name, (measurement) => {
          const { figure, unit } = workloads[measurement.workload];
          const text = measurement[figure].toFixed(figure === 'rate' ? 0 : 1);
          say(`${place}: ${name} ${measurement.workload} ${text} ${unit}${troubleOf(measurement)}`);
          measurements.push({ round, ...measurement });
        });
      } catch (error) {
        say(`${place}: ${name} FAILED: ${error.message}`);
        measurements.push({ round, target: name, failed: error.message });
      }
    }
  }
  return { measurements, markdown: comparisonMarkdown(measurements) };

  async function measureTarget(name, keep) {
    const mine = workloadNames.filter((workload) => canDo(name, workloads[workload].needs));
    await withTarget(name, async (start) => {
      const target = await start();
      await seed(target);
      // What has just started is still being compiled: every target is measured as one that has been up for a while.
      if (canDo(name, 'put')) await generate(target, { ...fullSpeed('put', 64), seconds: warmUpSeconds, warm: 0 });
      if (canDo(name, 'get')) await generate(target, { ...fullSpeed('get', 64), seconds: warmUpSeconds / 2, warm: 0 });
      for (const workload of mine) {
        const { flags, needs } = workloads[workload];
        const result = await generate(target, {
          ...flags,
          seconds,
          warm: warmSeconds,
          ...(needs === 'watch' && { watchers }),
        });
        keep({ target: name, workload, ...result });
      }
    });
  }
}
