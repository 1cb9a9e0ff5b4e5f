/**
 * The board as lines of text, from a session's copies: the cells, each with its painter's initial in the colour that was laid on it last,
 * and beside them who is there, who draws and who waits for whom. Colours show on terminals only.
 */
import { styleText } from 'node:util';
import { COLUMNS, cellKey, REGIONS, ROWS } from './board.mjs';

export function picture({ shapes, clients, locks }) {
  const board = [...REGIONS.flatMap((regions) => [...linesOf(regions, shapes)]), bar(REGIONS[0].map(() => ''))];
  const people = painters(clients).map(([id, client]) => personLine(id, client, clients, locks));
  return Array.from({ length: Math.max(board.length, people.length) }, (_, i) =>
    `  ${board[i] ?? ' '.repeat(board[0].length)}   ${people[i] ?? ''}`.trimEnd(),
  );
}

/** The sessions of those who paint: the others only look on. */
function painters(clients) {
  return [...clients].filter(([, { meta }]) => meta?.colour).sort(([, a], [, b]) => (a.name < b.name ? -1 : 1));
}

function* linesOf(regions, shapes) {
  yield bar(regions);
  for (let row = 0; row < ROWS; row++) {
    const parts = regions.map((region) => {
      const columns = Array.from({ length: COLUMNS }, (_, column) => column);
      return columns.map((column) => cellText(shapes.get(cellKey(region, row, column)))).join('');
    });
    yield `|${parts.join('|')}|`;
  }
}

function bar(titles) {
  return `+${titles.map((title) => title.padStart(COLUMNS / 2 + 1, '-').padEnd(COLUMNS, '-')).join('+')}+`;
}

function cellText(shape) {
  return shape ? coloured([shape.colour, 'inverse'], shape.mark) : ' ';
}

function personLine(id, { name, meta }, clients, locks) {
  return `${coloured([meta.colour], name.padEnd(8))} ${doing(id, clients, locks)}`.trimEnd();
}

function doing(id, clients, locks) {
  const lock = [...locks.values()].find(({ session }) => session === id);
  if (!lock) return '';
  if (lock.state !== 'waiting') return lock.note ?? 'has a lock';
  const names = new Set(lock.waitsForSessions.map((session) => clients.get(session)?.name ?? 'somebody'));
  return `waits for ${[...names].join(' and ')}, then ${lock.note ?? 'goes on'}`;
}

/** Anybody may have written anything: a colour that isn't one is left out. */
function coloured(styles, text) {
  try {
    return styleText(styles, String(text));
  } catch {
    return String(text);
  }
}
