/**
 * The board: regions of cells. Each cell is an item whose key begins with its region, so that one prefix names a region:
 * `b2/07` is row 0, column 7 of region b2.
 */
export const POOL = 'studio';
export const COLLECTION = 'shapes';
export const REGIONS = [
  ['a1', 'a2'],
  ['b1', 'b2'],
];
export const ROWS = 3;
export const COLUMNS = 8;

export function cellKey(region, row, column) {
  return `${region}/${row}${column}`;
}

/** The cells of some columns of a region, from top to bottom. */
export function cellsIn(region, columns) {
  const rows = Array.from({ length: ROWS }, (_, row) => row);
  return columns.flatMap((column) => rows.map((row) => cellKey(region, row, column)));
}

export function regionOf(key) {
  return key.slice(0, key.indexOf('/'));
}
