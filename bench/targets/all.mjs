// Every server that can be measured, by name: absent() says why one can't be started here; open(dir) gives
// {start, close?}; start(env?) gives {address, dialect, pids, readyMs, stop}, pids[0] the server itself and any database after it;
// can names what it does, everything when it says nothing.
import { freshDir, removeDir } from '../places.mjs';
import { nodeServers } from './node-servers.mjs';
import { peers } from './peers.mjs';

export const targets = { ...nodeServers, ...peers };
export const peerNames = Object.keys(peers);

// Runs work(start, dir) where start(env) starts the target in a fresh directory, again on the same data when called again after a
// stop. Of Stargus env holds variables of its configuration.
// Leaves nothing behind, whatever happens.
export async function withTarget(name, work) {
  const dir = freshDir(name);
  const started = [];
  let place;
  try {
    place = await targets[name].open(dir);
    return await work(async (env) => {
      const target = await place.start(env);
      started.push(target);
      return target;
    }, dir);
  } finally {
    for (const target of started) await target.stop();
    await place?.close?.();
    removeDir(dir);
  }
}

export function canDo(name, need) {
  return targets[name].can?.includes(need) ?? true;
}
