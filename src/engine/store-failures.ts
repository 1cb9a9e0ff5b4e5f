/** How a store fails, as its port says (ports.ts). */

/** The database asks to repeat the transaction; nothing of it was applied. */
export class RetryTransaction extends Error {
  constructor(readonly reason: unknown) {
    super('The database asks to repeat the transaction');
    this.name = 'RetryTransaction';
  }
}

/** The connection broke while the transaction was being committed: it may or may not have been applied. */
export class OutcomeUnknown extends Error {
  constructor(readonly reason: unknown) {
    super('The connection broke while the transaction was being committed');
    this.name = 'OutcomeUnknown';
  }
}

/** The database can't be reached or refuses to work. */
export class StoreUnavailable extends Error {
  constructor(readonly reason: unknown) {
    super(`The database is unavailable: ${reason instanceof Error ? reason.message : String(reason)}`);
    this.name = 'StoreUnavailable';
  }
}
