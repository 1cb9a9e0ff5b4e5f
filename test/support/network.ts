/** A network of two machines for a test: two network namespaces of Linux with a cable between, which only root may make. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { debianProgram } from './debian.js';

export const ADDRESSES = ['10.77.0.1', '10.77.0.2'] as const;

export interface Network {
  /** The words before a command that have it run on machine 0 or 1. */
  on(machine: 0 | 1): string[];
  remove(): void;
}

/** @throws Error that says so where the one who runs the tests may not make networks */
export async function makeNetwork(): Promise<Network> {
  const id = randomBytes(3).toString('hex');
  const names = [`sg-${id}-0`, `sg-${id}-1`] as const;
  const program = await debianProgram('ip', 'iproute2');
  const ip = (...args: string[]) => execFileSync(program, args, { stdio: 'pipe' });
  const remove = () => {
    for (const name of names) {
      try {
        ip('netns', 'delete', name);
      } catch {
        // It was never made.
      }
    }
  };
  try {
    for (const name of names) {
      ip('netns', 'add', name);
      ip('-n', name, 'link', 'set', 'lo', 'up');
    }
    ip('link', 'add', `v${id}0`, 'netns', names[0], 'type', 'veth', 'peer', 'name', `v${id}1`, 'netns', names[1]);
    names.forEach((name, i) => {
      ip('-n', name, 'addr', 'add', `${ADDRESSES[i]}/24`, 'dev', `v${id}${i}`);
      ip('-n', name, 'link', 'set', `v${id}${i}`, 'up');
    });
  } catch (error) {
    remove();
    const { stderr, message } = error as Error & { stderr?: Buffer };
    throw new Error(`No network namespaces could be made; that takes root, and iproute2: ${stderr ?? message}`);
  }
  return { on: (machine) => [program, 'netns', 'exec', names[machine]], remove };
}
