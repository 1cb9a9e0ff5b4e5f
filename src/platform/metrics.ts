/** What operators measure, in Prometheus's format, by prom-client. docs/OPERATING.md explains each metric. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { RequestTimes } from './request-times.js';

export interface Gauges {
  streams: number;
  streamsBehind: number;
  watchGroups: number;
  bufferedBytes: number;
  queuedCommands: number;
  pools: number;
  cacheBytes: number;
  leasesHeld: number;
  locks: number;
  locksWaiting: number;
  blockedAddresses: number;
  /** Undefined: there is none to be reached. */
  redisUp: boolean | undefined;
  notifierLag: number;
}

const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

export class Metrics {
  readonly registry = new Registry();
  readonly #commits = this.#counter('stargus_commits_total', 'Commits made by this node.');
  readonly #groupSize = this.#histogram(
    'stargus_commit_group_size',
    'Commands that one transaction took.',
    [1, 2, 4, 8, 16, 32, 64, 128, 256],
  );
  readonly #groupSeconds = this.#histogram(
    'stargus_commit_group_seconds',
    'Time from taking a group of commands to its being durable and told.',
    SECONDS,
  );
  readonly #groupFailures = this.#counter(
    'stargus_commit_group_failures_total',
    'Groups that were retried or failed.',
    ['reason'],
  );
  readonly #evaluations = this.#counter(
    'stargus_watch_evaluations_total',
    'Views of watchers that were asked what they see of a change; equal views are one.',
  );
  readonly #frames = this.#counter('stargus_watch_frames_total', 'Writes of frames to streams.');
  readonly #frameBytes = this.#counter('stargus_watch_bytes_total', 'Bytes of frames written to streams.');
  readonly #streamEnds = this.#counter('stargus_streams_ended_total', 'Streams that ended.', ['reason']);
  readonly #refusals = this.#counter('stargus_refusals_total', 'Requests and connections that were turned away.', [
    'kind',
  ]);
  readonly #replicaReads = this.#counter(
    'stargus_replica_reads_total',
    'Times the log was read because another node committed, by why its wake didn’t spare that.',
    ['cause'],
  );
  readonly #wakes = this.#counter('stargus_bus_wakes_total', 'Wakes sent to and heard of other nodes.', ['direction']);
  readonly #worksDone = this.#counter('stargus_work_done_total', 'Works done by this process, by how they ended.', [
    'kind',
    'outcome',
  ]);
  readonly #databaseSeconds = this.#histogram(
    'stargus_database_seconds',
    'Time that work on the database took, with the wait for a connection.',
    SECONDS,
    ['work'],
  );
  readonly #databaseFaults = this.#counter(
    'stargus_database_faults_total',
    'Work that the database wants repeated, broke off or refused.',
    ['fault'],
  );
  readonly #spans = this.#counter('stargus_trace_spans_total', 'Spans that were sent to the collector, or lost.', [
    'outcome',
  ]);
  readonly #deliveries = this.#counter(
    'stargus_notifier_deliveries_total',
    'Attempts of notifiers to deliver, by what came of them.',
    ['outcome'],
  );
  readonly #parked = this.#counter(
    'stargus_notifier_parked_total',
    'Deliveries of notifiers that were parked after their last attempt.',
  );
  readonly #requestTimes = new RequestTimes(SECONDS);

  /** Those of the process are measured by whoever the process is. */
  constructor(gauges: () => Gauges, version: string, { ofProcess = true } = {}) {
    if (ofProcess) collectDefaultMetrics({ register: this.registry });
    this.#gauge('stargus_streams', 'Open streams.', () => gauges().streams);
    this.#gauge(
      'stargus_streams_behind',
      'Streams that are not told live: they read the log by themselves, because they begin or are slow.',
      () => gauges().streamsBehind,
    );
    this.#gauge('stargus_watch_groups', 'Groups of streams with equal views.', () => gauges().watchGroups);
    this.#gauge(
      'stargus_stream_buffered_bytes',
      'Bytes that streams have not taken yet.',
      () => gauges().bufferedBytes,
    );
    this.#gauge('stargus_queued_commands', 'Writes that wait for their group.', () => gauges().queuedCommands);
    this.#gauge('stargus_pools_ready', 'Pools whose state this node keeps ready.', () => gauges().pools);
    this.#gauge('stargus_cache_bytes', 'Memory taken by items that are kept ready.', () => gauges().cacheBytes);
    this.#gauge('stargus_leases_held', 'Sessions whose leases streams of this node renew.', () => gauges().leasesHeld);
    this.#gauge('stargus_locks', 'Locks, held and waiting, that this node knows.', () => gauges().locks);
    this.#gauge('stargus_locks_waiting', 'Those of them that wait.', () => gauges().locksWaiting);
    this.#gauge(
      'stargus_blocked_addresses',
      'Addresses that are blocked for a while.',
      () => gauges().blockedAddresses,
    );
    this.#gauge('stargus_redis_up', '1: Redis is reached. Without Redis there is no value.', () =>
      gauges().redisUp === undefined ? undefined : Number(gauges().redisUp),
    );
    const waiting: Gauge = new Gauge({
      name: 'stargus_work_waiting',
      help: 'Works that wait for a worker or for their time, of the whole deployment where Redis has them.',
      labelNames: ['kind'],
      registers: [this.registry],
      collect: async () => {
        const counts = await this.worksWaiting().catch(() => ({}));
        waiting.reset();
        for (const [kind, count] of Object.entries(counts)) waiting.set({ kind }, count);
      },
    });
    new Gauge({
      name: 'stargus_info',
      help: 'Always 1, beside the version that runs.',
      labelNames: ['version'],
      registers: [this.registry],
    }).set({ version }, 1);
    this.#gauge(
      'stargus_notifier_lag_commits',
      'Commits that the notifier is behind that is furthest, of those that this node worked on.',
      () => gauges().notifierLag,
    );
  }

  /** Works that wait, by kind. */
  worksWaiting: () => Promise<Readonly<Record<string, number>>> = async () => ({});

  get contentType(): string {
    return this.registry.contentType;
  }

  /** All metrics in Prometheus's format. */
  async text(): Promise<string> {
    const requests = this.#requestTimes.text(
      'stargus_http_request_seconds',
      'Time to answer a request; streams are not counted.',
    );
    return `${await this.registry.metrics()}${requests}`;
  }

  groupCommitted(commands: number, commits: number, seconds: number): void {
    this.#commits.inc(commits);
    this.#groupSize.observe(commands);
    this.#groupSeconds.observe(seconds);
  }

  groupFailed(reason: string): void {
    this.#groupFailures.inc({ reason });
  }

  broughtForward(cause: string): void {
    this.#replicaReads.inc({ cause });
  }

  woke(direction: 'sent' | 'heard'): void {
    this.#wakes.inc({ direction });
  }

  workDone(kind: string, outcome: string): void {
    this.#worksDone.inc({ kind, outcome });
  }

  viewsEvaluated(count: number): void {
    this.#evaluations.inc(count);
  }

  framesSent(frames: number, bytes: number): void {
    this.#frames.inc(frames);
    this.#frameBytes.inc(bytes);
  }

  notifierDelivered(outcome: string): void {
    this.#deliveries.inc({ outcome });
    if (outcome === 'parked') this.#parked.inc();
  }

  streamEnded(reason: string): void {
    this.#streamEnds.inc({ reason });
  }

  refused(kind: string): void {
    this.#refusals.inc({ kind });
  }

  databaseWorked(work: string, seconds: number, fault: string | undefined): void {
    this.#databaseSeconds.observe({ work }, seconds);
    if (fault !== undefined) this.#databaseFaults.inc({ fault });
  }

  spansExported(count: number, delivered: boolean): void {
    this.#spans.inc({ outcome: delivered ? 'sent' : 'lost' }, count);
  }

  requestAnswered(operation: string, status: number, seconds: number): void {
    this.#requestTimes.observe(operation, status, seconds);
  }

  #counter(name: string, help: string, labelNames: string[] = []): Counter {
    return new Counter({ name, help, labelNames, registers: [this.registry] });
  }

  #histogram(name: string, help: string, buckets: number[], labelNames: string[] = []): Histogram {
    return new Histogram({ name, help, buckets, labelNames, registers: [this.registry] });
  }

  /** What answers undefined isn't there at present. */
  #gauge(name: string, help: string, read: () => number | undefined): void {
    new Gauge({
      name,
      help,
      registers: [this.registry],
      collect() {
        const value = read();
        if (value === undefined) this.remove();
        else this.set(value);
      },
    });
  }
}
