import { describe, expect, it } from 'vitest';
import { AuditNotes } from './audit-notes.js';

const MINUTE = 60_000;

describe('audit notes', () => {
  it('are one for a minute, a kind and who it was', () => {
    const notes = new AuditNotes();
    for (let i = 0; i < 5; i++)
      notes.note({ kind: 'refused', pool: 'p', subject: 'ann', address: 'x', detail: `d${i}` }, MINUTE + i);
    notes.note({ kind: 'refused', pool: 'p', subject: 'ann', address: 'y' }, MINUTE + 9);
    notes.note({ kind: 'blocked', pool: 'p', subject: 'ann', address: 'x' }, MINUTE + 9);
    notes.note({ kind: 'refused', pool: 'p', subject: 'ann', address: 'x' }, 2 * MINUTE);
    notes.note({ kind: 'login', subject: 'ben', address: 'x' }, 2 * MINUTE);
    expect(notes.pools).toEqual(['p', '_server']);
    const taken = notes.take('p');
    expect(taken.map(({ kind, address, minute, count }) => [kind, address, minute / MINUTE, count])).toEqual([
      ['refused', 'x', 1, 5],
      ['refused', 'y', 1, 1],
      ['blocked', 'x', 1, 1],
      ['refused', 'x', 2, 1],
    ]);
    expect(taken[0]).toMatchObject({ detail: 'd4', firstAt: MINUTE, lastAt: MINUTE + 4 });
    expect([notes.take('p'), notes.take('nowhere')]).toEqual([[], []]);
    notes.note({ kind: 'refused', pool: 'p', subject: 'ann', address: 'x' }, MINUTE + 30);
    notes.putBack('p', taken);
    expect(notes.take('p')[0]).toMatchObject({ count: 6, firstAt: MINUTE, lastAt: MINUTE + 30 });
  });

  it('of those who are refused name some in a minute, however often they are taken', () => {
    const notes = new AuditNotes();
    let named = 0;
    let counted = 0;
    for (let round = 0; round < 10; round++) {
      for (let i = 0; i < 100; i++) notes.note({ kind: 'refused', pool: 'p', address: `${round}-${i}` }, MINUTE);
      for (const { address, count } of notes.take('p')) {
        if (address !== undefined) named++;
        counted += count;
      }
    }
    expect([named, counted]).toEqual([20, 1000]);
    notes.note({ kind: 'refused', pool: 'p', address: 'late' }, 2 * MINUTE);
    expect(notes.take('p')).toMatchObject([{ address: 'late' }]);
    // Who was admitted has keys, and is named.
    for (let i = 0; i < 100; i++) notes.note({ kind: 'login', subject: `s${i}` }, 2 * MINUTE);
    expect(notes.take('_server')).toHaveLength(100);
  });

  it('of refusals are kept in so many pools in a minute, and are told of the server beyond', () => {
    const notes = new AuditNotes();
    for (let i = 0; i < 150; i++) notes.note({ kind: 'refused', pool: `p${i}`, address: 'x' }, MINUTE);
    expect(notes.pools).toHaveLength(101);
    expect(notes.take('_server')).toMatchObject([{ count: 50 }]);
  });

  it('cut what somebody made long, and hold only so many', () => {
    const notes = new AuditNotes();
    notes.note({ kind: 'loginRefused', subject: `${'s'.repeat(254)}\ud83d\ude00`, detail: 'd'.repeat(9999) }, MINUTE);
    const [note] = notes.take('_server');
    expect([note?.subject?.length, note?.subject?.isWellFormed(), note?.detail?.length]).toEqual([255, true, 255]);
    // The database doesn't answer for an hour, and everything is held again each time.
    for (let minute = 1; minute < 60; minute++) {
      for (let i = 0; i < 1000; i++) notes.note({ kind: 'login', subject: `s${i}` }, minute * MINUTE);
      notes.putBack('_server', notes.take('_server'));
    }
    expect(notes.take('_server').length).toBeLessThanOrEqual(2000);
  });
});
