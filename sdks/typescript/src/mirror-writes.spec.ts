import { describe, expect, test } from 'vitest';
import { PENDING_WRITES_MAX } from './bounds.js';
import { type Item, itemOf } from './item.js';
import { MirrorWrites } from './mirror-writes.js';
import { Overlay } from './overlay.js';
import { type EffectivePolicy, EVERYTHING } from './policy-rules.js';
import type { Written } from './writes.js';

/** A server that answers when it is told to. */
function writes() {
  const sent: { key: string; attributes: object; answer(revision: number): void }[] = [];
  const asked: ((policy: EffectivePolicy) => void)[] = [];
  const overlay = new Overlay({});
  const made = new MirrorWrites({
    host: {
      writes: {
        write: (_op: string, _collection: string, key: string, attributes: Record<string, never>) =>
          new Promise<Written>((resolve) =>
            sent.push({
              key,
              attributes,
              answer: (revision) =>
                resolve({ item: itemOf(key, revision, attributes), revision, cursor: `e-${revision}` }),
            }),
          ),
      } as never,
      effectivePolicy: () => new Promise((resolve) => asked.push(resolve)),
    },
    collection: 'c',
    onDenied: 'error',
    overlay,
    shown: (key) => overlay.over(key, undefined) as Item | undefined,
    relaid: () => {},
    at: () => ({ revision: 0, epoch: 'e' }),
    denied: () => {},
  });
  const set = (key: string, n: number, signal?: AbortSignal) => made.write('set', key, { n }, { signal });
  return { sent, asked, overlay, set, made };
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

describe('writes through a mirror', () => {
  test('that wait for the rules go on in their order, whichever of them may be cancelled', async () => {
    const { sent, asked, overlay, set } = writes();
    const all = [set('a', 1, new AbortController().signal), set('a', 2), set('a', 3, new AbortController().signal)];
    await turn();
    expect(asked).toHaveLength(1);
    asked[0]?.(EVERYTHING);
    await turn();
    expect((overlay.over('a', undefined) as Item | undefined)?.attributes).toEqual({ n: 3 });
    for (let each = 0; each < 3; each++) {
      sent[each]?.answer(each + 1);
      await turn();
    }
    await Promise.all(all);
    expect(sent.map(({ attributes }) => attributes)).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }]);
  });

  test('are of what was given then, and leave that to who gave it', async () => {
    const { sent, asked, overlay, set, made } = writes();
    void set('warm', 0);
    await turn();
    asked[0]?.(EVERYTHING);
    await turn();
    for (const op of ['set', 'merge'] as const) {
      const at = { floor: 1, none: undefined };
      const key = `a-${op}`;
      void made.write(op, key, { at } as never, {});
      at.floor = 2;
      expect(at.floor).toBe(2);
      expect((overlay.over(key, undefined) as Item | undefined)?.attributes).toStrictEqual({ at: { floor: 1 } });
      await turn();
      expect(sent.at(-1)).toMatchObject({ key, attributes: { at: { floor: 1 } } });
    }
  });

  test('that are cancelled while they wait end at once, and are never sent', async () => {
    const { sent, asked, overlay, set } = writes();
    const reason = new Error('no longer wanted');
    const early = new AbortController();
    const unruled = set('a', 0, early.signal);
    early.abort(reason);
    await expect(unruled).rejects.toBe(reason);
    await expect(set('a', 0, early.signal)).rejects.toBe(reason);
    const first = set('a', 1);
    await turn();
    asked[0]?.(EVERYTHING);
    await turn();
    const giveUp = new AbortController();
    const second = set('a', 2, giveUp.signal);
    const third = set('a', 3);
    await turn();
    giveUp.abort(reason);
    await expect(second).rejects.toBe(reason);
    expect((overlay.over('a', undefined) as Item | undefined)?.attributes).toEqual({ n: 3 });
    // Those after it wait for those before it all the same.
    expect(sent).toHaveLength(1);
    sent[0]?.answer(1);
    await first;
    await turn();
    expect(sent.map(({ attributes }) => attributes)).toEqual([{ n: 1 }, { n: 3 }]);
    sent[1]?.answer(2);
    expect(await third).toMatchObject({ revision: 2 });
  });

  test('are so many at a time, and who waits for a place may leave', async () => {
    const { sent, asked, set } = writes();
    const warm = set('warm', 0);
    await turn();
    asked[0]?.(EVERYTHING);
    await turn();
    sent[0]?.answer(1);
    await warm;
    const all = Array.from({ length: PENDING_WRITES_MAX }, (_, n) => set(`k${n}`, n));
    const giveUp = new AbortController();
    const left = set('left', 0, giveUp.signal);
    const late = [set('late', 1), set('late', 2)];
    await turn();
    expect(sent).toHaveLength(1 + PENDING_WRITES_MAX);
    giveUp.abort();
    await expect(left).rejects.toBe(giveUp.signal.reason);
    for (const [index, { answer }] of sent.entries()) answer(index + 1);
    await Promise.all(all);
    await turn();
    sent.at(-1)?.answer(2_000);
    await turn();
    sent.at(-1)?.answer(2_001);
    await Promise.all(late);
    expect(sent.slice(-2).map(({ key, attributes }) => [key, attributes])).toEqual([
      ['late', { n: 1 }],
      ['late', { n: 2 }],
    ]);
  });

  test('go on where the rules can’t be had, and they are asked for again', async () => {
    const { sent, asked, overlay, set, made } = writes();
    const first = set('a', 1);
    await turn();
    made.policyChanged();
    // The answer is to a question that is out of date.
    asked[0]?.(EVERYTHING);
    await turn();
    expect(overlay.over('a', undefined)).toBeUndefined();
    sent[0]?.answer(1);
    await first;
    void set('a', 2);
    await turn();
    expect(asked).toHaveLength(2);
  });
});
