/** What the deployments say to Stargus, judged by Stargus itself. */
import { readConfig, variables } from '../../src/platform/config.js';

/** ── The last merger empties this list: variables that other branches of this release add to src/platform/config.ts. ── */
const COMING: readonly string[] = ['STARGUS_REDIS_URL', 'STARGUS_ROLE'];

/** What is wrong with the environment of a process, as its start would say it; empty where nothing is. */
export function faultsOf(environment: Readonly<Record<string, string>>): string[] {
  const known = Object.entries(environment).filter(
    ([name]) => !COMING.includes(name) || Object.hasOwn(variables, name),
  );
  try {
    return readConfig(Object.fromEntries(known)).warnings;
  } catch (error) {
    return [(error as Error).message];
  }
}
