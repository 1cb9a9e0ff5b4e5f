/**
 * The dashboard and the alert rules: each metric and label that they ask for is one that a real server has, each of a server's own
 * is shown, each rule can be read by Prometheus, and each says what to do in a text that is there.
 */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parser } from '@prometheus-io/lezer-promql';
import { beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { type Gauges, Metrics } from '../../src/platform/metrics.js';
import { Scenario } from '../support/scenario.js';
import { startServer } from '../support/server.js';

const ROOT = path.resolve(import.meta.dirname, '../..');
const text = (file: string) => readFileSync(path.join(ROOT, file), 'utf8');

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: { readonly expr: string; readonly refId: string; readonly legendFormat: string }[];
}

interface Dashboard {
  readonly uid: string;
  readonly panels: Panel[];
  readonly templating: { readonly list: { readonly name: string; readonly definition?: string }[] };
}

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly description: string; readonly runbook: string };
}

const dashboard = JSON.parse(text('deploy/grafana/stargus.json')) as Dashboard;
const { groups } = parse(text('deploy/prometheus/stargus.rules.yml')) as { groups: { name: string; rules: Rule[] }[] };
const rules = groups.flatMap((group) => group.rules);
const shown = dashboard.panels.flatMap(({ title, targets = [] }) =>
  // Grafana's own variables, as it would fill them in.
  targets.map(({ expr }) => ({
    where: `the panel ${title}`,
    expr: expr.replaceAll('$__rate_interval', '5m').replaceAll(/\$(job|instance)/g, '.+'),
  })),
);
const asked = [...shown, ...rules.map(({ alert, expr }) => ({ where: alert, expr }))];

interface Query {
  readonly metrics: string[];
  /** `metric label operator value`. */
  readonly matchers: {
    readonly metric: string;
    readonly label: string;
    readonly operator: string;
    readonly value: string;
  }[];
  readonly grouping: string[];
}

/** What a query asks for, read by Prometheus's own grammar. Throws where that doesn't hold. */
function readQuery(expr: string): Query {
  const query: Query = { metrics: [], matchers: [], grouping: [] };
  const part = ({ from, to }: { from: number; to: number }) => expr.slice(from, to);
  parser.parse(expr).iterate({
    enter: (node) => {
      if (node.type.isError) throw new Error(`${expr}: not understood at ${node.from}`);
      if (node.name === 'VectorSelector') {
        const metric = part(node.node.getChild('Identifier') ?? { from: 0, to: 0 });
        query.metrics.push(metric);
        for (const matcher of node.node.getChild('LabelMatchers')?.getChildren('UnquotedLabelMatcher') ?? []) {
          const [label, operator, value] = ['LabelName', 'MatchOp', 'StringLiteral'].map((name) =>
            part(matcher.getChild(name) ?? { from: 0, to: 0 }),
          ) as [string, string, string];
          query.matchers.push({ metric, label, operator, value: value.slice(1, -1) });
        }
      }
      if (node.name === 'GroupingLabels')
        for (const label of node.node.getChildren('LabelName')) query.grouping.push(part(label));
    },
  });
  return query;
}

const zero = new Proxy({}, { get: () => 0 }) as Gauges;
const registry = new Metrics(() => zero, '0').registry.getMetricsAsArray() as unknown as {
  name: string;
  labelNames: string[];
}[];
/** Of each metric, its labels beside those that Prometheus gives. */
const labelsOf: Record<string, readonly string[]> = {
  ...Object.fromEntries(registry.map(({ name, labelNames }) => [name, labelNames])),
  stargus_http_request_seconds: ['operation', 'status'],
  // Of Prometheus itself.
  up: [],
};
const GIVEN = ['job', 'instance', 'le'];
/** A histogram is asked for by its parts. */
const familyOf = (metric: string) =>
  Object.hasOwn(labelsOf, metric) ? metric : metric.replace(/_(bucket|sum|count)$/, '');

describe('what is asked of Prometheus', () => {
  let served: Set<string>;
  beforeAll(async () => {
    const scenario = new Scenario(await startServer({ database: 'sqlite' }));
    await scenario.fill({ a: {} });
    const { text: metrics } = await scenario.call('GET /metrics');
    served = new Set([...metrics.matchAll(/^# TYPE (\w+) \w+$/gm)].map(([, name]) => name as string));
  });

  test.each(asked)('$where: $expr', ({ expr }) => {
    const { metrics, matchers, grouping } = readQuery(expr);
    expect(metrics.length).toBeGreaterThan(0);
    for (const metric of metrics) {
      const family = familyOf(metric);
      expect(served.has(family) || family === 'up', metric).toBe(true);
    }
    for (const { metric, label } of matchers)
      expect([...(labelsOf[familyOf(metric)] ?? []), ...GIVEN], `${metric} by ${label}`).toContain(label);
    const labels = metrics.flatMap((metric) => labelsOf[familyOf(metric)] ?? []);
    for (const label of grouping) expect([...labels, ...GIVEN]).toContain(label);
    // A quantile of buckets needs their bounds.
    if (expr.includes('histogram_quantile')) expect(grouping).toContain('le');
  });

  test('is asked for by values that the program tells', () => {
    const sources = sourceText();
    const told = asked
      .flatMap(({ expr }) => readQuery(expr).matchers)
      .filter(({ label }) => !GIVEN.includes(label))
      .filter(({ label }) => label !== 'status' && label !== 'operation');
    expect(told.length).toBeGreaterThan(5);
    for (const { value } of told)
      for (const each of value.split('|')) expect(sources.includes(`'${each}'`), each).toBe(true);
  });

  test('a mistake would be found', () => {
    expect(() => readQuery('sum by (le) (rate(stargus_commits_total[5m])')).toThrow('not understood');
    expect(readQuery('a{b=~"c|d"} / sum by (e) (rate(f_total{g="h"}[5m]))')).toEqual({
      metrics: ['a', 'f_total'],
      matchers: [
        { metric: 'a', label: 'b', operator: '=~', value: 'c|d' },
        { metric: 'f_total', label: 'g', operator: '=', value: 'h' },
      ],
      grouping: ['e'],
    });
  });
});

describe('the dashboard', () => {
  test('shows all that a server tells of itself', () => {
    const metrics = new Set(shown.flatMap(({ expr }) => readQuery(expr).metrics.map(familyOf)));
    const own = [...registry.map(({ name }) => name), 'stargus_http_request_seconds'];
    expect(own.filter((name) => name.startsWith('stargus_') && !metrics.has(name))).toEqual([]);
  });

  test('has its rows, and every panel in a place of its own', () => {
    expect(dashboard.panels.filter(({ type }) => type === 'row').map(({ title }) => title)).toEqual([
      ...['At a glance', 'Writes', 'Reads', 'Watching', 'Locks, sessions, who is turned away', 'Notifiers and queues'],
      ...['Database and Redis', 'Process'],
    ]);
    const ids = dashboard.panels.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    const cells = new Set<string>();
    for (const { title, gridPos } of dashboard.panels) {
      expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          expect(cells.has(`${x} ${y}`), `${title} lies over another`).toBe(false);
          cells.add(`${x} ${y}`);
        }
      }
    }
  });

  test('can be narrowed to jobs and instances, in every panel', () => {
    expect(dashboard.templating.list.map(({ name }) => name)).toEqual(['datasource', 'job', 'instance']);
    for (const { targets = [], title } of dashboard.panels)
      for (const { expr } of targets)
        for (const { metrics, matchers } of [readQuery(expr.replaceAll('$__rate_interval', '5m'))])
          for (const name of ['$job', '$instance'])
            expect(matchers.filter(({ value }) => value === name).length, `${title} by ${name}`).toBe(metrics.length);
  });
});

describe('the alerts', () => {
  const headings = [...text('docs/OPERATING.md').matchAll(/^#+ (.+)$/gm)].map(([, heading]) => heading as string);

  test('have names of their own', () => {
    const names = [...rules.map(({ alert }) => alert), ...groups.map(({ name }) => name)];
    expect(new Set(names).size).toBe(names.length);
    expect(rules.length).toBeGreaterThan(15);
  });

  test.each(rules.map((rule) => [rule.alert, rule] as const))('%s says what it is and what to do', (name, rule) => {
    expect(Object.keys(rule).sort()).toEqual(
      ['alert', 'annotations', 'expr', ...(rule.for === undefined ? [] : ['for']), 'labels'].sort(),
    );
    expect(rule.for ?? '1m').toMatch(/^\d+[smhd]$/);
    expect(['critical', 'warning', 'info']).toContain(rule.labels.severity);
    expect(Object.keys(rule.annotations)).toEqual(['summary', 'description', 'runbook']);
    expect(rule.annotations.runbook).toBe(`docs/OPERATING.md#${name.toLowerCase()}`);
    expect(headings).toContain(name);
    // What a text names must be left when the query has summed up.
    const { grouping, metrics } = readQuery(rule.expr);
    const isSummed = /^(sum|max|count|histogram_quantile)\b/.test(rule.expr);
    const left = isSummed ? grouping : [...metrics.flatMap((metric) => labelsOf[familyOf(metric)] ?? []), ...GIVEN];
    for (const [, label] of `${rule.annotations.summary}`.matchAll(/\$labels\.(\w+)/g)) expect(left).toContain(label);
  });

  test('are all told of in OPERATING.md, and no other', () => {
    expect(headings.filter((heading) => /^Stargus[A-Z]\w+$/.test(heading))).toEqual(rules.map(({ alert }) => alert));
  });
});

function sourceText(): string {
  return readdirSync(path.join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.spec.ts'))
    .map((file) => text(path.join('src', file)))
    .join('\n');
}
