/**
 * Stops a painter in the middle of a turn, for longer than its lease, and lets it go on. It isn't told and notices nothing, as
 * with a laptop's lid, a debugger or a machine that stands still; so it goes on with its turn, and is refused.
 */
import { on } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { COLLECTION } from './board.mjs';

const LOOK_MS = 200;
/** How long others get for drawing where it drew. */
const OTHERS_MS = 8000;

/** Resolves when the painter was refused, and draws again. Once more, if its turn was over before it stood still. */
export async function pauseInTurn(stargus, { name, child }, say, signal) {
  let refused = false;
  for await (const [message] of on(child, 'message', { signal, close: ['exit'] })) {
    if (message.refused) refused ||= message.refused === 'lockLost';
    else if (message.drawing && refused) return;
    else if (message.drawing) {
      say(`${name} is stopped in the middle of its turn`);
      await standStill(stargus, name, child, message, signal);
      say(`${name} is let go on`);
    }
  }
  throw new Error(`${name} ended before it was refused.`);
}

async function standStill(stargus, name, child, { drawing, fence }, signal) {
  child.kill('SIGSTOP');
  try {
    while (await isThere(stargus, name)) await sleep(LOOK_MS, undefined, { signal });
    for (let ms = 0; ms < OTHERS_MS && !(await isDrawnIn(stargus, drawing, fence)); ms += LOOK_MS)
      await sleep(LOOK_MS, undefined, { signal });
  } finally {
    child.kill('SIGCONT');
  }
}

async function isThere(stargus, name) {
  try {
    return Boolean(await stargus.call('GET', `/sessions/${name}`));
  } catch (error) {
    if (error.problem?.code === 'notFound') return false;
    throw error;
  }
}

/** Whether somebody drew in the region under a later lock. */
async function isDrawnIn(stargus, region, fence) {
  const where = encodeURIComponent(JSON.stringify({ turn: { gt: fence } }));
  const { items } = await stargus.call(
    'GET',
    `/collections/${COLLECTION}/items?prefix=${region}/&limit=1&where=${where}`,
  );
  return items.length > 0;
}
