/** The flights, from the npm package vega-datasets, as items of a collection: a key and attributes. */
import { readFileSync } from 'node:fs';

export const POOL = 'air';
export const COLLECTION = 'flights';

/** In the order of the time of day. */
const FILE = '../data/flights-200k.json';

/**
 * All flights, or about `limit` of them, spread evenly over the day.
 *
 * The data has no ids, and flights that are alike in everything: the number of a row is its key, in as many digits as all have,
 * so that keys order as rows do and a second import puts the same items.
 *
 * @throws Error when the data isn't installed
 */
export function readFlights({ limit }) {
  const rows = readData();
  const step = Math.max(1, Math.ceil(rows.length / limit));
  return rows
    .map((attributes, row) => ({ key: String(row).padStart(6, '0'), attributes }))
    .filter((_flight, row) => row % step === 0);
}

function readData() {
  try {
    return JSON.parse(readFileSync(new URL(FILE, import.meta.resolve('vega-datasets')), 'utf8'));
  } catch (error) {
    if (error.code !== 'ERR_MODULE_NOT_FOUND' && error.code !== 'ENOENT') throw error;
    throw new Error('The package vega-datasets is missing: run `npm ci` first, or `npm start`, which does.');
  }
}
