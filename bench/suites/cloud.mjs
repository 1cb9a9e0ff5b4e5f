// Several nodes with Redis between them: what a node costs, how quick news is, how many deliveries are made, and what a killed node costs.
import deliveries from '../cloud/deliveries.mjs';
import latency from '../cloud/latency.mjs';
import recovery from '../cloud/recovery.mjs';
import scale from '../cloud/scale.mjs';
import { runParts } from './parts.mjs';

const all = { scale, latency, deliveries, recovery };
export const parts = Object.keys(all);

// Several nodes take a database that they can share.
export const run = (options) =>
  runParts(all, { ...options, names: options.names.filter((name) => name === 'stargus-mariadb') });
