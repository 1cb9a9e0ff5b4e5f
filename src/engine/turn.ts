/** Lets others have their turn on the event loop: what a database answers at once would otherwise go on without a pause. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
