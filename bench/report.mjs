// Measurements as Markdown: the comparison, its goals with what falls short, and the details behind them.
import { median, spread } from './statistics.mjs';

export function table(head, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return `${[line(head), line(head.map((_, column) => (column ? '---:' : '---'))), ...rows.map(line)].join('\n')}\n`;
}

// Figures of the databases side by side, each with its goal where it has one. A row: {text, figure(target), digits?, atMost?, atLeast?}.
export function figuresMarkdown(measurements, rows) {
  const targets = [...new Set(measurements.map((m) => m.target))];
  const cell = (
    target,
    { figure, digits = 0, atMost = Number.POSITIVE_INFINITY, atLeast = Number.NEGATIVE_INFINITY },
  ) => {
    const value = figure(target);
    return `${number(value, digits)}${value > atMost || value < atLeast ? ' **falls short**' : ''}`;
  };
  const goal = ({ atMost, atLeast }) =>
    atMost !== undefined ? `≤ ${atMost}` : atLeast !== undefined ? `≥ ${atLeast}` : '';
  return table(
    ['what', 'goal', ...targets.map((target) => databases[target] ?? target)],
    rows.map((row) => [row.text, goal(row), ...targets.map((target) => cell(target, row))]),
  );
}

const databases = { 'stargus-sqlite': 'SQLite', 'stargus-mariadb': 'MariaDB' };

export function machineMarkdown(m) {
  const fsync = `fdatasync of a page ${m.fsyncMs.median.toFixed(2)} ms (worst of 200: ${m.fsyncMs.worst.toFixed(2)})`;
  return `${m.cores} cores of ${m.cpu}, ${m.memoryGb} GB, Linux ${m.kernel}, Node ${m.node}, ${m.fileSystem}, ${fsync}, load average before ${m.loadAverage.toFixed(2)}. ${m.time}\n`;
}

// The figure of each workload that the comparison shows; compare.mjs says how it is measured.
const columns = [
  { workload: 'put1', figure: 'rate', head: 'PUT/s, 1 conn.' },
  { workload: 'put16', figure: 'rate', head: 'PUT/s, 16' },
  { workload: 'put64', figure: 'rate', head: 'PUT/s, 64' },
  { workload: 'get64', figure: 'rate', head: 'GET/s, 64' },
  { workload: 'latency', figure: 'p99Ms', head: 'p99 ms of a delivery at 20 writes/s', digits: 1 },
  { workload: 'fanout', figure: 'deliveriesPerSecond', head: 'deliveries/s' },
];

// What is fast enough: a ratio to another target of the same run, or an upper bound in milliseconds.
const goals = [
  {
    text: 'durable PUT, 64 connections, SQLite',
    workload: 'put64',
    target: 'stargus-sqlite',
    of: 'prototype-sqlite',
    atLeast: 0.6,
  },
  {
    text: 'durable PUT, 64 connections, MariaDB',
    workload: 'put64',
    target: 'stargus-mariadb',
    of: 'prototype-mariadb',
    atLeast: 0.6,
  },
  { text: 'GET, 64 connections, SQLite', workload: 'get64', target: 'stargus-sqlite', of: 'bare', atLeast: 0.6 },
  { text: 'GET, 64 connections, MariaDB', workload: 'get64', target: 'stargus-mariadb', of: 'bare', atLeast: 0.6 },
  { text: 'fan-out, SQLite', workload: 'fanout', target: 'stargus-sqlite', of: 'prototype-sqlite', atLeast: 0.6 },
  { text: 'fan-out, MariaDB', workload: 'fanout', target: 'stargus-mariadb', of: 'prototype-mariadb', atLeast: 0.6 },
  {
    text: 'p99 of a delivery at 20 writes/s, SQLite',
    workload: 'latency',
    target: 'stargus-sqlite',
    of: 'prototype-sqlite',
    belowMs: 25,
  },
  {
    text: 'p99 of a delivery at 20 writes/s, MariaDB',
    workload: 'latency',
    target: 'stargus-mariadb',
    of: 'prototype-mariadb',
    belowMs: 25,
  },
  { text: 'durable PUT ahead of etcd', workload: 'put64', target: 'stargus-sqlite', of: 'etcd', atLeast: 1 },
  {
    text: 'durable PUT ahead of PocketBase',
    workload: 'put64',
    target: 'stargus-sqlite',
    of: 'pocketbase',
    atLeast: 1,
  },
];

export function comparisonMarkdown(measurements) {
  const done = measurements.filter((m) => !m.failed);
  const targets = [...new Set(done.map((m) => m.target))];
  const shown = columns.filter((column) => done.some((m) => m.workload === column.workload));
  const valuesOf = (target, { workload, figure }) =>
    done.filter((m) => m.target === target && m.workload === workload).map((m) => m[figure]);

  const cell = (target, column) => {
    const values = valuesOf(target, column);
    return values.length ? `${number(median(values), column.digits)} ±${percent(spread(values) / 2)}` : '';
  };
  const summary = table(
    ['target', ...shown.map((column) => column.head)],
    targets.map((target) => [target, ...shown.map((column) => cell(target, column))]),
  );

  const judged = goals.flatMap(
    (goal) =>
      judge(goal, (target) =>
        valuesOf(
          target,
          columns.find((c) => c.workload === goal.workload),
        ),
      ) ?? [],
  );
  const verdicts = judged.length
    ? table(['goal', 'wanted', 'measured', ''], judged)
    : 'No goal can be judged from these targets.\n';

  const failures = measurements
    .filter((m) => m.failed)
    .map((m) => `- ${m.target}, round ${m.round}: ${m.failed.split('\n')[0]}\n`);
  return [
    `Medians of all rounds; ± half the spread between the lowest and the highest. ${disturbance(done)}\n`,
    summary,
    '### Goals\n',
    verdicts,
    ...(failures.length ? ['### Failed\n', failures.join('')] : []),
    '### Details\n',
    details(done, targets),
  ].join('\n');
}

// A machine that did other work gives figures that mean little, and says so.
function disturbance(done) {
  const worst = Math.max(0, ...done.map((m) => m.othersCpu));
  const text = `Other programs used up to ${worst.toFixed(2)} cores during a measurement`;
  return worst > 0.3 ? `**${text}: repeat this on a quiet machine.**` : `${text}.`;
}

function judge(goal, valuesOf) {
  const mine = valuesOf(goal.target);
  const others = valuesOf(goal.of);
  if (goal.belowMs && mine.length) {
    const beside = others.length ? ` (${goal.of}: ${median(others).toFixed(1)})` : '';
    return [
      verdict(goal.text, `< ${goal.belowMs} ms`, `${median(mine).toFixed(1)} ms${beside}`, median(mine) < goal.belowMs),
    ];
  }
  if (!mine.length || !others.length) return undefined;
  const ratio = median(mine) / median(others);
  return [verdict(goal.text, `≥ ${goal.atLeast} of ${goal.of}`, ratio.toFixed(2), ratio >= goal.atLeast)];
}

const verdict = (text, wanted, measured, isMet) => [text, wanted, measured, isMet ? 'met' : '**falls short**'];

function details(done, targets) {
  const rows = targets.flatMap((target) =>
    columns.flatMap(({ workload }) => {
      const mine = done.filter((m) => m.target === target && m.workload === workload);
      if (!mine.length) return [];
      const of = (member) => median(mine.map((m) => m[member] ?? 0));
      const sum = (member) => mine.reduce((total, m) => total + (m[member] ?? 0), 0);
      const troubles = ['errors', 'missing', 'closed'].flatMap((member) =>
        sum(member) ? `${sum(member)} ${member}` : [],
      );
      return [
        [
          `${target} ${workload}`,
          number(of('p50Ms'), 2),
          number(of('p99Ms'), 2),
          of('serverCpu').toFixed(2),
          of('generatorCpu').toFixed(2),
          of('othersCpu').toFixed(2),
          of('serverRssMb').toFixed(0),
          troubles.join(', '),
        ],
      ];
    }),
  );
  return table(
    ['', 'p50 ms', 'p99 ms', 'server, cores', 'generator, cores', 'others, cores', 'server RSS, MB', 'trouble'],
    rows,
  );
}

const number = (value, digits = 0) =>
  value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
const percent = (share) => `${Math.round(share * 100)} %`;
