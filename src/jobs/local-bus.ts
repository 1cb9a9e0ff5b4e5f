/** The bus of a node that has nobody to tell, or knows of nobody: others are found by asking the database. */
import type { Bus } from '../engine/hints.js';

export class LocalBus implements Bus {
  readonly isConnected = false;
  listener = undefined;
  tell(): void {}
  follow(): void {}
  unfollow(): void {}
}
