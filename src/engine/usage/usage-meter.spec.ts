import { describe, expect, it } from 'vitest';
import { limits } from '../limits.js';
import { UsageMeter } from './usage-meter.js';

const MINUTE = 60_000;
const meterOf = (pools: Record<string, number> = { p: 1, q: 2 }) => new UsageMeter((pool) => pools[pool]);
const nothing = { requests: 0, writes: 0, bytesIn: 0, bytesOut: 0, streamMs: 0, refusals: 0, blocks: 0 };

describe('the meter', () => {
  it('adds up what each subject uses of each pool, until it is taken', () => {
    const meter = meterOf();
    meter.request('p', 'ann', true, 10, 1);
    meter.request('p', 'ann', false, 0, 100);
    meter.request('p', 'ben', false, 0, 5);
    meter.request('q', 'ann', false, 0, 7);
    const taken = meter.take();
    expect(taken).toEqual([
      { ...nothing, poolId: 1, subject: 'ann', requests: 2, writes: 1, bytesIn: 10, bytesOut: 101 },
      { ...nothing, poolId: 1, subject: 'ben', requests: 1, bytesOut: 5 },
      { ...nothing, poolId: 2, subject: 'ann', requests: 1, bytesOut: 7 },
    ]);
    expect(meter.take()).toEqual([]);
    meter.request('p', 'ann', true, 1, 1);
    meter.putBack(taken);
    expect(meter.take()[0]).toMatchObject({ subject: 'ann', requests: 3, writes: 2, bytesIn: 11, bytesOut: 102 });
  });

  it('counts nothing of a pool that is not there', () => {
    const meter = meterOf();
    meter.request('nowhere', 'ann', true, 10, 10);
    meter.stream('nowhere', 'ann', () => 5, 0)(MINUTE, true);
    expect(meter.take()).toEqual([]);
  });

  it('counts a stream by the minute and at its end, each stretch once', () => {
    const meter = meterOf();
    let sent = 1000;
    const end = meter.stream('p', 'ann', () => sent, 500);
    sent += 10;
    meter.countStreams(500 + MINUTE - 1);
    expect(meter.take()).toEqual([]);
    meter.countStreams(500 + MINUTE);
    expect(meter.take()).toEqual([{ ...nothing, poolId: 1, subject: 'ann', bytesOut: 10, streamMs: MINUTE }]);
    sent += 5;
    meter.countStreams(500 + MINUTE + 10);
    end(500 + MINUTE + 20, true);
    end(500 + 3 * MINUTE, true);
    meter.countStreams(500 + 3 * MINUTE);
    expect(meter.take()).toEqual([{ ...nothing, poolId: 1, subject: 'ann', bytesOut: 5, streamMs: 20 }]);
    meter.stream('p', 'ann', () => sent, 0)(MINUTE, false);
    expect(meter.take()).toEqual([]);
  });

  it('holds so many pairs and no more', () => {
    const meter = meterOf();
    for (let i = 0; i < limits.usageCountersMax + 10; i++) meter.request('p', `s${i}`, false, 0, 1);
    meter.request('p', 's0', false, 0, 1);
    const taken = meter.take();
    expect(taken).toHaveLength(limits.usageCountersMax);
    expect(taken[0]).toMatchObject({ subject: 's0', requests: 2 });
    meter.request('p', 'late', false, 0, 1);
    expect(meter.take()).toMatchObject([{ subject: 'late' }]);
  });

  it('counts who is refused: subjects, and of addresses some by name', () => {
    const meter = new UsageMeter(() => 1);
    const DAY = 24 * 60 * MINUTE;
    for (let i = 0; i < 150; i++) meter.refusal('p', { address: `a${i}` }, i === 0, 0);
    meter.refusal('p', { address: 'a0' }, false, 0);
    meter.refusal('p', { subject: 'ann' }, false, 0);
    const counted = new Map(meter.take().map(({ subject, refusals, blocks }) => [subject, { refusals, blocks }]));
    expect(counted.size).toBe(102);
    expect(counted.get('address:a0')).toEqual({ refusals: 2, blocks: 1 });
    expect(counted.get('address:others')).toEqual({ refusals: 50, blocks: 0 });
    expect(counted.get('ann')).toEqual({ refusals: 1, blocks: 0 });
    // The bound is of the day, however often it is taken.
    meter.refusal('p', { address: 'new' }, false, DAY - 1);
    meter.refusal('p', { address: 'new' }, false, DAY);
    expect(meter.take().map(({ subject }) => subject)).toEqual(['address:others', 'address:new']);
  });
});
