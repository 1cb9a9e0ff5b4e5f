/**
 * Tracing by OpenTelemetry, where the environment switches it on. Nothing of it is loaded while it is off. What it does when it is
 * on is in spans.ts; the shape of that is the engine's port `Tracing`, which the platform, a leaf, doesn't import.
 */
import type { SpanReports, SpanTracing } from './spans.js';
import { type Environment, readTracing } from './trace-settings.js';

/** Tracing as the environment wants it; undefined where it is off. */
export async function openTracing(environment: Environment, reports: SpanReports): Promise<SpanTracing | undefined> {
  const settings = readTracing(environment);
  if (!settings) return undefined;
  const { SpanTracing } = await import('./spans.js');
  return SpanTracing.open(settings, reports);
}
