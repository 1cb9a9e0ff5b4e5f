/**
 * A collection on a terminal, drawn anew when it changes, at most ten times a second, on the terminal's other screen so that what was there
 * before comes back. What changed a moment ago is marked.
 */
import type { Output } from './output.js';
import { columnsOf, type Row, shown, tableOf } from './table.js';

const DRAW_EVERY_MS = 100;
const MARKED_MS = 1500;
const OTHER_SCREEN = '\u001b[?1049h\u001b[?25l';
const FORMER_SCREEN = '\u001b[?25h\u001b[?1049l';
const HOME = '\u001b[H';
const CLEAR_LINE = '\u001b[K';
const CLEAR_BELOW = '\u001b[J';

/** What it draws: asked at each drawing. */
export interface Shown {
  readonly title: string;
  rows(): Iterable<Row>;
  size(): number;
  revision(): number;
  isLive(): boolean;
}

export class LiveTable {
  readonly #marked = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  #drawn = 0;
  #isOpen = false;

  constructor(
    private readonly output: Output,
    private readonly about: Shown,
  ) {}

  open(): void {
    this.#isOpen = true;
    process.stdout.write(OTHER_SCREEN);
    process.stdout.on('resize', this.draw);
    // However the program ends.
    process.on('exit', this.close);
    this.draw();
  }

  readonly close = (): void => {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    clearTimeout(this.#timer);
    process.stdout.off('resize', this.draw);
    process.off('exit', this.close);
    process.stdout.write(FORMER_SCREEN);
  };

  /** This item is different now. */
  changed(key: string): void {
    this.#marked.set(key, performance.now());
    this.touch();
  }

  touch(): void {
    if (!this.#isOpen || this.#timer) return;
    const wait = Math.max(0, DRAW_EVERY_MS - (performance.now() - this.#drawn));
    this.#timer = setTimeout(this.draw, wait);
  }

  readonly draw = (): void => {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (!this.#isOpen) return;
    this.#drawn = performance.now();
    process.stdout.write(
      `${HOME}${this.#lines()
        .map((line) => `${line}${CLEAR_LINE}`)
        .join('\r\n')}${CLEAR_BELOW}`,
    );
    if (this.#marked.size > 0) this.#timer = setTimeout(this.draw, MARKED_MS);
  };

  #lines(): string[] {
    const { about, output } = this;
    const height = Math.max(4, process.stdout.rows ?? 24);
    const rows: Row[] = [];
    for (const row of about.rows()) {
      if (rows.length >= height - 3) break;
      rows.push(row);
    }
    const [head = '', ...lines] = tableOf(rows, columnsOf(rows), output.width - 2);
    const state = about.isLive() ? output.style('green', 'live') : output.style('yellow', 'connecting …');
    const more = about.size() - rows.length;
    return [
      `${output.style('bold', shown(about.title))}  revision ${about.revision()}  ${about.size()} items  ${state}`,
      output.style('underline', head),
      ...lines.map((line, index) => (this.#isMarked((rows[index] as Row).key) ? output.style('inverse', line) : line)),
      more > 0 ? output.style('dim', `… and ${more} more; Ctrl-C ends`) : output.style('dim', 'Ctrl-C ends'),
    ];
  }

  #isMarked(key: string): boolean {
    const since = this.#marked.get(key);
    if (since === undefined) return false;
    if (performance.now() - since < MARKED_MS) return true;
    this.#marked.delete(key);
    return false;
  }
}
