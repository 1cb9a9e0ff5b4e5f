/**
 * A database whose work is told of: how long each kind of it took, and which of it the database refused. What fails for
 * another reason, a problem of the caller's, counts as work like any other.
 */
import { OutcomeUnknown, RetryTransaction, StoreUnavailable } from '../engine/ports.js';
import type { Database, Session } from './dialect.js';

type WorkKind = 'write' | 'read' | 'snapshot' | 'scan';
type DatabaseFault = 'retry' | 'outcomeUnknown' | 'unavailable';

export type DatabaseReport = (kind: WorkKind, seconds: number, fault: DatabaseFault | undefined) => void;

export class WatchedDatabase implements Database {
  readonly exclusive: boolean;
  readonly isCluster: boolean;

  constructor(
    private readonly database: Database,
    private readonly report: DatabaseReport,
  ) {
    this.exclusive = database.exclusive;
    this.isCluster = database.isCluster;
  }

  write<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return this.#watch('write', work);
  }

  snapshot<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return this.#watch('snapshot', work);
  }

  read<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return this.#watch('read', work);
  }

  scan<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return this.#watch('scan', work);
  }

  close(): Promise<void> {
    return this.database.close();
  }

  async #watch<T>(kind: WorkKind, work: (session: Session) => Promise<T>): Promise<T> {
    const began = performance.now();
    let fault: DatabaseFault | undefined;
    try {
      return await this.database[kind](work);
    } catch (error) {
      fault = faultOf(error);
      throw error;
    } finally {
      this.report(kind, (performance.now() - began) / 1000, fault);
    }
  }
}

function faultOf(error: unknown): DatabaseFault | undefined {
  if (error instanceof RetryTransaction) return 'retry';
  if (error instanceof OutcomeUnknown) return 'outcomeUnknown';
  return error instanceof StoreUnavailable ? 'unavailable' : undefined;
}
