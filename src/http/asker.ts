/** Who waits for an answer over HTTP, and may leave before it is there. */
import type { Asker } from '../engine/watch/watching.js';
import type { Call } from './route.js';

/** The client of a request, who may leave while it waits. */
export function askerOf({ request, reply }: Call): Asker {
  let leaving: (() => void) | undefined;
  reply.raw.once('close', () => leaving?.());
  return {
    get gone() {
      return request.raw.socket.destroyed;
    },
    onClose(listener) {
      leaving = listener;
    },
  };
}
