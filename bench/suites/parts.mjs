// A suite of several parts, each of which has a server of its own.
import { figuresMarkdown } from '../report.mjs';
import { median } from '../statistics.mjs';
import { withTarget } from '../targets/all.mjs';

// A part: measure(start, options, keep, dir) starts a server and hands keep one measurement after the other, as {what, …figures};
// rows(of, options) says what is told of them, where of(what, figure) makes the function that finds the median of a figure.
export async function runParts(all, { names, partNames = Object.keys(all), ...options }) {
  const measurements = [];
  for (const name of names.filter((name) => name.startsWith('stargus'))) {
    for (const part of partNames.filter((part) => part in all)) {
      const keep = (measurement) => {
        measurements.push({ target: name, part, ...measurement });
        options.say(`${name}, ${part}: ${JSON.stringify(measurement)}`);
      };
      await withTarget(name, (start, dir) => all[part].measure(start, options, keep, dir));
    }
  }
  const shown = partNames.filter((part) => part in all);
  return { measurements, markdown: shown.map((part) => markdownOf(all[part], measurements, part, options)).join('\n') };
}

function markdownOf({ title, rows }, measurements, part, options) {
  const mine = measurements.filter((m) => m.part === part);
  const of = (what, figure) => (target) =>
    median(mine.filter((m) => m.target === target && m.what === what).map((m) => m[figure]));
  return `${title}\n\n${figuresMarkdown(mine, rows(of, { ...options, measurements: mine }))}`;
}
