/**
 * Routes: a controller's method is given its route by `@Route`, which says everything about it in one place: method and
 * path, the zod schemas of what comes in and what goes out, and the words of the OpenAPI document. `mount.ts` binds
 * routes to Fastify and `openapi.ts` describes them, both from these records.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { z } from 'zod';
import type { Writer } from '../engine/sessions/writer.js';
import type { Subject } from '../engine/subject.js';

export type Method = 'GET' | 'QUERY' | 'PUT' | 'POST' | 'PATCH' | 'DELETE';

export interface RouteSpec {
  readonly method: Method;
  /** With parameters as Fastify has them, `/v1/pools/:pool`. */
  readonly path: string;
  /** verbNoun, unique; generated clients call it so. */
  readonly operationId: string;
  readonly tag: string;
  readonly summary: string;
  readonly description?: string;
  readonly query?: z.ZodType;
  readonly body?: BodySpec;
  /** The answers that aren't problems, by status. All with a schema have the same one. */
  readonly answers: Readonly<Record<number, AnswerSpec>>;
  /** Request headers with a meaning here. */
  readonly headers?: readonly HeaderName[];
  /** The answer is a stream of Server-Sent Events. */
  readonly streaming?: boolean;
  /** A read, though its method isn't that of one: a session that it names is renewed beforehand. */
  readonly reads?: boolean;
  /** Answered without a token even where one is required. */
  readonly public?: boolean;
  /** Answered without a token as well, to who proves in the request itself that they may. */
  readonly proves?: boolean;
  /** What bounds how often it may be asked for, where that isn't its kind (a read, a write, a stream). */
  readonly rate?: 'login' | 'unlock';
}

export interface BodySpec {
  readonly schema: z.ZodType;
  /** The media types that are taken, `application/json` when absent. A schema of its own for one of them where it differs. */
  readonly types?: Readonly<Record<string, z.ZodType>>;
  /** The one media type of a body that is given to the handler as it arrives, of any length, instead of being parsed. */
  readonly stream?: string;
  readonly optional?: boolean;
  readonly bytesMax?: number;
}

export interface AnswerSpec {
  readonly description: string;
  readonly schema?: z.ZodType;
  readonly contentType?: string;
  /** Headers that only this answer has. */
  readonly headers?: readonly ('Content-Disposition' | 'ETag')[];
}

export type HeaderName =
  | 'If-Match'
  | 'If-None-Match'
  | 'Idempotency-Key'
  | 'Prefer'
  | 'Stargus-Min-Revision'
  | 'Last-Event-ID'
  | 'Stargus-Session'
  | 'Stargus-Lock'
  | 'Stargus-Proof';

/** One request, checked against its route. */
export interface Call<Query = unknown, Body = unknown> {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly params: Record<string, string>;
  readonly query: Query;
  readonly body: Body;
  /** The body's media type; empty without a body. */
  readonly mediaType: string;
  readonly subject: Subject;
  /** What the request says of its session. */
  readonly writer: Writer | undefined;
  /** Whether what a subject has shown was revoked since: for who is answered after a while. */
  readonly isRevoked: (subject: Subject) => boolean;
}

export type Handler = (call: Call<never, never>) => unknown;

export interface BoundRoute {
  readonly spec: RouteSpec;
  readonly property: string;
}

const ROUTES = Symbol('routes');

/** Gives a controller's method its route. The method sends the answer itself, or throws a Problem. */
export function Route(spec: RouteSpec) {
  return <T extends Handler>(prototype: object, property: string, _descriptor: TypedPropertyDescriptor<T>): void => {
    const routes = (Reflect.get(prototype, ROUTES) as BoundRoute[] | undefined) ?? [];
    routes.push({ spec, property });
    Reflect.set(prototype, ROUTES, routes);
  };
}

export function routesOf(controller: { prototype: object }): readonly BoundRoute[] {
  return (Reflect.get(controller.prototype, ROUTES) as BoundRoute[] | undefined) ?? [];
}
