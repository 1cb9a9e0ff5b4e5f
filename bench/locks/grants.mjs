// From giving a lock back until the next in the queue knows that it is theirs, by a request that waits and by the session's stream,
// beside the way of a write to a watcher. In a short queue and in the longest that there can be.
import { generate } from '../generator.mjs';
import { startWarm } from '../suites/loads.mjs';

const queues = [10, 1000];
const waits = queues.flatMap((watchers) =>
  ['poll', 'stream'].map((by) => ({ what: `${by} ${watchers}`, by, watchers })),
);
const ways = [{ what: 'attach', by: 'attach', watchers: 1 }, ...waits];

async function measure(start, { seconds, warmSeconds, warmUpSeconds, rounds }, keep) {
  const target = await startWarm(start, ['put', 'lock'], warmUpSeconds);
  for (let round = 1; round <= rounds; round++) {
    for (const { what, ...way } of round % 2 ? ways : ways.toReversed()) {
      const flags = { mode: 'news', ...way, collection: 'queue', seconds, warm: warmSeconds };
      keep({ what, round, ...(await generate(target, flags)) });
    }
  }
}

function rows(of) {
  const pair = (text, what) => [
    { text: `${text}, p50 ms`, figure: of(what, 'p50Ms'), digits: 2 },
    { text: 'p99 ms', figure: of(what, 'p99Ms'), digits: 2 },
  ];
  const ratio = (what) => (target) => of(what, 'p50Ms')(target) / of('attach', 'p50Ms')(target);
  return [
    ...pair('PUT to its `changes` on an attach', 'attach'),
    ...waits.flatMap(({ what, by, watchers }) => [
      ...pair(`release to \`granted\`, by ${by}, ${watchers.toLocaleString('en')} in the queue`, what),
      { text: 'to that of a PUT, p50', figure: ratio(what), digits: 2 },
    ]),
  ];
}

export default { title: 'From a release to the next in the queue', measure, rows };
