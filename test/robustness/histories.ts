/** The histories that are recorded and judged: what runs where, and what befalls it. Short ones, so that each has faults of its own kind. */
import type { Fault } from './faults.js';
import type { RecordingPlan } from './recording.js';

const atClients: readonly Fault[] = ['cutClients', 'slowClients', 'holeClients', 'trickleClients'];
const atDatabase: readonly Fault[] = ['cutDatabase', 'slowDatabase', 'holeDatabase', 'trickleDatabase'];
const atRedis: readonly Fault[] = ['cutRedis', 'slowRedis', 'holeRedis', 'killRedis', 'stallRedis', 'restartRedis'];

export const plans: readonly Omit<RecordingPlan, 'ms' | 'commitsMin' | 'operationsMax'>[] = [
  {
    name: 'one node on SQLite, killed, stalled and badly reached',
    ...{ database: 'sqlite', nodes: 1, clocks: true, lockWorkers: 2 },
    faults: ['killNode', 'stallNode', 'restartNode', 'stepClock', ...atClients],
  },
  {
    name: 'three nodes and a worker that are killed and stalled, their clocks set',
    ...{ database: 'mariadb', nodes: 3, workers: 1, clocks: true },
    faults: ['killNode', 'stallNode', 'restartNode', 'stepClock', ...atClients],
  },
  {
    name: 'three nodes whose MariaDB is killed, stalled and badly reached',
    ...{ database: 'mariadb', nodes: 3, lockWorkers: 2 },
    faults: ['killMariadb', 'stallMariadb', 'restartMariadb', ...atDatabase],
  },
  {
    name: 'three nodes and a worker among which everything goes wrong',
    ...{ database: 'mariadb', nodes: 3, workers: 1, clocks: true },
    faults: ['killNode', 'stallNode', 'killMariadb', 'stepClock', 'cutClients', ...atDatabase, ...atRedis],
  },
];
