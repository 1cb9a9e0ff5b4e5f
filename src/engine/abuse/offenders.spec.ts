import { describe, expect, it } from 'vitest';
import { Offenders } from './offenders.js';

const MINUTE = 60_000;
const newOffenders = (addressesMax = 100) => new Offenders({ weightMax: 10, blockMs: MINUTE }, addressesMax);

/** Refuses so often at one moment; answers how often that made a block. */
function refuse(offenders: Offenders, times: number, now: number, address = 'a'): number {
  let blocks = 0;
  for (let i = 0; i < times; i++) if (offenders.refuse(address, 1, now)) blocks++;
  return blocks;
}

describe('offenders', () => {
  it('are blocked for a while, and nobody else is', () => {
    const offenders = newOffenders();
    expect(refuse(offenders, 9, 0)).toBe(0);
    expect([offenders.hasBlocked, offenders.blockedMs('a', 0)]).toEqual([false, 0]);
    expect(refuse(offenders, 1, 0)).toBe(1);
    expect([offenders.hasBlocked, offenders.blockedMs('a', 1), offenders.blockedMs('b', 1)]).toEqual([
      true,
      MINUTE - 1,
      0,
    ]);
    expect([offenders.count(MINUTE - 1), offenders.blockedMs('a', MINUTE), offenders.count(MINUTE)]).toEqual([1, 0, 0]);
  });

  it('are blocked for twice as long each time, up to a day, until there was peace for a day', () => {
    const offenders = newOffenders();
    let now = 0;
    const lengths: number[] = [];
    for (let i = 0; i < 12; i++) {
      expect(refuse(offenders, 10, now)).toBe(1);
      const ms = offenders.blockedMs('a', now);
      lengths.push(ms / MINUTE);
      now += ms;
    }
    expect(lengths).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1440]);
    now += 24 * 60 * MINUTE + 1;
    expect(refuse(offenders, 10, now)).toBe(1);
    expect(offenders.blockedMs('a', now)).toBe(MINUTE);
  });

  it('what weighs on an address wears off in ten minutes', () => {
    const offenders = newOffenders();
    // One a minute is borne for ever.
    for (let minute = 0; minute < 1000; minute++) expect(refuse(offenders, 1, minute * MINUTE)).toBe(0);
    refuse(offenders, 8, 1000 * MINUTE);
    expect(refuse(offenders, 9, 1010 * MINUTE)).toBe(0);
    expect(offenders.refuse('a', 1, 1010 * MINUTE)).toBe(true);
  });

  it('a heavy refusal counts for more', () => {
    const offenders = newOffenders();
    expect(offenders.refuse('a', 9, 0)).toBe(false);
    expect(offenders.refuse('a', 1, 0)).toBe(true);
  });

  it('who is blocked already is not blocked anew', () => {
    const offenders = newOffenders();
    expect(refuse(offenders, 50, 0)).toBe(1);
    expect(offenders.blockedMs('a', 0)).toBe(MINUTE);
  });

  it('nobody is blocked where nothing is too much', () => {
    const offenders = new Offenders({ weightMax: 0, blockMs: MINUTE });
    expect(refuse(offenders, 1000, 0)).toBe(0);
    expect(offenders.hasBlocked).toBe(false);
  });

  it('the one that was refused longest ago is forgotten first', () => {
    const offenders = newOffenders(3);
    refuse(offenders, 10, 0, 'a');
    for (const address of ['b', 'c']) refuse(offenders, 5, 0, address);
    refuse(offenders, 1, 0, 'a');
    refuse(offenders, 1, 0, 'd');
    expect(offenders.blockedMs('a', 0)).toBe(MINUTE);
    expect(refuse(offenders, 5, 0, 'b')).toBe(0);
    for (const address of ['x', 'y', 'z']) refuse(offenders, 1, 0, address);
    expect([offenders.blockedMs('a', 0), offenders.hasBlocked]).toEqual([0, false]);
  });
});
