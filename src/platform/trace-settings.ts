/** What the environment says of tracing: OpenTelemetry's own variables, read at start. docs/OPERATING.md lists them. */
import { ConfigError } from './config.js';

export interface TracingSettings {
  readonly protocol: 'http/json' | 'http/protobuf';
  readonly sampler: string;
  /** The share of traces that a sampler by ratio records. */
  readonly ratio: number;
  readonly queueSpansMax: number;
  readonly batchSpansMax: number;
  readonly delayMs: number;
  readonly exportMs: number;
}

const SAMPLERS = [
  'always_on',
  'always_off',
  'traceidratio',
  'parentbased_always_on',
  'parentbased_always_off',
  'parentbased_traceidratio',
];

export type Environment = Readonly<Record<string, string | undefined>>;

/** What the environment says of tracing; undefined where it is off. Throws ConfigError, which names the variable. */
export function readTracing(environment: Environment): TracingSettings | undefined {
  // As OpenTelemetry has it, an empty variable is none.
  const read = (...names: string[]) => names.find((name) => environment[name]?.trim());
  const value = (name: string | undefined) => (name === undefined ? undefined : environment[name]?.trim());
  const endpoint = read('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'OTEL_EXPORTER_OTLP_ENDPOINT');
  const exporter = value('OTEL_TRACES_EXPORTER') || undefined;
  const isOff = value('OTEL_SDK_DISABLED')?.toLowerCase() === 'true' || exporter === 'none';
  if (isOff || (endpoint === undefined && exporter === undefined)) return undefined;
  const errors: string[] = [];
  const check = (name: string, isRight: boolean, must: string) => {
    if (!isRight) errors.push(`${name}=${/ENDPOINT/.test(name) ? '…' : value(name)}: must be ${must}.`);
  };
  const count = (name: string, fallback: number) => {
    const text = value(read(name)) ?? String(fallback);
    check(name, /^[1-9]\d{0,8}$/.test(text), 'a whole number from 1 on');
    return Number(text);
  };
  check('OTEL_TRACES_EXPORTER', exporter === undefined || exporter === 'otlp', 'otlp or none');
  if (endpoint) check(endpoint, isHttp(value(endpoint) as string), 'an http or https URL');
  const protocolName = read('OTEL_EXPORTER_OTLP_TRACES_PROTOCOL', 'OTEL_EXPORTER_OTLP_PROTOCOL');
  const protocol = value(protocolName) ?? 'http/protobuf';
  if (protocolName)
    check(
      protocolName,
      ['http/json', 'http/protobuf'].includes(protocol),
      'http/protobuf or http/json; gRPC is not spoken',
    );
  const sampler = value(read('OTEL_TRACES_SAMPLER')) ?? 'parentbased_always_on';
  check('OTEL_TRACES_SAMPLER', SAMPLERS.includes(sampler), `one of ${SAMPLERS.join(', ')}`);
  const ratio = Number(value(read('OTEL_TRACES_SAMPLER_ARG')) ?? '1');
  if (sampler.endsWith('traceidratio'))
    check('OTEL_TRACES_SAMPLER_ARG', ratio >= 0 && ratio <= 1, 'a number from 0 to 1');
  const queueSpansMax = count('OTEL_BSP_MAX_QUEUE_SIZE', 2048);
  const settings = {
    protocol: protocol as TracingSettings['protocol'],
    sampler,
    ratio,
    queueSpansMax,
    batchSpansMax: Math.min(queueSpansMax, count('OTEL_BSP_MAX_EXPORT_BATCH_SIZE', 512)),
    delayMs: count('OTEL_BSP_SCHEDULE_DELAY', 5000),
    exportMs: count('OTEL_BSP_EXPORT_TIMEOUT', 30_000),
  };
  if (errors.length > 0) throw new ConfigError(errors.join('\n'));
  return settings;
}

function isHttp(text: string): boolean {
  const url = URL.parse(text);
  return url?.protocol === 'http:' || url?.protocol === 'https:';
}
