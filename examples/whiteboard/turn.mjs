/**
 * A painter's turn: it asks for a lock on a region, waits until it is granted, reads, writes, and gives the lock back. Each write
 * proves the lock. What is refused is thrown, and the painter begins again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { COLLECTION, COLUMNS, cellKey, cellsIn, REGIONS } from './board.mjs';

const WAIT_MS = 10_000;
const PAUSE_MS = 300;

export async function takeTurn(session, me) {
  const { region, tints } = chooseTurn(session.copies.shapes, me.name);
  const scope = { collection: COLLECTION, prefix: `${region}/`, ...(tints && { attributes: ['colour'] }) };
  const note = `${tints ? 'colours' : 'draws in'} ${region}`;
  const held = await acquire(session, { scopes: [scope], note }, me);
  if (!held) return;
  console.log(`${me.name} ${note}, under the fence ${held.fence}`);
  await (tints ? tint : draw)(session, held, region, me);
  await session.call('DELETE', `/locks/${held.lock}`);
  session.locks.forget(held.lock);
}

/** Where somebody else drew last, if there is such a region; and sometimes only to lay another colour on it. */
function chooseTurn(shapes, name) {
  const regions = REGIONS.flat().map((region) => ({ region, by: shapes.get(cellKey(region, 0, 0))?.by }));
  const others = regions.filter(({ by }) => by !== name);
  const { region, by } = anyOf(others.length > 0 ? others : regions);
  return { region, tints: by !== undefined && Math.random() < 0.25 };
}

/** Asks for the lock and, where somebody has it, waits until the stream tells that it is ours. Undefined: not this time. */
async function acquire(session, request, { name, leaving }) {
  const body = { session: session.id, epoch: session.epoch, mode: 'exclusive', waitMs: WAIT_MS, ...request };
  const { lock, state, fence } = await session.call('POST', '/locks', { body });
  if (state === 'granted') return { lock, fence };
  console.log(`${name} waits, and then ${request.note}`);
  const outcome = await Promise.race([session.locks.outcome(lock), aborted(leaving)]);
  return outcome?.type === 'granted' ? { lock, fence: outcome.fence } : undefined;
}

/** Nobody else writes here now, so what is read stays true until we write: a plain read and a plain write make a counter. */
async function draw(session, held, region, me) {
  const before = new Map((await shapesOf(session, region)).map(({ key, attributes }) => [key, attributes.strokes]));
  const shape = { mark: me.name[0], by: me.name, colour: me.colour, turn: held.fence };
  for (let column = 0; column < COLUMNS; column += 2) {
    const ops = cellsIn(region, [column, column + 1]).map((key) => {
      const attributes = { ...shape, strokes: (before.get(key) ?? 0) + 1 };
      return { op: 'put', collection: COLLECTION, key, attributes };
    });
    await write(session, held, ops);
    me.strokes += ops.length;
    if (column === 0) me.tell({ drawing: region, fence: held.fence });
    // Whoever is waited for hurries.
    await sleep(session.locks.isWanted(held.lock) ? PAUSE_MS / 2 : PAUSE_MS);
  }
}

/** Only the colours are ours: the other attributes of the same shapes may be written by anybody meanwhile. */
async function tint(session, held, region, { colour }) {
  const shapes = await shapesOf(session, region);
  await sleep(PAUSE_MS);
  const ops = shapes.map(({ key }) => ({ op: 'merge', collection: COLLECTION, key, attributes: { colour } }));
  await write(session, held, ops);
}

/** The session's copy may be a moment behind the grant. */
async function shapesOf(session, region) {
  const { items } = await session.call('GET', `/collections/${COLLECTION}/items?prefix=${region}/&limit=1000`);
  return items;
}

/**
 * All or nothing; and nothing unless the lock is still held under this fence, for we may have stood still since it was granted. The
 * proof alone says who we are: it is what counts.
 */
function write(session, { lock, fence }, ops) {
  return session.call('POST', '/batch', { headers: {}, body: { locks: [{ lock, fence }], ops } });
}

function aborted(signal) {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

function anyOf(list) {
  return list[Math.floor(Math.random() * list.length)];
}
