/** The histories that are recorded and judged: what runs where, and what befalls it. Short ones, so that each has faults of its own kind. */
import type { EntitledPlan } from './entitled-history.js';
import type { Fault } from './faults.js';
import type { RecordingPlan } from './recording.js';

const atClients: readonly Fault[] = ['cutClients', 'slowClients', 'holeClients', 'trickleClients'];
const atDatabase: readonly Fault[] = ['cutDatabase', 'slowDatabase', 'holeDatabase', 'trickleDatabase'];
const atRedis: readonly Fault[] = ['cutRedis', 'slowRedis', 'holeRedis', 'killRedis', 'stallRedis', 'restartRedis'];

export const plans: readonly Omit<RecordingPlan, 'ms' | 'commitsMin' | 'answersMax'>[] = [
  {
    name: 'one node on SQLite',
    // Without locks: leases are measured by the machine's clock there, and one that is set back makes them last.
    ...{ database: 'sqlite', nodes: 1, clocks: true },
    faults: ['killNode', 'stallNode', 'restartNode', 'stepClock', ...atClients],
  },
  {
    name: 'three nodes, killed and stalled',
    ...{ database: 'mariadb', nodes: 3, workers: 1, clocks: true, lockWorkers: 2 },
    faults: ['killNode', 'stallNode', 'restartNode', 'stepClock', ...atClients],
  },
  {
    name: 'three nodes, badly stored',
    ...{ database: 'mariadb', nodes: 3, lockWorkers: 2 },
    faults: ['killMariadb', 'stallMariadb', 'restartMariadb', ...atDatabase],
  },
  {
    name: 'three nodes, and everything',
    ...{ database: 'mariadb', nodes: 3, workers: 1, clocks: true },
    faults: ['killNode', 'stallNode', 'killMariadb', 'stepClock', 'cutClients', ...atDatabase, ...atRedis],
  },
];

export const entitled: Omit<EntitledPlan, 'ms' | 'writesMin'> = {
  ...{ database: 'mariadb', nodes: 3 },
  faults: ['killNode', 'stallNode', 'cutClients', 'holeClients', 'killMariadb', 'cutDatabase'],
};
