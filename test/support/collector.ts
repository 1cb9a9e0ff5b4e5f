/** An OpenTelemetry collector for a test: takes spans by OTLP over HTTP as JSON, on a loopback port of its own. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll } from 'vitest';

export interface CollectedSpan {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  /** Undefined where it begins a trace. */
  readonly parentSpanId: string | undefined;
  readonly traceState: string | undefined;
  /** 2 is a server's, 1 is internal. */
  readonly kind: number;
  /** 2 is an error. */
  readonly status: number;
  readonly attributes: Record<string, unknown>;
  readonly links: { readonly traceId: string; readonly spanId: string }[];
}

export interface Collector {
  readonly url: string;
  readonly spans: CollectedSpan[];
  /** The attributes of whoever sent the last spans. */
  readonly resource: Record<string, unknown>;
  /** All that was sent, as it was sent. */
  readonly text: () => string;
  /** The environment of a server whose spans come here soon. */
  readonly env: Record<string, string>;
}

interface KeyValue {
  readonly key: string;
  readonly value: Record<string, unknown>;
}

interface OtlpSpan {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly traceState?: string;
  readonly kind: number;
  readonly status?: { readonly code?: number };
  readonly attributes?: KeyValue[];
  readonly links?: { readonly traceId: string; readonly spanId: string }[];
}

interface Request {
  readonly resourceSpans: {
    readonly resource: { readonly attributes: KeyValue[] };
    readonly scopeSpans: { readonly spans: OtlpSpan[] }[];
  }[];
}

const servers: Server[] = [];

afterAll(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

/** `answers: false`: it takes what comes and never says a word. */
export async function startCollector({ answers = true } = {}): Promise<Collector> {
  const spans: CollectedSpan[] = [];
  const texts: string[] = [];
  const resource: Record<string, unknown> = {};
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (chunk: string) => {
      body += chunk;
    });
    request.on('end', () => {
      texts.push(body);
      for (const of of (JSON.parse(body) as Request).resourceSpans) {
        Object.assign(resource, valuesOf(of.resource.attributes));
        for (const { spans: told } of of.scopeSpans) spans.push(...told.map(toSpan));
      }
      if (answers) response.setHeader('content-type', 'application/json').end('{}');
    });
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const env = {
    OTEL_EXPORTER_OTLP_ENDPOINT: url,
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    OTEL_BSP_SCHEDULE_DELAY: '20',
  };
  return { url, spans, resource, text: () => texts.join('\n'), env };
}

function toSpan({ parentSpanId, traceState, status, attributes = [], links = [], ...span }: OtlpSpan): CollectedSpan {
  return {
    ...{ name: span.name, traceId: span.traceId, spanId: span.spanId, kind: span.kind },
    ...{ parentSpanId: parentSpanId || undefined, traceState: traceState || undefined },
    ...{ status: status?.code ?? 0, attributes: valuesOf(attributes), links },
  };
}

function valuesOf(attributes: readonly KeyValue[]): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
}
