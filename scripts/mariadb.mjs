/** A private MariaDB, from Debian's packages where there is none. */
import path from 'node:path';
import { ensureProgram, newFolder, program, startDaemon, tail } from './daemon.mjs';
import { run } from './programs.mjs';

const START_MS = 60_000;

/** @returns what `startDaemon` answers, with the server's `url`, on which databases may be made */
export async function startMariadb(log = () => {}) {
  await ensureProgram('mariadbd', ['mariadb-server'], log);
  const folder = newFolder();
  const data = path.join(folder, 'mysql');
  const asRoot = process.getuid?.() === 0 ? ['--user=root'] : [];
  const daemon = await startDaemon({
    name: 'mariadbd',
    folder,
    async prepare() {
      const { code, output } = await run(
        program('mariadb-install-db'),
        ['--no-defaults', ...asRoot, `--datadir=${data}`, '--auth-root-authentication-method=normal', '--skip-test-db'],
        { quiet: true, timeoutMs: START_MS },
      );
      if (code !== 0) throw new Error(`mariadb-install-db failed: ${tail(output)}`);
    },
    arguments: (port) => [
      program('mariadbd'),
      [
        '--no-defaults',
        ...asRoot,
        `--datadir=${data}`,
        `--port=${port}`,
        '--bind-address=127.0.0.1',
        `--socket=${path.join(folder, 's.sock')}`,
        `--pid-file=${path.join(folder, 's.pid')}`,
        '--skip-log-bin',
        '--innodb-buffer-pool-size=256M',
        '--character-set-server=utf8mb4',
        '--collation-server=utf8mb4_bin',
        '--transaction-isolation=READ-COMMITTED',
      ],
    ],
    answers,
  });
  return { ...daemon, url: `mysql://root@127.0.0.1:${daemon.port}/` };
}

/** Whether a query succeeds: the port opens before the server is ready to serve. */
async function answers(port) {
  const { createConnection } = await import('mysql2/promise');
  try {
    const connection = await createConnection({ host: '127.0.0.1', port, user: 'root', connectTimeout: 2_000 });
    await connection.query('SELECT 1');
    await connection.end();
    return true;
  } catch {
    return false;
  }
}
