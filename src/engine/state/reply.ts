/** An answer as it was or will be sent, for repetition. */
export interface Reply {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: string;
}
