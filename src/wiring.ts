/**
 * Builds the engine from its ports and the server from the engine: the only place where the layers meet. `serve` answers
 * a running server that can be stopped in order.
 */
import 'reflect-metadata';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { type Provider } from '@nestjs/common';
import { Offenders } from './engine/abuse/offenders.js';
import { Access } from './engine/access/access.js';
import { ForeignAccounts } from './engine/access/foreign-accounts.js';
import { GuardedEnvelopes } from './engine/access/guarded-envelopes.js';
import { HostedAccounts } from './engine/access/hosted-accounts.js';
import { Identities } from './engine/access/identities.js';
import type { KeySource } from './engine/access/keys.js';
import { PublicUrl } from './engine/access/public-url.js';
import { Seal } from './engine/access/secrets.js';
import { Engine, type Outlets } from './engine/engine.js';
import { Problem } from './engine/errors.js';
import { limits } from './engine/limits.js';
import type { Owner } from './engine/notifiers/owner.js';
import type { Telemetry, WorkQueue } from './engine/ports.js';
import type { JsonObject } from './engine/state/json.js';
import { anonymous, type Subject } from './engine/subject.js';
import { Authentication } from './http/auth.guard.js';
import { ATTEMPT_WEIGHT } from './http/gate.js';
import type { SystemFacts } from './http/system.controller.js';
import { LocalWork } from './jobs/local-work.js';
import { Sweeper } from './jobs/sweeper.js';
import { type Config, isLoopback } from './platform/config.js';
import { type Logger, newLogger, traceOf } from './platform/logger.js';
import { Metrics } from './platform/metrics.js';
import { RemoteDocuments } from './platform/remote-documents.js';
import { WebhookSender } from './platform/webhooks.js';
import { newApp } from './serving.js';
import { openDatabase } from './store/data-source.js';
import { SqlIdentityStore } from './store/identities.js';
import { SqlLogins } from './store/logins.js';
import { SqlNotifiers } from './store/notifiers.js';
import { SqlStore } from './store/store.js';

/** How often items whose time is over are looked for. */
const EXPIRY_MS = 1000;
/** How often sessions and locks are looked for whose time is over. */
const DUE_MS = 250;
/** How often usage is looked for that nobody has looked at for an hour. */
const USAGE_MS = 600_000;
/** How long the audit is kept where authentication is required and nothing else is said. */
const AUDIT_MS = 7 * 24 * 3600 * 1000;
/** Works that one process does at a time, deliveries above all: they mostly wait for others. */
const WORKS_AT_A_TIME = 32;
/** How often work is looked for that nobody wanted, or whose wanting was lost. */
const LOOK_MS = 5000;
const LOOK_MAX = 1000;
/** How long a stop waits for connections that don't end by themselves. */
const STOP_MS = 3000;
const CONTRACT = new URL('../../openapi/stargus.json', import.meta.url);
const PACKAGE = new URL('../../package.json', import.meta.url);

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
  const database = await openDatabase({ url: config.STARGUS_DATABASE_URL, migrate: config.STARGUS_MIGRATE });
  const store = new SqlStore(database);
  const offenders = new Offenders({
    weightMax: config.STARGUS_BLOCK_AFTER * ATTEMPT_WEIGHT,
    blockMs: config.STARGUS_BLOCK,
  });
  const metrics: Metrics = new Metrics(() => ({
    ...gaugesOf(engine),
    blockedAddresses: offenders.count(Date.now()),
  }));
  const publicUrl = new PublicUrl(config.STARGUS_PUBLIC_URL, config.STARGUS_HOST, config.STARGUS_PORT);
  const work = new LocalWork({
    concurrency: WORKS_AT_A_TIME,
    lookMs: LOOK_MS,
    lookMax: LOOK_MAX,
    warn: (error, wanted) => logger.warn({ error: traceOf(error), ...wanted }, 'work failed and is tried again'),
  });
  const outlets: Outlets = {
    store: new SqlNotifiers(database),
    webhooks: newWebhooks(config),
    // Queues of sessions: a QueueTarget on the queues' own command goes here.
    queues: undefined,
    owners: { whyEnded: (owner) => whyEnded(owner, access, config) },
    url: publicUrl,
    seal: new Seal(config.STARGUS_SECRET, 'notifier secret'),
  };
  const engine = newEngine(config, store, metrics, work, outlets, logger);
  const identityStore = new SqlIdentityStore(database);
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
  const facts = newFacts(metrics);
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
    providers,
  });
  const sweepers = [
    [engine.compaction, config.STARGUS_SWEEP] as const,
    [engine.expiry, EXPIRY_MS] as const,
    [engine.due, DUE_MS] as const,
    [engine.metering, USAGE_MS] as const,
    [access, config.STARGUS_SWEEP] as const,
    [engine.notifiers, config.STARGUS_SWEEP] as const,
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
  work.start(engine.workers);
  return {
    url: await app.getUrl(),
    logger,
    async stop() {
      facts.stopping = true;
      engine.watching.close();
      engine.leases.close();
      const listening = new Promise<void>((resolve) => instance.server.close(() => resolve()));
      instance.server.closeIdleConnections();
      await Promise.all([...sweepers.map((sweeper) => sweeper.stop()), engine.builder.stop(), work.stop()]);
      await engine.audit.close();
      await engine.committer.close();
      const late = setTimeout(() => instance.server.closeAllConnections(), STOP_MS);
      await listening;
      clearTimeout(late);
      await app.close();
      await engine.metering.close();
      await access.close();
      await store.close();
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

/** Why there is nobody any more by whose rights a notifier watches. */
async function whyEnded({ subject, keys }: Owner, access: Access, config: Config): Promise<string | undefined> {
  if (subject.id === anonymous.id && config.STARGUS_AUTH === 'required')
    return 'It was written where no authentication was required, by nobody who could be known.';
  for (const key of keys) if (!(await access.apiKeys.lasts(key))) return 'The API key by which it was written is gone.';
  return undefined;
}

function newWebhooks({ STARGUS_WEBHOOK_PRIVATE: isPrivate, STARGUS_AUTH }: Config): WebhookSender {
  return new WebhookSender({
    isPrivateAllowed: isPrivate === 'auto' ? STARGUS_AUTH === 'open' : isPrivate === '1',
    timeoutMs: limits.deliveryMs,
    connectMs: limits.deliveryConnectMs,
    answerBytesMax: limits.deliveryAnswerBytesMax,
    answerMs: limits.deliveryAnswerMs,
    urlLengthMax: limits.webhookUrlLengthMax,
    channelsMax: limits.deliveryChannelsMax,
    channelsPerHostMax: limits.deliveryChannelsPerHostMax,
  });
}

function newEngine(
  config: Config,
  store: SqlStore,
  metrics: Metrics,
  work: WorkQueue,
  outlets: Outlets,
  logger: Logger,
): Engine {
  const telemetry: Telemetry = {
    groupCommitted: (_pool, commands, commits, seconds) => metrics.groupCommitted(commands, commits, seconds),
    groupFailed: (reason) => metrics.groupFailed(reason),
    viewsEvaluated: (count) => metrics.viewsEvaluated(count),
    framesSent: (frames, bytes) => metrics.framesSent(frames, bytes),
    watcherEnded: (reason) => metrics.streamEnded(reason),
    notifierDelivered: (outcome) => metrics.notifierDelivered(outcome),
    warn: (message, details) => logger.warn(details, message),
  };
  return new Engine(store, telemetry, { now: () => Date.now() }, work, outlets, {
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
  });
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
  const { streams, groups, bufferedBytes } = engine.watching.counts;
  return {
    streams,
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

function newFacts(metrics: Metrics): SystemFacts & { stopping: boolean } {
  let contract: string | undefined;
  return {
    version: (JSON.parse(readFileSync(PACKAGE, 'utf8')) as { version: string }).version,
    contract: () => (contract ??= readFileSync(CONTRACT, 'utf8')),
    metrics: async () => ({ contentType: metrics.contentType, text: await metrics.text() }),
    stopping: false,
  };
}
