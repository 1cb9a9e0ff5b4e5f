/**
 * Requests as spans: each begins when the gate has let it in and ends with its answer; a stream's ends when it has begun, for a
 * span that lasts for hours tells nobody anything. It carries the route's operation, the pool's name and the status, and
 * nothing else of what was asked.
 */
import type { FastifyRequest } from 'fastify';
import { type Span, type Tracing, traceOf } from '../engine/tracing.js';
import type { RouteSpec } from './route.js';

const SPAN = Symbol('span');
type WithSpan = FastifyRequest & { [SPAN]?: Span };

/** Called by probes and scrapers every few seconds. */
const UNTOLD = new Set(['getHealth', 'getReadiness', 'getMetrics']);

/** What a route does for its spans; nothing where nobody traces. */
export function spansOf(tracing: Tracing, { operationId, method, path }: RouteSpec) {
  if (!tracing.isOn || UNTOLD.has(operationId)) return undefined;
  const route = path.replaceAll(/:(\w+)/g, '{$1}');
  return {
    begin(request: FastifyRequest): void {
      const { pool } = request.params as { pool?: string };
      (request as WithSpan)[SPAN] = tracing.begin(operationId, {
        parent: traceOf(request.headers),
        kind: 'server',
        attributes: {
          'http.request.method': method,
          'http.route': route,
          'stargus.request_id': request.id,
          ...(pool !== undefined && { 'stargus.pool': pool }),
        },
      });
    },
    within<T>(request: FastifyRequest, work: () => T): T {
      const span = (request as WithSpan)[SPAN];
      return span ? span.within(work) : work();
    },
  };
}

/** The request is answered, or its stream has begun. */
export function endSpan(request: FastifyRequest, status: number): void {
  const span = (request as WithSpan)[SPAN];
  if (!span) return;
  span.set({ 'http.response.status_code': status });
  span.end(status >= 500 ? String(status) : undefined);
}
