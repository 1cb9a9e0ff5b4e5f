/**
 * Builds the engine from its ports and the server from the engine: the only place where the layers meet. `serve` answers
 * a running server that can be stopped in order.
 */
import 'reflect-metadata';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { dirname } from 'node:path';
import fastifyStatic from '@fastify/static';
import { type Provider } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify';
import { controllers, embedded } from './app.module.js';
import { Offenders } from './engine/abuse/offenders.js';
import { Access } from './engine/access/access.js';
import { ForeignAccounts } from './engine/access/foreign-accounts.js';
import { GuardedEnvelopes } from './engine/access/guarded-envelopes.js';
import { HostedAccounts } from './engine/access/hosted-accounts.js';
import { Identities } from './engine/access/identities.js';
import type { KeySource } from './engine/access/keys.js';
import { PublicUrl } from './engine/access/public-url.js';
import { Engine } from './engine/engine.js';
import { Problem } from './engine/errors.js';
import { limits } from './engine/limits.js';
import type { Telemetry } from './engine/ports.js';
import type { JsonObject } from './engine/state/json.js';
import { isFree, type Subject } from './engine/subject.js';
import { type Tracing, untraced } from './engine/tracing.js';
import { Addresses } from './http/address.js';
import { Arrivals } from './http/arrivals.js';
import { Authentication } from './http/auth.guard.js';
import { boundConnections, foldMethod } from './http/connections.js';
import { ATTEMPT_WEIGHT, Gate, type RateKind, type Refusal } from './http/gate.js';
import { answerMalformed, noteAnswer } from './http/malformed.js';
import { answerError, type MountOptions, mount } from './http/mount.js';
import { ProblemFilter } from './http/problem.filter.js';
import { sendProblem } from './http/problem.js';
import { allowOrigins, Origins, shield } from './http/shield.js';
import { SystemFacts } from './http/system.controller.js';
import { Sweeper } from './jobs/sweeper.js';
import { type Config, isLoopback, type Rate } from './platform/config.js';
import { type Logger, newLogger } from './platform/logger.js';
import { Metrics } from './platform/metrics.js';
import { RemoteDocuments } from './platform/remote-documents.js';
import { openTracing } from './platform/tracing.js';
import { openDatabase } from './store/data-source.js';
import { SqlIdentityStore } from './store/identities.js';
import { SqlLogins } from './store/logins.js';
import { SqlStore } from './store/store.js';
import { WatchedDatabase } from './store/watched.js';

/** A path as long as this holds the longest names, percent-encoded. */
const PARAMETER_LENGTH_MAX = 1024;
/** A request that takes longer than this to arrive is a broken or hostile one. */
const REQUEST_MS = 60_000;
/** How often items whose time is over are looked for. */
const EXPIRY_MS = 1000;
/** How often sessions and locks are looked for whose time is over. */
const DUE_MS = 250;
/** How often usage is looked for that nobody has looked at for an hour. */
const USAGE_MS = 600_000;
/** How long the audit is kept, and what bounds subjects and addresses, where authentication is required and nothing else is said. */
const AUDIT_MS = 7 * 24 * 3600 * 1000;
const RATES = {
  writes: { count: 60_000, everyMs: 60_000 },
  reads: { count: 300_000, everyMs: 60_000 },
  streams: { count: 600, everyMs: 60_000 },
};
/** How often connections are looked at whose headers take too long. */
const CONNECTIONS_MS = 5000;
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

/** What may be given to a server in place of what it has by itself. */
export interface Parts {
  /** Where the keys of accounts are found. */
  readonly keys?: KeySource;
}

export async function serve(config: Config, parts: Parts = {}): Promise<RunningServer> {
  const logger = newLogger(config.STARGUS_LOG_LEVEL);
  const offenders = new Offenders({
    weightMax: config.STARGUS_BLOCK_AFTER * ATTEMPT_WEIGHT,
    blockMs: config.STARGUS_BLOCK,
  });
  const metrics: Metrics = new Metrics(
    () => ({ ...gaugesOf(engine), blockedAddresses: offenders.count(Date.now()) }),
    VERSION,
  );
  const spans = await openTracing(process.env, {
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
  const publicUrl = new PublicUrl(config.STARGUS_PUBLIC_URL, config.STARGUS_HOST, config.STARGUS_PORT);
  const engine = newEngine(config, store, metrics, logger, tracing);
  const identityStore = new SqlIdentityStore(database);
  const identities = newIdentities(config, identityStore, publicUrl, logger);
  const access = new Access(new SqlLogins(database), parts.keys ?? identities.keys, publicUrl, {
    operatorKey: config.STARGUS_OPERATOR_KEY,
    secret: config.STARGUS_SECRET,
    now: () => Date.now(),
    warn: (message, details) => logger.warn(details, message),
  });
  access.policyOf = (subject, pool) => policyOf(engine, subject, pool);
  identities.onEnded((account) => access.endAccount(account));
  access.revocations.onRevoked((ids) => engine.watching.endLogins(ids));
  const authentication = new Authentication(access.authenticator, publicUrl, {
    required: config.STARGUS_AUTH === 'required',
    isOwnHost: (hostname) => isLoopback(hostname) || hostname === config.STARGUS_HOST,
  });
  const facts = newFacts(metrics);
  const { app, instance } = await newApp(
    config,
    engine,
    access,
    authentication,
    identities.providers,
    facts,
    logger,
    metrics,
    offenders,
    tracing,
  );
  const sweepers = [
    [engine.compaction, config.STARGUS_SWEEP] as const,
    [engine.expiry, EXPIRY_MS] as const,
    [engine.due, DUE_MS] as const,
    [engine.metering, USAGE_MS] as const,
    [access, config.STARGUS_SWEEP] as const,
    // Woken by those who leave it work; this is for what other nodes left.
    [{ sweep: async () => engine.builder.wake() }, config.STARGUS_SWEEP] as const,
  ].map(
    ([work, everyMs]) =>
      new Sweeper(work, everyMs, (error) =>
        logger.warn({ error: traceOf(error) }, 'a sweep failed and is tried again'),
      ),
  );
  try {
    await access.open();
    if (config.STARGUS_AUTH === 'required' && config.STARGUS_OPERATOR_KEY === '')
      await printOperatorKey(access, identityStore, logger);
    await app.listen(config.STARGUS_PORT, config.STARGUS_HOST);
  } catch (error) {
    await access.close();
    await store.close();
    throw error;
  }
  publicUrl.listening(config.STARGUS_HOST, (instance.server.address() as AddressInfo).port);
  engine.watching.start();
  engine.leases.start();
  engine.metering.start();
  engine.audit.start();
  for (const sweeper of sweepers) sweeper.start();
  engine.builder.wake();
  return {
    url: await app.getUrl(),
    logger,
    async stop() {
      facts.stopping = true;
      engine.watching.close();
      engine.leases.close();
      const listening = new Promise<void>((resolve) => instance.server.close(() => resolve()));
      instance.server.closeIdleConnections();
      await Promise.all([...sweepers.map((sweeper) => sweeper.stop()), engine.builder.stop()]);
      await engine.audit.close();
      await engine.committer.close();
      const late = setTimeout(() => instance.server.closeAllConnections(), STOP_MS);
      await listening;
      clearTimeout(late);
      await app.close();
      await engine.metering.close();
      await access.close();
      await store.close();
      await spans?.close();
    },
  };
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

/** The pool as this node knows it, for who may do something there; for who is bound by a policy that it hasn't read yet, nothing. */
function stateOf(engine: Engine, pool: string, subject: Subject) {
  const replica = engine.replicas.known(pool);
  const isKnown = isFree(subject) || replica?.policies?.current.entitlementOf(subject).isEmpty === false;
  return isKnown ? replica : undefined;
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

/** Where an error comes from, without what it carries: a failed query's error carries the query's data. */
function traceOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

function newEngine(config: Config, store: SqlStore, metrics: Metrics, logger: Logger, tracing: Tracing): Engine {
  const telemetry: Telemetry = {
    groupCommitted: (_pool, commands, commits, seconds) => metrics.groupCommitted(commands, commits, seconds),
    groupFailed: (reason) => metrics.groupFailed(reason),
    viewsEvaluated: (count) => metrics.viewsEvaluated(count),
    framesSent: (frames, bytes) => metrics.framesSent(frames, bytes),
    watcherEnded: (reason) => metrics.streamEnded(reason),
    warn: (message, details) => logger.warn(details, message),
  };
  return new Engine(
    store,
    telemetry,
    { now: () => Date.now() },
    {
      createPools: config.STARGUS_CREATE_POOLS,
      cacheBytes: config.STARGUS_CACHE_MB * 1024 * 1024,
      retention: { ageMs: config.STARGUS_HISTORY, commits: config.STARGUS_HISTORY_COMMITS },
      streamMaxAgeMs: config.STARGUS_STREAM_AGE,
      pollMs: config.STARGUS_POLL,
      streamsMax: config.STARGUS_STREAMS,
      scanItemsMax: config.STARGUS_SCAN_ITEMS,
      usageMs: config.STARGUS_USAGE,
      auditMs: config.STARGUS_AUDIT === 'auto' ? (isClosed(config) ? AUDIT_MS : 0) : config.STARGUS_AUDIT,
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
    ...engine.lockCounts,
  };
}

function newFacts(metrics: Metrics): SystemFacts & { stopping: boolean } {
  let contract: string | undefined;
  return {
    version: VERSION,
    contract: () => (contract ??= readFileSync(CONTRACT, 'utf8')),
    metrics: async () => ({ contentType: metrics.contentType, text: await metrics.text() }),
    stopping: false,
  };
}

const isClosed = (config: Config) => config.STARGUS_AUTH === 'required';

function ratesOf(config: Config): Record<RateKind, Rate | undefined> {
  const rate = (set: Rate | 'auto' | undefined, usual: Rate | undefined) => (set === 'auto' ? usual : set);
  const usual: Partial<typeof RATES> = isClosed(config) ? RATES : {};
  return {
    login: rate(config.STARGUS_RATE_LOGIN, undefined),
    unlock: rate(config.STARGUS_RATE_UNLOCK, undefined),
    writes: rate(config.STARGUS_RATE_WRITES, usual.writes),
    reads: rate(config.STARGUS_RATE_READS, usual.reads),
    streams: rate(config.STARGUS_RATE_STREAMS, usual.streams),
  };
}

/** Everything that wants to know that somebody was turned away. */
function tellRefusal(engine: Engine, metrics: Metrics, refusal: Refusal): void {
  const { kind, pool, subject, address, operation: detail, isBlocked } = refusal;
  metrics.refused(kind);
  // What is turned away without a look isn't told one by one.
  if (kind === 'blocked' || kind === 'rate' || kind === 'connections') return;
  if (pool !== undefined) engine.metering.refusal(pool, subject === undefined ? { address } : { subject }, isBlocked);
  const told = { pool, subject, address, detail };
  engine.audit.note({ ...told, kind: kind === 'login' || kind === 'unlock' ? `${kind}Refused` : 'refused' });
  if (isBlocked) engine.audit.note({ ...told, kind: 'blocked' });
}

async function newApp(
  config: Config,
  engine: Engine,
  access: Access,
  authentication: Authentication,
  identities: Provider[],
  facts: SystemFacts,
  logger: Logger,
  metrics: Metrics,
  offenders: Offenders,
  tracing: Tracing,
) {
  const addresses = new Addresses(config.STARGUS_TRUSTED_PROXIES, config.STARGUS_UNLIMITED);
  const gate = new Gate({
    rates: ratesOf(config),
    addresses,
    offenders,
    refused: (refusal) => tellRefusal(engine, metrics, refusal),
    forwarded: () =>
      logger.warn(
        'Requests come through a proxy that is not named in STARGUS_TRUSTED_PROXIES: addresses are neither bounded nor blocked',
      ),
  });
  const options: MountOptions = {
    arrivals: new Arrivals(REQUEST_MS),
    gate,
    admit: (request) => authentication.checkHost(request),
    authenticate: (request) => authentication.authenticate(request),
    isRevoked: (subject) => access.revocations.covers(subject),
    known: (request) => authentication.known(request),
    checkNumber: (login, seq) => access.proofs.checkNumber(login, seq),
    touch: (pool, session, subject) => engine.leases.touch(pool, session, subject),
    stateOf: (pool, subject) => stateOf(engine, pool, subject),
    uses: engine.metering,
    tracing,
    answered: (operation, status, seconds, requestId) => {
      metrics.requestAnswered(operation, status, seconds);
      if (logger.isLevelEnabled('debug'))
        logger.debug({ operation, status, ms: seconds * 1000, requestId }, 'answered');
    },
    failed: (error, requestId) => logger.error({ error: traceOf(error), requestId }, 'a request failed'),
  };
  const instance = newFastify(options, addresses);
  // First, so that pages may read also what the gate refuses.
  await allowOrigins(instance, config.STARGUS_CORS_ORIGINS);
  guard(instance, options, new Origins(config.STARGUS_CORS_ORIGINS));
  boundConnections(
    instance.server,
    addresses,
    { inAll: config.STARGUS_CONNECTIONS, perAddress: config.STARGUS_CONNECTIONS_PER_ADDRESS },
    (address) => gate.refusedConnection(address),
  );
  await instance.register(fastifyStatic, {
    root: dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json')),
    prefix: '/docs/assets/',
    index: false,
  });
  const module = embedded([
    { provide: Engine, useValue: engine },
    { provide: Gate, useValue: gate },
    { provide: Access, useValue: access },
    { provide: Authentication, useValue: authentication },
    { provide: SystemFacts, useValue: facts },
    ...identities,
  ]);
  // The adapter adds its own middleware engine to what it didn't make; there is none to run.
  const adapter = new FastifyAdapter(instance);
  const app = await NestFactory.create<NestFastifyApplication>(module, adapter, {
    logger: ['error', 'warn'],
    bodyParser: false,
  });
  app.useGlobalFilters(new ProblemFilter(options.failed));
  mount(
    instance,
    controllers.map((controller) => app.get<object>(controller)),
    options,
  );
  return { app, instance };
}

function newFastify(options: MountOptions, addresses: Addresses): FastifyInstance {
  const prefix = randomBytes(4).toString('hex');
  let requests = 0;
  const instance = fastify({
    logger: false,
    http: { maxHeaderSize: limits.headerBytesMax, connectionsCheckingInterval: CONNECTIONS_MS },
    ...(addresses.trustsAny && { trustProxy: addresses.trusts }),
    // Arrivals keeps the time of bodies, Node that of headers.
    requestTimeout: 0,
    // Nobody holds a connection on which nothing moves; streams keep their own time.
    connectionTimeout: limits.watchStallMs,
    clientErrorHandler: answerMalformed,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: PARAMETER_LENGTH_MAX, ignoreTrailingSlash: false },
    // A client may name its request, so that its own traces and these meet.
    genReqId: ({ headers }) => {
      const given = headers['request-id'];
      return typeof given === 'string' && /^[A-Za-z0-9._-]{1,64}$/.test(given)
        ? given
        : `${prefix}-${(++requests).toString(36)}`;
    },
    frameworkErrors: (error, request, reply) => {
      reply.header('request-id', request.id);
      answerError(error, undefined, request as FastifyRequest, reply as FastifyReply, options);
    },
  });
  // Node leaves out what is beyond it without a word; the gate refuses half of it.
  instance.server.maxHeadersCount = 2 * limits.headersMax;
  options.arrivals.start();
  // Before Fastify has it: what is refused as no request of ours may go on sending as well.
  instance.server.prependListener('request', (request, response) => {
    foldMethod(request);
    noteAnswer(request.socket, response);
    options.arrivals.begin(request, response);
  });
  instance.addHook('onClose', (_instance, done) => {
    options.arrivals.stop();
    done();
  });
  return instance;
}

/** What every request meets before its route. */
function guard(instance: FastifyInstance, options: MountOptions, origins: Origins): void {
  instance.addHook('onRequest', (request, reply, done) => {
    reply.header('request-id', request.id);
    shield(request, reply);
    const problem = options.gate.enter(request) ?? origins.check(request);
    if (!problem) return done();
    options.gate.refused(problem, undefined, request, undefined);
    sendProblem(request, reply, problem);
  });
}
