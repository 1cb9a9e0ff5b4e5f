/**
 * Programs that a test needs and Debian has. One that isn't there is installed where that can be done (apt-get, as root); where it
 * can't, the test fails and says what to install: a missing program must not look like a passed test.
 */
import { ensureProgram, program } from '../../scripts/daemon.mjs';

/** How long a test's set-up may take that installs something: apt-get on a slow mirror. */
export const INSTALL_MS = 300_000;

/** The path of a program. */
export async function debianProgram(name: string, debianPackage = name): Promise<string> {
  await ensureProgram(name, [debianPackage], console.log);
  return program(name) as string;
}
