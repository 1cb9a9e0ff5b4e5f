// What the clients of three languages cost: PUTs of 16 callers beside raw HTTP in the same language, and a mirror of 100,000 items: until it is
// ready without and with its cache, its memory, and how many changes that it missed it applies in a second.
import { execFile, execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { pythonEnvironment } from '../../scripts/python-package.mjs';
import { cacheDir, projectDir } from '../places.mjs';
import { table } from '../report.mjs';
import { median } from '../statistics.mjs';
import { withTarget } from '../targets/all.mjs';
import { importItems, keyOf, pool, send } from '../transfers.mjs';

const programs = path.join(projectDir, 'bench', 'clients');
const attributesOf = (n) => `{"n":${n},"text":"${'v'.repeat(180)}"}`;
const opsOfCommit = 10;
const changesOf = (items) => Math.floor(items / 10);

export async function run({ names, items = 100_000, seconds, rounds, say }) {
  const languages = await prepare(say);
  const measurements = [];
  for (const name of names.filter((name) => name.startsWith('stargus')))
    await withTarget(name, async (start) => {
      const target = await start();
      await importItems(target, 'mirrored', items, attributesOf);
      for (let round = 1; round <= rounds; round++)
        for (const language of languages) {
          const measured = { target: name, round, ...(await measure(language, target, { items, seconds, round })) };
          measurements.push(measured);
          say(JSON.stringify(measured));
        }
    });
  return { measurements, markdown: markdownOf(measurements, items) };
}

// The programs, built, by their languages.
async function prepare(say) {
  const go = path.join(cacheDir, 'measure-go');
  say('building the Go program');
  execFileSync('go', ['build', '-C', path.join(programs, 'go'), '-o', go, '.'], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const python = path.join(
    await pythonEnvironment('python-client-bench', [`${path.join(projectDir, 'sdks', 'python')}[all]`]),
    'bin',
    'python',
  );
  const measurePy = path.join(programs, 'measure.py');
  return [
    { language: 'Python', command: python, args: [measurePy] },
    { language: 'Python, asyncio', command: python, args: [measurePy, '--aio'] },
    { language: 'TypeScript', command: process.execPath, args: ['--expose-gc', path.join(programs, 'measure.mjs')] },
    { language: 'Go', command: go, args: [] },
  ];
}

async function measure({ language, command, args }, target, { items, seconds, round }) {
  const ask = async (...words) => {
    const { stdout } = await promisify(execFile)(
      command,
      [...args, words[0], `http://${target.address}`, pool, ...words.slice(1)],
      {
        // That of the work tree, whatever was installed.
        env: { ...process.env, PYTHONPATH: path.join(projectDir, 'sdks', 'python', 'src') },
      },
    );
    return JSON.parse(stdout);
  };
  const cache = path.join(fs.mkdtempSync(path.join(cacheDir, 'mirror-')), 'cache');
  try {
    const puts = await ask('puts', String(seconds));
    const cold = await ask('mirror', 'mirrored', '');
    await ask('mirror', 'mirrored', cache);
    const cached = await ask('mirror', 'mirrored', cache);
    await change(target, items, round);
    const behind = await ask('mirror', 'mirrored', cache);
    for (const { items: held } of [cold, cached, behind])
      if (held !== items) throw new Error(`The mirror of ${language} has ${held} items`);
    return {
      language,
      ...puts,
      coldMs: cold.readyMs,
      memoryMb: cold.memoryMb,
      cachedShownMs: cached.shownMs,
      cachedMs: cached.readyMs,
      changesPerSecond: (changesOf(items) * 1000) / Math.max(1, behind.readyMs - cached.readyMs),
    };
  } finally {
    fs.rmSync(path.dirname(cache), { recursive: true, force: true });
  }
}

// A tenth of the items, in commits of ten: what is far more is told as a new snapshot.
async function change(target, items, round) {
  let next = 0;
  const work = async () => {
    while (next < changesOf(items)) {
      const first = next;
      next += opsOfCommit;
      const ops = Array.from({ length: opsOfCommit }, (_, n) => ({
        ...{ op: 'merge', collection: 'mirrored', key: keyOf(first + n) },
        attributes: { n: -first - n, round: `${round} ${Date.now()}` },
      }));
      await send(target, 'POST', '/batch', { ops });
    }
  };
  await Promise.all(Array.from({ length: 8 }, work));
}

function markdownOf(measurements, items) {
  const rows = [];
  for (const target of new Set(measurements.map((m) => m.target)))
    for (const language of new Set(measurements.map((m) => m.language))) {
      const own = measurements.filter((m) => m.target === target && m.language === language);
      const figure = (name) => median(own.map((m) => m[name]));
      const ratio = median(own.map((m) => m.clientPerSecond / m.rawPerSecond));
      rows.push([
        `${language}, ${target}`,
        figure('clientPerSecond').toFixed(0),
        figure('rawPerSecond').toFixed(0),
        `${ratio.toFixed(2)}${ratio < 0.6 ? ' **falls short**' : ''}`,
        figure('coldMs').toFixed(0),
        figure('cachedShownMs').toFixed(0),
        figure('cachedMs').toFixed(0),
        figure('memoryMb').toFixed(0),
        figure('changesPerSecond').toFixed(0),
      ]);
    }
  const head = [
    ...[
      'client',
      'set/s, 16 callers',
      'raw PUT/s, 16',
      'ratio',
      `${items} items ready, ms`,
      'from the cache: shown, ms',
      'and ready, ms',
    ],
    ...['memory, MB', 'missed changes applied/s'],
  ];
  return `${table(head, rows)}\nGoal: at least 0.6 of raw HTTP. The client's PUTs have an Idempotency-Key, the raw ones none.\n`;
}
