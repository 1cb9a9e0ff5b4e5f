/**
 * Builds the engine from its ports and the server from the engine: the only place where the layers meet. `build` makes a server
 * that doesn't listen yet, and may never (stargus.ts); `serve` has it listen and answers it running. Both are stopped in order.
 */
import 'reflect-metadata';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { type Provider } from '@nestjs/common';
import { announce } from './announcing.js';
import { Offenders } from './engine/abuse/offenders.js';
import { Access } from './engine/access/access.js';
import { ForeignAccounts } from './engine/access/foreign-accounts.js';
import { GuardedEnvelopes } from './engine/access/guarded-envelopes.js';
import { HostedAccounts } from './engine/access/hosted-accounts.js';
import { Identities } from './engine/access/identities.js';
import type { KeySource } from './engine/access/keys.js';
import { PublicUrl } from './engine/access/public-url.js';
import { Engine, type Outlets } from './engine/engine.js';
import { Problem } from './engine/errors.js';
import { limits } from './engine/limits.js';
import type { Telemetry } from './engine/ports.js';
import type { JsonObject } from './engine/state/json.js';
import type { Subject } from './engine/subject.js';
import { type Tracing, untraced } from './engine/tracing.js';
import { Authentication } from './http/auth.guard.js';
import { ATTEMPT_WEIGHT } from './http/gate.js';
import { InProcess } from './http/in-process.js';
import { Performing } from './http/performing.js';
import type { SystemFacts } from './http/system.controller.js';
import { type Background, type BackgroundOptions, LocalBackground, type Scheduled } from './jobs/background.js';
import { boardOf } from './jobs/board.js';
import { RedisBackground } from './jobs/redis-background.js';
import type { Announcer } from './lan/announcer.js';
import { outletsOf } from './outlets.js';
import { type Config, hidePassword, isLoopback } from './platform/config.js';
import { type Logger, newLogger, traceOf } from './platform/logger.js';
import { Metrics } from './platform/metrics.js';
import { RemoteDocuments } from './platform/remote-documents.js';
import { openTracing } from './platform/tracing.js';
import { newApp, QUEUES_PATH, quietly } from './serving.js';
import { openDatabase } from './store/data-source.js';
import { SqlIdentityStore } from './store/identities.js';
import { SqlLogins } from './store/logins.js';
import { SqlStore } from './store/store.js';
import { WatchedDatabase } from './store/watched.js';

/** How often items whose time is over are looked for. */
const EXPIRY_MS = 1000;
/** How often sessions and locks are looked for whose time is over. */
const DUE_MS = 250;
/** How often usage is looked for that nobody has looked at for an hour. */
const USAGE_MS = 600_000;
/** How long the audit is kept where authentication is required and nothing else is said. */
const AUDIT_MS = 7 * 24 * 3600 * 1000;
/** Works of one kind that one process does at a time, deliveries above all: they mostly wait for others. */
const WORKS_AT_A_TIME = 32;
/** How long a stop waits for connections that don't end by themselves. */
const STOP_MS = 3000;
const CONTRACT = new URL('../../openapi/stargus.json', import.meta.url);
const PACKAGE = new URL('../../package.json', import.meta.url);
const VERSION = (JSON.parse(readFileSync(PACKAGE, 'utf8')) as { version: string }).version;

export interface RunningServer {
  readonly url: string;
  readonly logger: Logger;
  /** No new work, open commits finish, streams get `bye`, everything is closed. */
  stop(): Promise<void>;
}

/** A server that is ready to answer, and hasn't a port before it is told to listen. */
export interface BuiltServer {
  readonly publicUrl: PublicUrl;
  readonly logger: Logger;
  /** Answers requests of this process. */
  readonly inProcess: InProcess;
  /** Opens a port, once; answers the URL there. */
  listen(port: number, host: string): Promise<string>;
  /** Begins what is done in the background. */
  start(): void;
  /** As RunningServer's; also of one that has begun nothing. */
  stop(): Promise<void>;
}

/** What may be given to a server in place of what it has by itself. */
export interface Parts {
  /** Where the keys of accounts are found. */
  readonly keys?: KeySource;
  readonly logger?: Logger;
  /** The process is another program's: nothing is set, measured or printed that is the whole process's. */
  readonly isGuest?: boolean;
}

export async function serve(config: Config, parts: Parts = {}): Promise<RunningServer> {
  const server = await build(config, parts);
  try {
    const url = await server.listen(config.STARGUS_PORT, config.STARGUS_HOST);
    server.start();
    return { url, logger: server.logger, stop: () => server.stop() };
  } catch (error) {
    await server.stop();
    throw error;
  }
}

export async function build(config: Config, parts: Parts = {}): Promise<BuiltServer> {
  const logger = parts.logger ?? newLogger(config.STARGUS_LOG_LEVEL);
  const offenders = new Offenders({
    weightMax: config.STARGUS_BLOCK_AFTER * ATTEMPT_WEIGHT,
    blockMs: config.STARGUS_BLOCK,
  });
  const metrics: Metrics = new Metrics(
    () => ({
      ...gaugesOf(engine),
      blockedAddresses: offenders.count(Date.now()),
      redisUp: background.isRedisUp,
    }),
    VERSION,
    { ofProcess: parts.isGuest !== true },
  );
  metrics.worksWaiting = () => background.waiting();
  // Of another program's process it is that program which says what is traced.
  const spans = await openTracing(parts.isGuest ? {} : process.env, {
    version: VERSION,
    exported: (count, delivered) => metrics.spansExported(count, delivered),
    warn: (message, details) => logger.warn(details, message),
  });
  const tracing: Tracing = spans ?? untraced;
  const database = new WatchedDatabase(
    await openDatabase({ url: config.STARGUS_DATABASE_URL, migrate: config.STARGUS_MIGRATE }),
    (work, seconds, fault) => metrics.databaseWorked(work, seconds, fault),
  );
  const store = new SqlStore(database);
  const publicUrl = new PublicUrl(
    config.STARGUS_PUBLIC_URL,
    config.STARGUS_HOST,
    parts.isGuest ? 0 : config.STARGUS_PORT,
    parts.isGuest,
  );
  const identityStore = new SqlIdentityStore(database);
  const background = await newBackground(config, identityStore, metrics, logger);
  const outlets = outletsOf(config, database, publicUrl, { engine: () => engine, access: () => access });
  const engine: Engine = newEngine(config, store, background, outlets, metrics, logger, tracing);
  const identities = newIdentities(config, identityStore, publicUrl, logger);
  const access: Access = new Access(new SqlLogins(database), parts.keys ?? identities.keys, publicUrl, {
    operatorKey: config.STARGUS_OPERATOR_KEY,
    secret: config.STARGUS_SECRET,
    now: () => Date.now(),
    warn: (message, details) => logger.warn(details, message),
  });
  access.policyOf = (subject, pool) => policyOf(engine, subject, pool);
  identities.onEnded(async (account) => {
    await access.endAccount(account);
    await engine.notifiers.endOwner(account);
  });
  access.revocations.onRevoked((ids) => engine.watching.endLogins(ids));
  const authentication = new Authentication(access.authenticator, publicUrl, {
    required: config.STARGUS_AUTH === 'required',
    isOwnHost: (hostname) => isLoopback(hostname) || hostname === config.STARGUS_HOST,
  });
  const facts = newFacts(config, metrics, background);
  const { providers } = identities;
  const { app, instance } = await newApp({
    config,
    engine,
    access,
    authentication,
    offenders,
    facts,
    logger,
    metrics,
    tracing,
    providers,
    queues: background instanceof RedisBackground ? boardOf(background.queues, QUEUES_PATH) : undefined,
    isGuest: parts.isGuest === true,
  });
  engine.operationWorker.performer = new Performing(instance);
  const inProcess = new InProcess(instance.server, () => publicUrl.href);
  let announcer: Announcer | undefined;
  const server: BuiltServer = {
    publicUrl,
    logger,
    inProcess,
    async listen(port, host) {
      await (parts.isGuest ? quietly(() => app.listen(port, host)) : app.listen(port, host));
      const address = instance.server.address() as AddressInfo;
      publicUrl.listening(host, address.port);
      if (config.STARGUS_LAN) announcer = announce(config, engine, facts.version, address, logger);
      return app.getUrl();
    },
    start() {
      engine.watching.start();
      engine.leases.start();
      engine.metering.start();
      engine.audit.start();
      if (config.STARGUS_ROLE === 'api') engine.committer.onBuilding = () => background.sweepSoon('indexes');
      else background.start(engine.workers, sweepsOf(config, engine, access));
    },
    async stop() {
      facts.stopping = true;
      // Load balancers learn by /readyz that nothing new is to come here, while all is still answered.
      if (config.STARGUS_DRAIN > 0) await new Promise((resolve) => setTimeout(resolve, config.STARGUS_DRAIN));
      const ended = [announcer?.close(), inProcess.close()];
      engine.watching.close();
      engine.leases.close();
      engine.operations.close();
      const listening = new Promise<void>((resolve) => instance.server.close(() => resolve()));
      instance.server.closeIdleConnections();
      await Promise.all([background.stop(), engine.builder.stop()]);
      await engine.audit.close();
      await engine.committer.close();
      const late = setTimeout(() => {
        instance.server.closeAllConnections();
        inProcess.cut();
      }, STOP_MS);
      await Promise.all([listening, ...ended]);
      clearTimeout(late);
      await app.close();
      await engine.metering.close();
      await background.close();
      await access.close();
      await store.close();
      await spans?.close();
    },
  };
  try {
    await access.open();
    if (config.STARGUS_AUTH === 'required' && config.STARGUS_OPERATOR_KEY === '')
      await printOperatorKey(access, identityStore, logger);
    return server;
  } catch (error) {
    await server.stop();
    throw error;
  }
}

/** The first start makes the operator's key and shows it, past the logger, whose lines are kept. Later starts have nothing to show. */
async function printOperatorKey(access: Access, store: SqlIdentityStore, logger: Logger): Promise<void> {
  const made = await access.apiKeys.createOperator();
  if (made === undefined) return;
  const accounts = await store.countAccounts();
  if (accounts + made.others > 0)
    logger.warn(
      { accounts, apiKeys: made.others },
      'accounts and API keys that were made before authentication was required are good from now on; docs/OPERATING.md says where to look through them',
    );
  process.stdout.write(`
The operator's API key, shown this once:

  ${made.secret}

Keep it well: whoever has it may do everything. It is sent as \`Authorization: Bearer <key>\`.

`);
}

/** What holds for the caller; nothing in a pool that isn't there, or where they may do nothing. */
async function policyOf(engine: Engine, subject: Subject, pool: string) {
  try {
    const { rules, restrictions } = await engine.explaining.effective(pool, subject);
    return { rules: rules as unknown as JsonObject[], restrictions: restrictions as unknown as JsonObject[][] };
  } catch (error) {
    if (error instanceof Problem && (error.code === 'notFound' || error.code === 'forbidden'))
      return { rules: [], restrictions: [] };
    throw error;
  }
}

/** The bus, the work and the sweeps: of this process alone, or shared over Redis. */
async function newBackground(
  config: Config,
  store: SqlIdentityStore,
  metrics: Metrics,
  logger: Logger,
): Promise<Background> {
  const options: BackgroundOptions = {
    concurrency: WORKS_AT_A_TIME,
    done: (kind, outcome) => metrics.workDone(kind, outcome),
    warn: (error, details) => logger.warn({ error: traceOf(error), ...details }, 'failed, and is tried again'),
  };
  const { STARGUS_REDIS_URL: url } = config;
  if (url === '') return new LocalBackground(options);
  return new RedisBackground({
    ...options,
    url,
    secret: await store.secret(),
    woke: (direction) => metrics.woke(direction),
    changed: (isConnected) => {
      const redis = hidePassword(url);
      if (isConnected) logger.info({ redis }, 'Redis is there');
      else logger.warn({ redis }, 'Redis is away: other nodes are asked for in the database, and work waits');
    },
  });
}

/** What is done again and again, by name. */
function sweepsOf(config: Config, engine: Engine, access: Access): Scheduled[] {
  const { STARGUS_SWEEP: everyMs } = config;
  return [
    { name: 'compaction', work: engine.compaction, everyMs },
    { name: 'operations', work: engine.operations, everyMs },
    { name: 'notifiers', work: engine.notifiers, everyMs },
    { name: 'expiry', work: engine.expiry, everyMs: EXPIRY_MS },
    { name: 'due', work: engine.due, everyMs: DUE_MS },
    { name: 'usage', work: engine.metering, everyMs: USAGE_MS },
    { name: 'access', work: access, everyMs },
    // Woken by those who leave it work; this is for what other nodes left.
    { name: 'indexes', work: { sweep: async () => engine.builder.wake() }, everyMs },
  ];
}

function newEngine(
  config: Config,
  store: SqlStore,
  { bus, work }: Background,
  outlets: Outlets,
  metrics: Metrics,
  logger: Logger,
  tracing: Tracing,
): Engine {
  const telemetry: Telemetry = {
    groupCommitted: (_pool, commands, commits, seconds) => metrics.groupCommitted(commands, commits, seconds),
    groupFailed: (reason) => metrics.groupFailed(reason),
    viewsEvaluated: (count) => metrics.viewsEvaluated(count),
    framesSent: (frames, bytes) => metrics.framesSent(frames, bytes),
    watcherEnded: (reason) => metrics.streamEnded(reason),
    broughtForward: (cause) => metrics.broughtForward(cause),
    notifierDelivered: (outcome) => metrics.notifierDelivered(outcome),
    warn: (message, details) => logger.warn(details, message),
  };
  return new Engine(
    store,
    telemetry,
    { now: () => Date.now() },
    bus,
    work,
    outlets,
    {
      createPools: config.STARGUS_CREATE_POOLS,
      cacheBytes: config.STARGUS_CACHE_MB * 1024 * 1024,
      retention: { ageMs: config.STARGUS_HISTORY, commits: config.STARGUS_HISTORY_COMMITS },
      streamMaxAgeMs: config.STARGUS_STREAM_AGE,
      pollMs: config.STARGUS_POLL,
      streamsMax: config.STARGUS_STREAMS,
      scanItemsMax: config.STARGUS_SCAN_ITEMS,
      usageMs: config.STARGUS_USAGE,
      auditMs:
        config.STARGUS_AUDIT === 'auto' ? (config.STARGUS_AUTH === 'required' ? AUDIT_MS : 0) : config.STARGUS_AUDIT,
    },
    tracing,
  );
}

/** Accounts: where logging in finds their keys, and what the controllers are given of them. */
function newIdentities(
  config: Config,
  store: SqlIdentityStore,
  publicUrl: PublicUrl,
  logger: Logger,
): { keys: KeySource; providers: Provider[]; onEnded(listener: (account: string) => Promise<void>): void } {
  const isPrivateAllowed = config.STARGUS_IDENTITY_PRIVATE;
  const reader = new RemoteDocuments({
    isPrivateAllowed,
    bytesMax: limits.identityDocumentBytesMax,
    timeoutMs: limits.identityReadMs,
    redirectsMax: limits.identityRedirectsMax,
  });
  const foreign = new ForeignAccounts(
    store,
    reader,
    { now: () => Date.now() },
    { isPrivateAllowed, warn: (message, details) => logger.warn(details, message) },
  );
  const hosted = new HostedAccounts(store, publicUrl);
  const providers: Provider[] = [
    { provide: PublicUrl, useValue: publicUrl },
    { provide: HostedAccounts, useValue: hosted },
    { provide: ForeignAccounts, useValue: foreign },
    { provide: GuardedEnvelopes, useValue: new GuardedEnvelopes(store, hosted, publicUrl) },
  ];
  const onEnded = (listener: (account: string) => Promise<void>) => {
    hosted.ended = listener;
    foreign.ended = listener;
  };
  return { keys: new Identities(hosted, foreign, publicUrl), providers, onEnded };
}

function gaugesOf(engine: Engine) {
  const { streams, behind, groups, bufferedBytes } = engine.watching.counts;
  return {
    streams,
    streamsBehind: behind,
    watchGroups: groups,
    bufferedBytes,
    queuedCommands: engine.committer.depth,
    pools: engine.replicas.size,
    cacheBytes: engine.cacheBytes,
    leasesHeld: engine.leases.held,
    notifierLag: engine.notifiers.lag,
    ...engine.lockCounts,
  };
}

function newFacts(config: Config, metrics: Metrics, background: Background): SystemFacts & { stopping: boolean } {
  let contract: string | undefined;
  return {
    role: config.STARGUS_ROLE,
    redis: () => background.isRedisUp,
    version: VERSION,
    contract: () => (contract ??= readFileSync(CONTRACT, 'utf8')),
    metrics: async () => ({ contentType: metrics.contentType, text: await metrics.text() }),
    stopping: false,
  };
}
