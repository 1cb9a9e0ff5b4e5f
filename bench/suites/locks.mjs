// What sessions and locks cost, each beside the like of it without them: taking a lock beside a PUT, hearing of a grant beside hearing
// of a write, writing while others hold locks beside writing alone. Each part has a server of its own.
import attach from '../locks/attach.mjs';
import cycles from '../locks/cycles.mjs';
import grants from '../locks/grants.mjs';
import held from '../locks/held.mjs';
import sessions from '../locks/sessions.mjs';
import { figuresMarkdown } from '../report.mjs';
import { median } from '../statistics.mjs';
import { withTarget } from '../targets/all.mjs';

// A part: measure(start, options, keep) starts a server and hands keep one measurement after the other, as {what, …figures};
// rows(of, options) says what is told of them, where of(what, figure) makes the function that finds the median of a figure.
const all = { cycles, grants, held, sessions, attach };
export const parts = Object.keys(all);

export async function run({ names, partNames = parts, ...options }) {
  const measurements = [];
  for (const name of names.filter((name) => name.startsWith('stargus'))) {
    for (const part of partNames) {
      const keep = (measurement) => {
        measurements.push({ target: name, part, ...measurement });
        options.say(`${name}, ${part}: ${JSON.stringify(measurement)}`);
      };
      await withTarget(name, (start) => all[part].measure(start, options, keep));
    }
  }
  return { measurements, markdown: partNames.map((part) => markdownOf(measurements, part, options)).join('\n') };
}

function markdownOf(measurements, part, options) {
  const mine = measurements.filter((m) => m.part === part);
  const of = (what, figure) => (target) =>
    median(mine.filter((m) => m.target === target && m.what === what).map((m) => m[figure]));
  return `${all[part].title}\n\n${figuresMarkdown(mine, all[part].rows(of, options))}`;
}
