/** The generated layer on the client's one pipeline: every call of the API with its types, by area. */
import { ANSWER_BYTES_MAX } from './bounds.js';
import {
  AttributesApi,
  AuthApi,
  ChangesApi,
  CollectionsApi,
  Configuration,
  IdentitiesApi,
  ItemsApi,
  LocksApi,
  NotifiersApi,
  OperationsApi,
  PolicyApi,
  PoolsApi,
  QueuesApi,
  ScriptsApi,
  SessionsApi,
  SystemApi,
  TransferApi,
} from './generated/index.js';
import type { Call, Pipeline } from './pipeline.js';
import { notStargus } from './refusal.js';
import type { TransportResponse } from './transport.js';

/** Bodies that have no end, or may be large: who calls reads them. */
const UNREAD = /^(text\/event-stream|application\/x-ndjson)\b/i;

/** On the `init` of a generated call: what of the pipeline's call it alters. */
export const CALL = Symbol('call');
export type CallInit = RequestInit & { [CALL]?: Partial<Call> };

export interface Api {
  readonly attributes: AttributesApi;
  readonly auth: AuthApi;
  readonly changes: ChangesApi;
  readonly collections: CollectionsApi;
  readonly identities: IdentitiesApi;
  readonly items: ItemsApi;
  readonly locks: LocksApi;
  readonly notifiers: NotifiersApi;
  readonly operations: OperationsApi;
  readonly policy: PolicyApi;
  readonly pools: PoolsApi;
  readonly queues: QueuesApi;
  readonly scripts: ScriptsApi;
  readonly sessions: SessionsApi;
  readonly system: SystemApi;
  readonly transfer: TransferApi;
}

export function apiOn(pipeline: Pipeline): Api {
  const configuration = new Configuration({
    basePath: pipeline.url,
    fetchApi: fetchThrough(pipeline),
    // Otherwise our errors would be wrapped in one of the generated layer.
    middleware: [
      {
        onError: ({ error }) => Promise.reject(error),
      },
    ],
  });
  return {
    attributes: new AttributesApi(configuration),
    auth: new AuthApi(configuration),
    changes: new ChangesApi(configuration),
    collections: new CollectionsApi(configuration),
    identities: new IdentitiesApi(configuration),
    items: new ItemsApi(configuration),
    locks: new LocksApi(configuration),
    notifiers: new NotifiersApi(configuration),
    operations: new OperationsApi(configuration),
    policy: new PolicyApi(configuration),
    pools: new PoolsApi(configuration),
    queues: new QueuesApi(configuration),
    scripts: new ScriptsApi(configuration),
    sessions: new SessionsApi(configuration),
    system: new SystemApi(configuration),
    transfer: new TransferApi(configuration),
  };
}

function fetchThrough(pipeline: Pipeline): typeof fetch {
  return async (input, init: CallInit = {}) => {
    const url = typeof input === 'string' ? input : input instanceof URL ? input.href : input.url;
    const headers: Record<string, string> = {};
    new Headers(init.headers).forEach((value, name) => {
      headers[name] = value;
    });
    headers.accept ??= '*/*';
    const answer = await pipeline.exchange(
      {
        method: init.method ?? 'GET',
        path: url.slice(pipeline.url.length),
        headers,
        raw: init.body ?? undefined,
        signal: init.signal ?? undefined,
        ...init[CALL],
      },
      read,
    );
    return answer instanceof Response ? answer : streamed(answer);
  };
}

async function read(response: TransportResponse): Promise<Response | TransportResponse> {
  const type = response.header('content-type') ?? '';
  if (UNREAD.test(type)) return response;
  const { status } = response;
  if (status === 204 || status === 205 || status === 304) {
    response.discard();
    return new Response(null, { status, headers: response.headers() });
  }
  if (/^text\/html\b/i.test(type)) {
    response.discard();
    throw notStargus(status, type);
  }
  return new Response(await response.text(ANSWER_BYTES_MAX), { status, headers: response.headers() });
}

/** With the body as it comes; to cancel it closes the connection. */
function streamed(response: TransportResponse): Response {
  const chunks = response.chunks()[Symbol.asyncIterator]();
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await chunks.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      async cancel() {
        response.discard();
        await chunks.return?.();
      },
    },
    // Nothing is read ahead: who reads slowly is to be seen as slow by the server.
    { highWaterMark: 0 },
  );
  return new Response(body, { status: response.status, headers: response.headers() });
}
