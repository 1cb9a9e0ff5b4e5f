/** Why a command failed, for the operator: what the database says, not that the store would like to try again. */
import { RetryTransaction, StoreUnavailable } from '../engine/ports.js';

export function reasonOf(error: unknown): string {
  const isWrapped = error instanceof StoreUnavailable || error instanceof RetryTransaction;
  const reason = isWrapped ? error.reason : error;
  return reason instanceof Error ? reason.message : String(reason);
}
