import { describe, expect, test } from 'vitest';
import { ConfigError } from './config.js';
import { readTracing } from './trace-settings.js';

const ON = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318' };

describe('tracing is off', () => {
  test.each([
    ['without a word', {}],
    ['with an empty endpoint', { OTEL_EXPORTER_OTLP_ENDPOINT: ' ' }],
    ['with a sampler alone', { OTEL_TRACES_SAMPLER: 'always_on', OTEL_SERVICE_NAME: 'x' }],
    ['when the SDK is disabled', { ...ON, OTEL_SDK_DISABLED: 'True' }],
    ['without an exporter', { ...ON, OTEL_TRACES_EXPORTER: 'none' }],
    ['whatever else is wrong then', { ...ON, OTEL_TRACES_EXPORTER: 'none', OTEL_TRACES_SAMPLER: 'x' }],
  ])('%s', (_name, environment) => {
    expect(readTracing(environment)).toBeUndefined();
  });
});

test('what holds without settings is what OpenTelemetry says', () => {
  const usual = {
    ...{ protocol: 'http/protobuf', sampler: 'parentbased_always_on', ratio: 1 },
    ...{ queueSpansMax: 2048, batchSpansMax: 512, delayMs: 5000, exportMs: 30_000 },
  };
  expect(readTracing(ON)).toEqual(usual);
  expect(readTracing({ OTEL_TRACES_EXPORTER: 'otlp' })).toEqual(usual);
  expect(readTracing({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://collector.example/v1/traces' })).toEqual(usual);
});

test('settings are taken, the ones for traces before the ones for all', () => {
  expect(
    readTracing({
      ...ON,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
      OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/json',
      OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
      OTEL_TRACES_SAMPLER_ARG: '0.25',
      OTEL_BSP_MAX_QUEUE_SIZE: '100',
      OTEL_BSP_SCHEDULE_DELAY: '50',
    }),
  ).toMatchObject({
    ...{ protocol: 'http/json', sampler: 'parentbased_traceidratio', ratio: 0.25 },
    // A batch is never more than the queue.
    ...{ queueSpansMax: 100, batchSpansMax: 100, delayMs: 50 },
  });
});

describe('what is wrong is said by the name of its variable', () => {
  test.each([
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'collector:4318'],
    ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'nonsense'],
    ['OTEL_EXPORTER_OTLP_PROTOCOL', 'grpc'],
    ['OTEL_TRACES_EXPORTER', 'zipkin'],
    ['OTEL_TRACES_SAMPLER', 'sometimes'],
    ['OTEL_TRACES_SAMPLER_ARG', '2'],
    ['OTEL_TRACES_SAMPLER_ARG', 'half'],
    ['OTEL_BSP_MAX_QUEUE_SIZE', '0'],
    ['OTEL_BSP_SCHEDULE_DELAY', '5s'],
  ])('%s=%s', (name, text) => {
    const sampler = name === 'OTEL_TRACES_SAMPLER_ARG' ? { OTEL_TRACES_SAMPLER: 'traceidratio' } : {};
    expect(() => readTracing({ ...ON, ...sampler, [name]: text })).toThrow(ConfigError);
    expect(() => readTracing({ ...ON, ...sampler, [name]: text })).toThrow(new RegExp(`^${name}=`));
  });

  test('an endpoint is not repeated, for it may have a password in it', () => {
    expect(() => readTracing({ OTEL_EXPORTER_OTLP_ENDPOINT: 'ftp://me:secret@collector' })).toThrow(/^(?!.*secret)/);
  });
});
