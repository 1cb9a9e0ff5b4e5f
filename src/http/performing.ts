/**
 * Does a request that was kept as if it came now: it is handed to Fastify like one that a socket brought, and meets the same route, the
 * same checks and the same controller. What tells it from others isn't anything that it carries, but that its object is known here: no
 * request from outside can be taken for one.
 *
 * What was judged when it was accepted isn't judged again: whence it came, how often its sender may ask, and that their token was good.
 * Whether that was revoked since, is.
 */
import type { IncomingMessage } from 'node:http';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import inject from 'light-my-request';
import { Problem } from '../engine/errors.js';
import type { OperationTask } from '../engine/operations/operation.js';
import type { Performer } from '../engine/operations/operation-worker.js';
import type { OperationRef, Reply } from '../engine/state/repetition.js';
import type { Subject } from '../engine/subject.js';

const performed = new WeakMap<IncomingMessage, OperationTask>();

/** The operation that the request is done for; undefined for what came from outside. */
export function taskOf({ raw }: Pick<FastifyRequest, 'raw'>): OperationTask | undefined {
  return performed.get(raw);
}

export function operationOf(request: FastifyRequest): OperationRef | undefined {
  const task = taskOf(request);
  return task && { id: task.id, session: task.session };
}

/** What an answer has in its headers because of what it says. */
const KEPT = [
  ...['stargus-revision', 'stargus-cursor', 'etag', 'location', 'preference-applied', 'idempotency-replayed'],
  ...['retry-after', 'allow', 'accept'],
];

export class Performing implements Performer {
  constructor(private readonly instance: FastifyInstance) {}

  async perform(task: OperationTask): Promise<Reply> {
    const { id, request, body } = task;
    await this.instance.ready();
    const dispatch = (raw: IncomingMessage, response: unknown) => {
      performed.set(raw, task);
      // As it was sent: what made the object has read it as a browser would.
      raw.url = request.target;
      raw.headers = { ...request.headers, 'request-id': id, ...(body && { 'content-length': String(body.length) }) };
      this.instance.routing(raw as never, response as never);
    };
    const answer = await inject(dispatch as never, {
      ...{ method: request.method as 'PUT', url: '/', remoteAddress: request.address },
      ...(body && { payload: body }),
    });
    const headers: Record<string, string> = {};
    for (const name of KEPT) {
      const value = answer.headers[name];
      if (value !== undefined) headers[name] = String(value);
    }
    return { status: answer.statusCode, headers, body: answer.payload };
  }
}

/** Who an operation is done for. `isRevoked` looks where revocations are kept. */
export async function performer(
  { subject }: OperationTask,
  isRevoked: (subject: Subject) => Promise<boolean>,
): Promise<Subject> {
  if (await isRevoked(subject))
    throw new Problem('unauthenticated', 'What the operation was sent under was revoked before it was done.');
  return subject;
}
