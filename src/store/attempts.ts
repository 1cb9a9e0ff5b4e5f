/** Short transactions of the store's own, tried again where the database asks to repeat them. */
import { limits } from '../engine/limits.js';
import { RetryTransaction } from '../engine/ports.js';
import type { Database, Session } from './dialect.js';

/** Runs the work in a transaction until it has gone through; rejects with `RetryTransaction` where others are always in the way. */
export async function writeAttempted<T>(database: Database, work: (session: Session) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await database.write(work);
    } catch (error) {
      if (!(error instanceof RetryTransaction) || attempt >= limits.transactionAttemptsMax) throw error;
      await new Promise((resolve) => setTimeout(resolve, Math.random() * limits.groupAttemptPauseMs));
    }
  }
}
