/**
 * A page that shows the queues to operators: Bull Board, read-only, for what is queued is only hints and nobody has to mend it. Who
 * may look is decided by whoever mounts it.
 */
import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { FastifyAdapter } from '@bull-board/fastify';
import type { Queue } from 'bullmq';

/** What it loads: its own files and nothing from elsewhere. */
export const BOARD_POLICY =
  "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'self'; frame-ancestors 'none'";

/** A Fastify plugin that serves the page below `path`. */
export function boardOf(queues: readonly Queue[], path: string): ReturnType<FastifyAdapter['registerPlugin']> {
  const server = new FastifyAdapter();
  server.setBasePath(path);
  createBullBoard({
    queues: queues.map((queue) => new BullMQAdapter(queue, { readOnlyMode: true, allowRetries: false })),
    serverAdapter: server,
    options: { uiConfig: { boardTitle: 'Stargus queues' } },
  });
  return server.registerPlugin();
}
