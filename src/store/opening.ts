/** Opens a database that is to be filled from a backup, of either kind. */
import { pathOf } from './reading.js';
import type { Restoring } from './restoring.js';
import { openServerForRestoring } from './restoring-mysql.js';
import { openFileForRestoring } from './restoring-sqlite.js';

/** Refuses where somebody else uses the database, as far as can be seen. */
export function openForRestoring(url: string): Promise<Restoring> {
  return url.startsWith('sqlite:') ? openFileForRestoring(pathOf(url)) : openServerForRestoring(url);
}
