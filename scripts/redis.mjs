/** A private Redis, from Debian's packages where there is none: it keeps what it has been told, as it should be run for BullMQ. */
import { connect } from 'node:net';
import path from 'node:path';
import { ensureProgram, newFolder, program, startDaemon } from './daemon.mjs';

/** @returns what `startDaemon` answers, with the server's `url` */
export async function startRedis(log = () => {}) {
  await ensureProgram('redis-server', ['redis-server'], log);
  const folder = newFolder();
  const daemon = await startDaemon({
    name: 'redis-server',
    folder,
    arguments: (port) => [
      program('redis-server'),
      [
        ...['--port', String(port), '--bind', '127.0.0.1', '--dir', folder],
        ...['--pidfile', path.join(folder, 's.pid'), '--daemonize', 'no'],
        ...['--save', '', '--appendonly', 'yes', '--maxmemory-policy', 'noeviction'],
      ],
    ],
    answers,
  });
  return { ...daemon, url: `redis://127.0.0.1:${daemon.port}` };
}

/** Whether it answers PONG: while it reads its file it says that it is loading. */
function answers(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'));
    const done = (is) => {
      socket.destroy();
      resolve(is);
    };
    socket.setTimeout(2_000, () => done(false));
    socket.once('data', (data) => done(data.toString().startsWith('+PONG'))).once('error', () => done(false));
  });
}
