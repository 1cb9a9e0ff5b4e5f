/** Who asks. Until access control is configured there is one subject, the anonymous one, and it may do everything. */

export interface Subject {
  /** A stable name, written into the log beside what the subject did. */
  readonly id: string;
}

export const anonymous: Subject = { id: 'anonymous' };

/** Who the commits are by that nobody asked for. */
export const system: Subject = { id: 'system' };
