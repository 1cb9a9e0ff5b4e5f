/**
 * Binds routes to Fastify. A route goes straight to Fastify and not through Nest's router, whose layers cost a third of
 * the rate of a small request (docs/decisions/0002); Nest makes the controllers and gives them what they need. Each
 * request is checked the same way: who asks, query, body; then the controller's method, whose errors become problems.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Problem } from '../engine/errors.js';
import type { Operations } from '../engine/operations/operations.js';
import type { StoredSession } from '../engine/ports.js';
import type { SessionRef } from '../engine/sessions/session-states.js';
import { isFree, nobody, type Subject } from '../engine/subject.js';
import type { Tracing } from '../engine/tracing.js';
import { poolHeaders, send } from './answers.js';
import type { Arrivals } from './arrivals.js';
import { bodyLimitOf, checkBody, checkQuery, mediaTypeOf, registerParsers, unsupported } from './body.js';
import { NEVER, sentMethod } from './connections.js';
import { defer, isDeferrable, wishesLater } from './deferring.js';
import type { Gate, RateKind } from './gate.js';
import { taskOf } from './performing.js';
import { internalProblem, sendProblem, toProblem } from './problem.js';
import { endSpan, spansOf } from './request-spans.js';
import { type BoundRoute, type Call, type Method, type RouteSpec, routesOf } from './route.js';
import { openSealed } from './sealing.js';
import { answerPreflight } from './shield.js';
import { noteUser, telling, tellUse, type Uses, useKindOf } from './uses.js';
import { namesSession, writerOf } from './writer.js';

export interface MountOptions {
  /** Keeps the time of requests that are still arriving. */
  readonly arrivals: Arrivals;
  /** Bounds how often who may do what, and hears of refusals. */
  readonly gate: Gate;
  /** Whether the request may be answered at all; throws `forbidden`. */
  admit(request: FastifyRequest): void;
  /** Who asks; refuses with `unauthenticated`. A promise only where something has to be waited for. */
  authenticate(request: FastifyRequest): Subject | Promise<Subject>;
  /** Who asks, as far as that is known at once; undefined for who may not ask. */
  known(request: FastifyRequest): Subject | undefined;
  /** Whether what the subject has shown was revoked since. */
  isRevoked(subject: Subject): boolean;
  /** Refuses the number of a sealed request that was used before under its login. */
  checkNumber(login: string, seq: number): Promise<void>;
  /** A request that only reads names its session: renews it, or refuses. */
  touch(pool: string, session: SessionRef, subject: Subject): Promise<StoredSession>;
  /** The state of a pool, where this node knows it, for who may do something there. */
  stateOf(pool: string, subject: Subject): { epoch: string; revision: number } | undefined;
  /** Where writes are kept that are done later. */
  readonly operations: Operations;
  /** Hears of what requests use. */
  readonly uses: Uses;
  readonly tracing: Tracing;
  /** Hears of every answered request that isn't a stream. */
  answered(operation: string, status: number, seconds: number, requestId: string): void;
  /** Hears of errors that are the server's own. */
  failed(error: unknown, requestId: string): void;
}

type Controller = Record<string, (call: Call) => unknown>;

export function mount(instance: FastifyInstance, controllers: readonly object[], options: MountOptions): void {
  registerParsers(instance);
  const methods = new Map<string, Set<Method>>();
  for (const controller of controllers) {
    for (const route of routesOf(controller.constructor as { prototype: object })) {
      bind(instance, controller as Controller, route, options);
      const { path, method } = route.spec;
      methods.set(path, (methods.get(path) ?? new Set()).add(method));
    }
  }
  for (const [path, present] of methods) refuseOthers(instance, path, present, options);
}

function bind(
  instance: FastifyInstance,
  controller: Controller,
  { spec, property }: BoundRoute,
  options: MountOptions,
): void {
  const use = useKindOf(spec, !isRead(spec));
  const canWait = isDeferrable(spec);
  const { gate } = options;
  const { ofAddress, ofSubject } = gate.boundsOf(spec, spec.rate ?? kindOf(spec));
  const spans = spansOf(options.tracing, spec);
  const handle = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const { raw } = request;
    // One without need for its body, such as a GET that has one, may be here before it has arrived.
    if (raw.complete || spec.body?.stream) options.arrivals.release(raw);
    let subject: Subject | undefined;
    let isTaken = false;
    try {
      options.admit(request);
      const asker = askerOf(request, spec, options);
      const who = asker instanceof Promise ? await asker : asker;
      let mediaType = mediaTypeOf(request);
      // The token alone of an encrypted login is good for nothing: whose it is isn't known before the request was opened.
      if (who.channel) mediaType = await openSealed(who.channel, request, reply, spec, mediaType, options.checkNumber);
      subject = who;
      // What is done for an operation was counted when that was accepted.
      const task = taskOf(request);
      if (use && !task) noteUser(request, subject, use);
      const counting = ofSubject && !task && gate.takeSubject(ofSubject, request, reply, subject);
      if (counting instanceof Promise) await counting;
      const query = checkQuery(spec, request);
      const body = checkBody(spec, request, mediaType);
      const params = request.params as Record<string, string>;
      if (!spec.public && params.pool?.startsWith('_') && !subject.isUnbound) throw systemPool();
      const writer = params.pool === undefined ? undefined : writerOf(request);
      // A write renews it inside its commit.
      if (writer?.session && isRead(spec)) await options.touch(params.pool as string, writer.session, subject);
      isTaken = true;
      const { isRevoked } = options;
      const call: Call = { request, reply, params, query, body, mediaType, subject, writer, isRevoked };
      // What is encrypted isn't kept for later: it would be in the clear, and its answer as well.
      if (canWait && !task && !subject.channel && wishesLater(request)) await postpone(call, spec, options);
      else if (use?.isStream) await telling(options.uses, call, async () => controller[property]?.(call));
      else await controller[property]?.(call);
    } catch (error) {
      if (subject !== undefined && !isTaken) renewAnyway(request, subject, options);
      answerError(error, spec, request, reply, options, subject);
    } finally {
      // What is left of it is dropped, and again bound in time.
      if (spec.body?.stream && !raw.complete) options.arrivals.begin(raw, reply.raw);
    }
    return reply;
  };
  instance.route({
    method: spec.method,
    url: spec.path,
    bodyLimit: bodyLimitOf(spec),
    exposeHeadRoute: !spec.streaming,
    onRequest: [
      ...(spans
        ? [
            (request: FastifyRequest, _reply: FastifyReply, done: () => void) => {
              spans.begin(request);
              done();
            },
          ]
        : []),
      // Before its body is read.
      ...(ofAddress
        ? [
            (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void) => {
              if (taskOf(request)) return done();
              try {
                const counting = gate.takeAddress(ofAddress, request, reply);
                if (counting instanceof Promise) counting.then(() => done(), done);
                else done();
              } catch (error) {
                done(error as Error);
              }
            },
          ]
        : []),
      // A stream of another type is refused by its name, before any of it is looked at.
      ...(spec.body?.stream
        ? [
            async (request: FastifyRequest) => {
              const mediaType = mediaTypeOf(request);
              if (mediaType !== '' && mediaType !== spec.body?.stream) throw unsupported(spec);
            },
          ]
        : []),
    ],
    handler: spans ? (request, reply) => spans.within(request, () => handle(request, reply)) : handle,
    errorHandler: (error, request, reply) => {
      const subject = namesSession(request) ? options.known(request) : undefined;
      if (subject) renewAnyway(request, subject, options);
      answerError(error, spec, request, reply, options, subject);
    },
    onResponse: (request, reply, done) => {
      if (!spec.streaming)
        options.answered(spec.operationId, reply.statusCode, reply.elapsedTime / 1000, reply.request.id);
      if (spans) endSpan(request, reply.raw.statusCode);
      if (use && !taskOf(request)) tellUse(options.uses, request, reply, use, () => options.known(request));
      done();
    },
  });
}

/** Has the write done later. The session that it names must live now, so that it can be told. */
async function postpone(call: Call, spec: RouteSpec, { touch, operations, stateOf }: MountOptions): Promise<void> {
  const { params, writer, subject, reply } = call;
  const pool = params.pool as string;
  const session = writer?.session && (await touch(pool, writer.session, subject));
  const answer = await defer(call, spec, operations, session);
  const at = stateOf(pool, subject);
  if (at) reply.headers(poolHeaders(at.epoch, at.revision));
  send(call, answer);
}

/** Also a request that is refused before anything is looked up renews the session that it names. */
function renewAnyway(request: FastifyRequest, subject: Subject, { touch }: MountOptions): void {
  const { pool } = request.params as { pool?: string };
  if (pool === undefined || !namesSession(request)) return;
  try {
    const session = writerOf(request)?.session;
    if (session) touch(pool, session, subject).catch(() => undefined);
  } catch {
    // What is malformed names none.
  }
}

function isRead({ method, reads }: RouteSpec): boolean {
  return method === 'GET' || method === 'QUERY' || reads === true;
}

function kindOf(spec: RouteSpec): RateKind {
  if (spec.streaming) return 'streams';
  return isRead(spec) ? 'reads' : 'writes';
}

/** What is told of the server as a whole is kept in a pool of the system's. */
function systemPool(): Problem {
  return new Problem('forbidden', 'The pools of the system are the operator’s.');
}

/**
 * Who asks. Public routes are answered whoever does; but a session is spoken for by its own subject only. Where a request may
 * prove by itself that it may, credentials aren't needed; those that are sent must be right all the same.
 */
function askerOf(request: FastifyRequest, spec: RouteSpec, options: MountOptions): Subject | Promise<Subject> {
  if (spec.public && !namesSession(request)) return nobody;
  if (!spec.proves) return options.authenticate(request);
  try {
    return options.authenticate(request);
  } catch (error) {
    if (request.headers.authorization === undefined) return nobody;
    throw error;
  }
}

export function answerError(
  error: unknown,
  spec: RouteSpec | undefined,
  request: FastifyRequest,
  reply: FastifyReply,
  options: MountOptions,
  subject?: Subject,
): void {
  const known = toProblem(error, spec);
  if (!known) options.failed(error, request.id);
  const problem = forStrangers(known ?? internalProblem(), request, options);
  options.gate.refused(problem, spec, request, subject);
  // What a handler has said of the state that it read stands: this node may know a later one by now.
  if (!reply.hasHeader('stargus-revision')) problem.at ??= stateAt(request, options);
  if (reply.sent || reply.raw.headersSent) {
    // Too late for a refusal: the connection is cut, so that nobody takes half an answer for a whole one.
    reply.raw.destroy();
    return;
  }
  sendProblem(request, reply, problem);
}

/** What a refusal tells of its pool, to whom may know: without a state in which it was judged, the one that this node knows. */
function stateAt(request: FastifyRequest, options: MountOptions): { epoch: string; revision: number } | undefined {
  const { pool } = (request.params ?? {}) as { pool?: string };
  if (pool === undefined) return undefined;
  const subject = options.known(request);
  return subject && options.stateOf(pool, subject);
}

/** Who may do nothing in a pool isn't told whether there is one of that name. */
function forStrangers(problem: Problem, request: FastifyRequest, options: MountOptions): Problem {
  const { pool } = (request.params ?? {}) as { pool?: string };
  if (pool === undefined || (problem.code !== 'forbidden' && problem.code !== 'notFound')) return problem;
  const subject = options.known(request);
  const isStranger = subject && !isFree(subject) && !options.stateOf(pool, subject);
  return isStranger
    ? new Problem('forbidden', 'You may do nothing in this pool, or there is none of that name.')
    : problem;
}

const ALL: readonly Method[] = ['GET', 'QUERY', 'PUT', 'POST', 'PATCH', 'DELETE'];

/** The methods that a path doesn't have are answered with those that it has. */
function refuseOthers(
  instance: FastifyInstance,
  path: string,
  present: ReadonlySet<Method>,
  options: MountOptions,
): void {
  const head = instance.hasRoute({ method: 'HEAD', url: path });
  const allow = [
    ...(present.has('GET') ? ['GET'] : []),
    ...(head ? ['HEAD'] : []),
    ...ALL.filter((method) => method !== 'GET' && present.has(method)),
    'OPTIONS',
  ].join(', ');
  const others = ALL.filter((method) => !present.has(method));
  const refuse = (request: FastifyRequest, reply: FastifyReply) => {
    const problem = new Problem('methodNotAllowed', `${sentMethod(request.raw)} is not possible here; ${allow} are.`, {
      headers: { allow },
    });
    problem.at = stateAt(request, options);
    sendProblem(request, reply, problem);
  };
  // A body that nobody reads needs no parser: refused before it is looked at.
  for (const method of [...others, NEVER])
    instance.route({ method, url: path, exposeHeadRoute: false, onRequest: refuse, handler: refuse });
  if (!instance.hasRoute({ method: 'HEAD', url: path }))
    instance.route({ method: 'HEAD', url: path, onRequest: refuse, handler: refuse });
  instance.route({
    method: 'OPTIONS',
    url: path,
    handler: (request, reply) => {
      const at = stateAt(request, options);
      if (at) reply.headers(poolHeaders(at.epoch, at.revision));
      answerPreflight(request, reply, allow);
      return reply.code(204).header('allow', allow).send();
    },
  });
}
