/** What a command prints: for people, with colours on a terminal only, or with `--json` a line of JSON for each thing, for programs. */
import { styleText } from 'node:util';
import { cellOf, columnsOf, type Row, shown, shownLines, tableOf } from './table.js';

type Style = Parameters<typeof styleText>[0];

const WIDTH_ELSEWHERE = 120;

export class Output {
  constructor(readonly isJson: boolean) {}

  get isTerminal(): boolean {
    return process.stdout.isTTY === true && !this.isJson;
  }

  get width(): number {
    return process.stdout.columns ?? WIDTH_ELSEWHERE;
  }

  /** In colour where that can be seen and is wanted (NO_COLOR, FORCE_COLOR). */
  style(style: Style, text: string): string {
    return styleText(style, text, { stream: process.stdout });
  }

  line(text: string): void {
    process.stdout.write(`${text}\n`);
  }

  json(value: unknown): void {
    this.line(safeJson(JSON.stringify(value)));
  }

  /** One thing: `people` makes its lines unless JSON is wanted. */
  give(value: unknown, people: () => string | readonly string[]): void {
    if (this.isJson) this.json(value);
    else for (const line of [people()].flat()) this.line(line);
  }

  item({ key, revision, attributes }: Row & { readonly revision: number }): void {
    this.give({ key, revision, attributes }, () => {
      const names = Object.keys(attributes);
      const width = Math.max(0, ...names.map((name) => shown(name).length));
      return names.map((name) => `${this.style('cyan', shown(name).padEnd(width))}  ${cellOf(attributes[name])}`);
    });
  }

  table(rows: readonly Row[]): void {
    const [head = '', ...lines] = tableOf(rows, columnsOf(rows), this.width);
    this.line(this.style('bold', head));
    for (const line of lines) this.line(line);
  }

  /** Beside the result: for people, and on the standard error, so that it isn't in the way of what reads the result. */
  note(text: string): void {
    process.stderr.write(`${shownLines(text)}\n`);
  }
}

/** Other JSON of the same value, in which nothing is left that a terminal would obey: JSON itself escapes only some of it. */
export function safeJson(text: string): string {
  return text.replaceAll(/[\u007f-\u009f\p{Cf}\p{Zl}\p{Zp}]/gu, escaped);
}

function escaped(text: string): string {
  return text
    .split('')
    .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
    .join('');
}
