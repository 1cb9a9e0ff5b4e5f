/** Tells on standard error how far a command is, so that what it prints stays what it was asked for. */

/** A terminal is told in one line that is overwritten, a log in a line now and then. */
const EVERY_MS = process.stderr.isTTY ? 200 : 10_000;

export class Progress {
  #toldAt = Date.now();
  #isOpen = false;

  /** A moment in what is being done; most of them are not told. */
  at(text: string): void {
    const now = Date.now();
    if (now - this.#toldAt < EVERY_MS) return;
    this.#toldAt = now;
    if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`);
    else process.stderr.write(`${text}\n`);
    this.#isOpen = process.stderr.isTTY;
  }

  /** Something that is told in any case. */
  say(text: string): void {
    this.clear();
    process.stderr.write(`${text}\n`);
  }

  /** Before something else is printed. */
  clear(): void {
    if (this.#isOpen) process.stderr.write('\r\u001b[K');
    this.#isOpen = false;
  }
}

export function countText(count: number, [one, many]: readonly [string, string]): string {
  return `${count.toLocaleString('en')} ${count === 1 ? one : many}`;
}
