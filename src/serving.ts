/**
 * Builds the web server from the engine: Fastify with what every request meets before its route, Nest with the controllers, and the
 * routes that bind the two. It listens when wiring.ts has it listen.
 */
import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import fastifyStatic from '@fastify/static';
import { Logger as NestLogger, type Provider } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import {
  type FastifyInstance,
  type FastifyPluginCallback,
  type FastifyReply,
  type FastifyRequest,
  fastify,
} from 'fastify';
import { controllers, embedded } from './app.module.js';
import type { Offenders } from './engine/abuse/offenders.js';
import { Access } from './engine/access/access.js';
import { Engine } from './engine/engine.js';
import { Problem } from './engine/errors.js';
import { limits } from './engine/limits.js';
import { anonymous, isFree, type Subject } from './engine/subject.js';
import type { Tracing } from './engine/tracing.js';
import { Addresses } from './http/address.js';
import { Arrivals } from './http/arrivals.js';
import { Authentication } from './http/auth.guard.js';
import { boundConnections, foldMethod } from './http/connections.js';
import { Gate, type RateKind, type Refusal } from './http/gate.js';
import { answerMalformed, noteAnswer } from './http/malformed.js';
import { answerError, type MountOptions, mount } from './http/mount.js';
import { performer, taskOf } from './http/performing.js';
import { ProblemFilter } from './http/problem.filter.js';
import { sendProblem } from './http/problem.js';
import { allowOrigins, Origins, shield } from './http/shield.js';
import { SystemFacts } from './http/system.controller.js';
import { BOARD_POLICY } from './jobs/board.js';
import { type Config, type Rate } from './platform/config.js';
import type { Logger } from './platform/logger.js';
import { traceOf } from './platform/logger.js';
import type { Metrics } from './platform/metrics.js';

/** A path as long as this holds the longest names, percent-encoded. */
const PARAMETER_LENGTH_MAX = 1024;
/** A request that takes longer than this to arrive is a broken or hostile one. */
const REQUEST_MS = 60_000;
/** What bounds subjects and addresses where authentication is required and nothing else is said. */
const RATES = {
  writes: { count: 60_000, everyMs: 60_000 },
  reads: { count: 300_000, everyMs: 60_000 },
  streams: { count: 600, everyMs: 60_000 },
};
/** How often connections are looked at whose headers take too long. */
const CONNECTIONS_MS = 5000;

function ratesOf(config: Config): Record<RateKind, Rate | undefined> {
  const rate = (set: Rate | 'auto' | undefined, usual: Rate | undefined) => (set === 'auto' ? usual : set);
  const usual: Partial<typeof RATES> = config.STARGUS_AUTH === 'required' ? RATES : {};
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

/** What the web server is made of. */
export interface Served {
  readonly config: Config;
  readonly engine: Engine;
  readonly access: Access;
  readonly authentication: Authentication;
  readonly offenders: Offenders;
  readonly facts: SystemFacts;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly tracing: Tracing;
  /** What controllers are given beside these. */
  readonly providers: readonly Provider[];
  /** A page that shows the queues, where there are some. */
  readonly queues?: FastifyPluginCallback | undefined;
  /** Whether the process is another program's. */
  readonly isGuest: boolean;
}

/** The web server with every route, ready for requests but not listening. */
export async function newApp(served: Served): Promise<{ app: NestFastifyApplication; instance: FastifyInstance }> {
  const { config, engine, access, authentication, offenders, facts, logger, metrics, tracing } = served;
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
    admit: (request) => {
      if (!taskOf(request)) authentication.checkHost(request);
    },
    authenticate: (request) => {
      const task = taskOf(request);
      return task
        ? performer(task, (subject) => isRevoked(access, authentication, subject))
        : authentication.authenticate(request);
    },
    isRevoked: (subject) => access.revocations.covers(subject),
    known: (request) => taskOf(request)?.subject ?? authentication.known(request),
    checkNumber: (login, seq) => access.proofs.checkNumber(login, seq),
    touch: (pool, session, subject) => engine.leases.touch(pool, session, subject),
    stateOf: (pool, subject) => stateOf(engine, pool, subject),
    operations: engine.operations,
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
  if (config.STARGUS_ROLE === 'worker') refuseOutsiders(instance);
  guard(instance, options, new Origins(config.STARGUS_CORS_ORIGINS), facts);
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
    decorateReply: false,
  });
  if (served.queues) await showQueues(instance, served.queues, authentication, options);
  const module = embedded([
    { provide: Engine, useValue: engine },
    { provide: Gate, useValue: gate },
    { provide: Access, useValue: access },
    { provide: Authentication, useValue: authentication },
    { provide: SystemFacts, useValue: facts },
    ...served.providers,
  ]);
  // The adapter adds its own middleware engine to what it didn't make; there is none to run.
  const adapter = new FastifyAdapter(instance);
  const make = async () => {
    const app = await NestFactory.create<NestFastifyApplication>(module, adapter, {
      ...(served.isGuest ? { abortOnError: false } : { logger: ['error', 'warn'] }),
      bodyParser: false,
    });
    app.useGlobalFilters(new ProblemFilter(options.failed));
    mount(
      instance,
      controllers.map((controller) => app.get<object>(controller)),
      options,
    );
    await app.init();
    await instance.ready();
    return app;
  };
  const app = await (served.isGuest ? quietly(make) : make());
  return { app, instance };
}

const SILENT = { log: () => {}, error: () => {}, warn: () => {} };
const shared = NestLogger as unknown as { staticInstanceRef: unknown };
let before: unknown;
let quiet = 0;

/** Nest's one logger, which the program whose guest this is may use itself, says nothing while the work is done. */
export async function quietly<T>(work: () => Promise<T>): Promise<T> {
  if (quiet++ === 0) {
    before = shared.staticInstanceRef;
    shared.staticInstanceRef = SILENT;
  }
  try {
    return await work();
  } finally {
    if (--quiet === 0 && shared.staticInstanceRef === SILENT) shared.staticInstanceRef = before;
  }
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

/** Where the queues are shown, to operators only. */
export const QUEUES_PATH = '/queues';

async function showQueues(
  instance: FastifyInstance,
  queues: FastifyPluginCallback,
  authentication: Authentication,
  options: MountOptions,
): Promise<void> {
  await instance.register(
    (board, _options, done) => {
      board.addHook('onRequest', async (request, reply) => {
        try {
          authentication.checkHost(request);
          if (!isFree(await authentication.authenticate(request)))
            throw new Problem('forbidden', 'The queues are shown to operators.');
          reply.header('content-security-policy', BOARD_POLICY);
        } catch (error) {
          answerError(error, undefined, request, reply, options);
        }
      });
      board.register(queues);
      done();
    },
    { prefix: QUEUES_PATH },
  );
}

/** What a process that only works in the background is asked from outside. */
const OF_WORKERS = new Set(['/healthz', '/readyz', '/metrics']);

/** A worker has every route, for writes that it was left to do, but from outside it is only asked how it is. */
function refuseOutsiders(instance: FastifyInstance): void {
  instance.addHook('onRequest', (request, reply, done) => {
    if (taskOf(request) !== undefined || OF_WORKERS.has(request.url.split('?')[0] as string)) return done();
    reply.header('request-id', request.id);
    sendProblem(
      request,
      reply,
      new Problem(
        'notFound',
        'This process works in the background (STARGUS_ROLE=worker); ask one that is `api` or `all`.',
      ),
    );
  });
}

/** What every request meets before its route. */
function guard(
  instance: FastifyInstance,
  options: MountOptions,
  origins: Origins,
  facts: Pick<SystemFacts, 'stopping'>,
): void {
  instance.addHook('onRequest', (request, reply, done) => {
    reply.header('request-id', request.id);
    shield(request, reply);
    // Nobody is to send the next request over a connection that ends in a moment.
    if (facts.stopping) reply.header('connection', 'close');
    const problem = taskOf(request) ? undefined : (options.gate.enter(request) ?? origins.check(request));
    if (!problem) return done();
    options.gate.refused(problem, undefined, request, undefined);
    sendProblem(request, reply, problem);
  });
}

/**
 * Whether what an operation was sent under was revoked since: what this node remembers, and the database for longer. Who had to show
 * nothing may do nothing once something has to be shown.
 */
async function isRevoked(access: Access, { described }: Authentication, subject: Subject): Promise<boolean> {
  if (subject.id === anonymous.id && described.required) return true;
  return access.isRevoked(subject);
}

/** The pool as this node knows it, for who may do something there; for who is bound by a policy that it hasn't read yet, nothing. */
function stateOf(engine: Engine, pool: string, subject: Subject) {
  const replica = engine.replicas.known(pool);
  const isKnown = isFree(subject) || replica?.policies?.current.entitlementOf(subject).isEmpty === false;
  return isKnown ? replica : undefined;
}
