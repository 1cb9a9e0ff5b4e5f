/** What the deployments say to Stargus, judged by Stargus itself. */
import { readConfig } from '../../src/platform/config.js';

/** What is wrong with the environment of a process, as its start would say it; empty where nothing is. */
export function faultsOf(environment: Readonly<Record<string, string>>): string[] {
  try {
    return readConfig(environment).warnings;
  } catch (error) {
    return [(error as Error).message];
  }
}
