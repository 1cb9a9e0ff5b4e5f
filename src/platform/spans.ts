/**
 * Spans by OpenTelemetry's SDK, sent by OTLP over HTTP. Loaded only where tracing is on (tracing.ts).
 *
 * Nothing is registered with the global API: who runs a server inside their own process keeps their own tracing. What waits to be
 * sent is bounded, and what is too much is dropped; a collector that doesn't answer costs its spans and nothing else.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import {
  type Context,
  createTraceState,
  type Span as OtelSpan,
  ROOT_CONTEXT,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { defaultResource, detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  type Sampler,
  type SpanExporter,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import type { TracingSettings } from './trace-settings.js';

/** Told of what became of spans that were to be sent. */
export interface SpanReports {
  readonly version: string;
  exported(spans: number, delivered: boolean): void;
  warn(message: string, details: Record<string, string>): void;
}

const KINDS = {
  internal: SpanKind.INTERNAL,
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
} as const;

/** A group of commits is linked to each of its requests. */
const LINKS_MAX = 512;
/** Names of pools are shorter; what isn't one may be any text. */
const ATTRIBUTE_LENGTH_MAX = 256;
/** How long a stop waits for the last spans. */
const CLOSE_MS = 2000;

type Attributes = Readonly<Record<string, string | number | boolean>>;

interface Options {
  readonly parent: string | undefined;
  readonly kind?: keyof typeof KINDS;
  readonly attributes?: Attributes;
  readonly startedMs?: number;
}

/** What is being done now is found again after an await. */
const present = new AsyncLocalStorage<TracedSpan>();

export class SpanTracing {
  readonly isOn = true;

  private constructor(
    private readonly provider: TracerProvider,
    private readonly tracer: Tracer,
  ) {}

  static async open(settings: TracingSettings, reports: SpanReports): Promise<SpanTracing> {
    const { protocol, queueSpansMax, batchSpansMax, delayMs, exportMs } = settings;
    const { OTLPTraceExporter } =
      protocol === 'http/json'
        ? await import('@opentelemetry/exporter-trace-otlp-http')
        : await import('@opentelemetry/exporter-trace-otlp-proto');
    // It reads where to send to, headers, certificates, compression and its time-out from the environment by itself.
    const exporter = reporting(new OTLPTraceExporter(), reports);
    const own = { 'service.name': 'stargus', 'service.version': reports.version };
    const provider = new TracerProvider({
      resource: defaultResource()
        .merge(resourceFromAttributes(own))
        .merge(detectResources({ detectors: [envDetector] })),
      sampler: samplerOf(settings),
      spanLimits: { linkCountLimit: LINKS_MAX, attributeValueLengthLimit: ATTRIBUTE_LENGTH_MAX },
      spanProcessors: [
        new BatchSpanProcessor({
          exporter,
          maxQueueSize: queueSpansMax,
          maxExportBatchSize: batchSpansMax,
          scheduledDelayMillis: delayMs,
          exportTimeoutMillis: exportMs,
        }),
      ],
    });
    return new SpanTracing(provider, provider.getTracer('stargus', reports.version));
  }

  current(): string | undefined {
    return present.getStore()?.trace;
  }

  begin(name: string, { parent, kind = 'internal', attributes = {}, startedMs }: Options): TracedSpan {
    const context = parent === undefined ? ROOT_CONTEXT : contextOf(parent);
    const options = { kind: KINDS[kind], attributes };
    // It takes what `performance.now()` says.
    return new TracedSpan(
      this.tracer.startSpan(name, { ...options, ...(startedMs !== undefined && { startTime: startedMs }) }, context),
    );
  }

  async span<T>(name: string, options: Options, work: (span: TracedSpan) => Promise<T>): Promise<T> {
    const span = this.begin(name, options);
    try {
      return await span.within(() => work(span));
    } catch (error) {
      // Its message may carry what was written.
      span.end(error instanceof Error ? error.name : 'Error');
      throw error;
    } finally {
      span.end();
    }
  }

  /** Sends what waits, for as long as a stop may take. */
  async close(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, CLOSE_MS)));
    await Promise.race([this.provider.shutdown().catch(() => undefined), late]);
    clearTimeout(timer);
  }
}

class TracedSpan {
  #trace: string | undefined;
  #isEnded = false;

  constructor(private readonly span: OtelSpan) {}

  get trace(): string {
    this.#trace ??= textOf(this.span.spanContext());
    return this.#trace;
  }

  link(other: string): void {
    const context = spanContextOf(other);
    if (context) this.span.addLink({ context });
  }

  set(attributes: Attributes): void {
    this.span.setAttributes(attributes);
  }

  within<T>(work: () => T): T {
    return present.run(this, work);
  }

  end(fault?: string, endedMs?: number): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    if (fault !== undefined) this.span.setAttribute('error.type', fault).setStatus({ code: SpanStatusCode.ERROR });
    this.span.end(endedMs);
  }
}

function contextOf(text: string): Context {
  const context = spanContextOf(text);
  return context ? trace.setSpanContext(ROOT_CONTEXT, context) : ROOT_CONTEXT;
}

/** The engine hands on only what is well formed; what was kept by another version may not be. */
function spanContextOf(text: string): SpanContext | undefined {
  const match = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?: (.*))?$/.exec(text);
  if (!match) return undefined;
  const [, traceId = '', spanId = '', flags = '', state] = match;
  return {
    ...{ traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true },
    ...(state !== undefined && { traceState: createTraceState(state) }),
  };
}

function textOf({ traceId, spanId, traceFlags, traceState }: SpanContext): string {
  const state = traceState?.serialize() ?? '';
  const parent = `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`;
  return state === '' ? parent : `${parent} ${state}`;
}

function samplerOf({ sampler, ratio }: TracingSettings): Sampler {
  const plain = sampler.replace('parentbased_', '');
  const root =
    plain === 'always_on'
      ? new AlwaysOnSampler()
      : plain === 'always_off'
        ? new AlwaysOffSampler()
        : new TraceIdRatioBasedSampler(ratio);
  return plain === sampler ? root : new ParentBasedSampler({ root });
}

/** Counts what is sent, and says once when that begins to fail. */
function reporting(exporter: SpanExporter, reports: SpanReports): SpanExporter {
  let isFailing = false;
  return {
    export(spans, done) {
      exporter.export(spans, (result) => {
        const delivered = result.code === 0;
        reports.exported(spans.length, delivered);
        if (!delivered && !isFailing)
          reports.warn('Spans could not be sent; they are dropped, and said no more until it succeeds again', {
            error: result.error?.message ?? 'unknown',
          });
        isFailing = !delivered;
        done(result);
      });
    },
    forceFlush: async () => exporter.forceFlush?.(),
    shutdown: () => exporter.shutdown(),
  };
}
