import { describe, expect, it } from 'vitest';
import { OutcomeUnknown, type Store, type Telemetry, type UsageCount } from '../ports.js';
import type { Committer } from '../state/committer.js';
import type { Replicas } from '../state/replicas.js';
import { Metering } from './metering.js';

const HOUR = 3600 * 1000;

/** A metering of the pools `p` and `q` on a store that keeps what it is given, unless it is told to fail. */
function world() {
  const noted: UsageCount[] = [];
  const folded: string[] = [];
  const asked: number[] = [];
  const warnings: string[] = [];
  const failing: { notes?: Error; folds?: Error; until?: Promise<void> } = {};
  const replicas = new Map(['p', 'q'].map((name, i) => [name, { name, id: i + 1, epoch: 'e' }]));
  const store = {
    now: async () => 10 * HOUR,
    usedPools: async (time: number) => {
      asked.push(time);
      return ['p', 'q'];
    },
    addUsage: async (counts: readonly UsageCount[]) => {
      if (failing.notes) throw failing.notes;
      noted.push(...counts);
    },
  };
  const committer = {
    submit: async (pool: string) => {
      if (failing.folds && pool === 'p') throw failing.folds;
      folded.push(pool);
      await failing.until;
      // Of `q` there is more than one commit takes.
      return { answer: { more: pool === 'q' && folded.filter((each) => each === 'q').length < 3 } };
    },
  };
  const known = (name: string) => replicas.get(name);
  const metering = new Metering(
    store as unknown as Store,
    { known, find: async (name: string) => known(name), all: () => replicas.values() } as unknown as Replicas,
    committer as unknown as Committer,
    { warn: (message: string) => warnings.push(message) } as unknown as Telemetry,
    { now: () => 0 },
    { usageMs: 1000 },
  );
  return { metering, noted, folded, asked, warnings, failing };
}

describe('metering', () => {
  it('notes what was counted before it brings it into items, in as many commits as it takes', async () => {
    const { metering, noted, folded } = world();
    metering.request('q', 'ann', true, 1, 1);
    await metering.bringUp('q');
    expect(noted).toMatchObject([{ poolId: 2, subject: 'ann', requests: 1 }]);
    expect(folded).toEqual(['q', 'q', 'q']);
    await metering.bringUp('nowhere');
    expect(folded).toHaveLength(3);
  });

  it('counts for who comes while it is being brought up, too', async () => {
    const { metering, noted, folded, failing } = world();
    let release = () => {};
    failing.until = new Promise((resolve) => (release = resolve));
    const first = metering.bringUp('p');
    await expect.poll(() => folded).toEqual(['p']);
    metering.request('p', 'ann', false, 1, 1);
    const later = [metering.bringUp('p'), metering.bringUp('p')];
    release();
    await Promise.all([first, ...later]);
    expect(noted).toMatchObject([{ requests: 1 }]);
    expect(folded).toEqual(['p', 'p']);
  });

  it('sweeps pools that nobody has looked at for an hour, each for itself', async () => {
    const { metering, asked, folded, failing, warnings } = world();
    failing.folds = new Error('no database');
    await metering.sweep(async () => true);
    expect(asked).toEqual([9 * HOUR]);
    expect(folded).toEqual(['q', 'q', 'q']);
    expect(warnings).toHaveLength(1);
    await metering.sweep(async () => false);
    expect(folded).toHaveLength(3);
  });

  it('keeps what could not be noted, and loses rather than doubles what may have been', async () => {
    const { metering, noted, failing, warnings } = world();
    metering.request('p', 'ann', false, 1, 1);
    failing.notes = new Error('no database');
    await metering.bringUp('p');
    expect({ noted, warnings: warnings.length }).toEqual({ noted: [], warnings: 1 });
    failing.notes = new OutcomeUnknown(undefined);
    metering.request('q', 'ann', false, 1, 1);
    await metering.bringUp('p');
    delete failing.notes;
    metering.request('p', 'ann', false, 5, 5);
    await metering.close();
    expect(noted).toMatchObject([{ poolId: 1, requests: 1, bytesIn: 5 }]);
  });
});
