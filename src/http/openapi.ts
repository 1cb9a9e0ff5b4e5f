/**
 * The OpenAPI document, made from the records of the routes: the same ones that `mount.ts` binds, so what is described is
 * what is answered. Pure: the same routes give the same document, down to the order of its members. What several
 * operations have in common (parameters, headers of answers, the problem) is described here once; a tag, path parameter
 * or header that isn't described is a mistake and throws. The rules that the document keeps, so that clients can be
 * generated from it, are in scripts/openapi-rules.mjs.
 */
import { z } from 'zod';
import { limits } from '../engine/limits.js';
import { bodyLimitOf, JSON_TYPE } from './body.js';
import { isDeferrable } from './deferring.js';
import { type AnswerSpec, type HeaderName, type RouteSpec, routesOf } from './route.js';
import { problem } from './schemas.js';

type Member = string | number | boolean | null | undefined | Member[] | { [name: string]: Member };
type Schema = { [keyword: string]: Member };
type Described = { [name: string]: Member };

export interface OpenApiDocument extends Described {
  readonly openapi: string;
  readonly paths: { [path: string]: { [method: string]: Described } };
  readonly components: { [kind: string]: Described };
}

const DESCRIPTION = `Shared, persistent, watchable state: pools of collections of items, over plain HTTP, JSON and Server-Sent Events.

Names of pools and collections match \`[A-Za-z0-9_][A-Za-z0-9_.~-]{0,127}\`; a leading \`_\` is kept for the system. Each commit of a pool has the next **revision**; a **cursor** is a revision with the epoch of the pool's log, and opaque to clients.

Every answer has a \`Request-Id\` (send your own to have it used); one about a pool tells the revision and cursor of the state it is about. Errors are RFC 9457 problems: \`code\` says which, \`detail\` what to do. Nothing is applied when an error is answered. Clients ignore members of answers that they don't know; unknown members and parameters of a request are refused. A string with \`x-extensible-enum\` has one of these values today, and may have others tomorrow.`;

const TAGS: Readonly<Record<string, string>> = {
  pools: 'A pool is one application’s name space, with one counter of revisions.',
  collections: 'A collection holds items in the order of their keys; it comes into being with its first item.',
  items: 'An item is a set of named JSON values under a key of a collection.',
  attributes: 'An attribute is one named value of an item, read and written by itself.',
  changes: 'Every commit can be read later from the log, or heard of at once on a stream of Server-Sent Events.',
  sessions: 'A session is a client’s named, leased presence; what it has goes with it in one commit.',
  locks: 'A lock keeps others from writing what it covers, until its session gives it back or ends.',
  operations: 'A write that was sent with `Prefer: respond-async` is done later; here is what it came to.',
  queues:
    'The queue of a session keeps what notifiers deliver to the session’s name until somebody has acknowledged it.',
  notifiers: 'A notifier is a saved watch with a place to deliver: a webhook, or the queue of a session.',
  transfer: 'A whole pool, or a part of it, as lines of JSON: out at one revision, in line by line.',
  policy: 'Policies are items of the collection `_policies`; here they are asked what they say.',
  identities: 'An account is a URL where its public keys are read; this server hosts accounts, and reads foreign ones.',
  scripts: 'A script is a program or page that an application keeps in its pool, served as a file.',
  auth: 'Who asks: logging in, tokens and weaker tokens, keys of programs.',
  system: 'What operators and tools ask: health, metrics, limits, this contract.',
};

const NAME = { type: 'string', pattern: '^[A-Za-z0-9_][A-Za-z0-9_.~-]{0,127}$' };

const PATH_PARAMETERS: Readonly<Record<string, { description: string; schema: Schema }>> = {
  pool: { description: 'The pool’s name.', schema: NAME },
  collection: { description: 'The collection’s name.', schema: NAME },
  key: {
    description:
      'The item’s key: 1 to 255 bytes of UTF-8 without control characters, not `.` or `..`; percent-encoded, `/` as `%2F`.',
    schema: { type: 'string', minLength: 1, maxLength: limits.itemKeyBytesMax },
  },
  name: {
    description: 'The attribute’s name: 1 to 128 bytes of UTF-8 without control characters; percent-encoded.',
    schema: { type: 'string', minLength: 1, maxLength: limits.attributeNameBytesMax },
  },
  script: {
    description: 'The script’s name: an item key, percent-encoded.',
    schema: { type: 'string', minLength: 1, maxLength: limits.itemKeyBytesMax },
  },
  session: { description: 'The session’s id, or its name.', schema: NAME },
  lock: { description: 'The lock’s id.', schema: { type: 'string' } },
  view: { description: 'The name of a session’s view.', schema: NAME },
  operation: { description: 'The operation’s id.', schema: { type: 'string' } },
  delivery: {
    description: 'Of a queue: the delivery’s id, `<notifier>-<revision>`. Of a notifier: the delivery’s number.',
    schema: { type: 'string', maxLength: limits.deliveryLengthMax },
  },
  notifier: { description: 'The notifier’s name.', schema: NAME },
  account: { description: 'The name of an account that this server hosts.', schema: NAME },
  kid: { description: 'The key’s RFC 7638 thumbprint.', schema: { type: 'string', pattern: '^[A-Za-z0-9_-]{43}$' } },
  apiKey: { description: 'The API key’s id.', schema: { type: 'string' } },
  code: { description: 'The `code` of a problem.', schema: { type: 'string' } },
};

const REQUEST_HEADERS: Readonly<Record<HeaderName, { description: string; schema: Schema }>> = {
  'If-Match': {
    description:
      'Only if the item is at one of these ETags, or with `*` if it exists; else 412. Judged inside the commit.',
    schema: { type: 'string', minLength: 1 },
  },
  'If-None-Match': {
    description:
      'Only if the item is at none of these ETags, or with `*` if it doesn’t exist. A read answers 304 otherwise, a write 412.',
    schema: { type: 'string', minLength: 1 },
  },
  'Idempotency-Key': {
    description:
      'Makes the write repeatable: for 24 hours the same request under the same key gets the same answer and applies once.',
    schema: { type: 'string', minLength: 1, maxLength: limits.idempotencyKeyLengthMax },
  },
  Prefer: {
    description:
      '`return=minimal`, where there is such an answer: answer 204 with the same headers and no body. `respond-async`: keep the write, answer 202 and do it later.',
    schema: { type: 'string' },
  },
  'Stargus-Min-Revision': {
    description: `Answer only from a state that has this revision, so that one reads one’s own writes; 503 after ${limits.minRevisionWaitMs} ms without it.`,
    schema: { type: 'integer', format: 'int64', minimum: 0 },
  },
  'Stargus-Session': {
    description:
      '`<session>;epoch=<n>`: the session that speaks. It is renewed, and refused if it has ended or was resumed elsewhere.',
    schema: { type: 'string', pattern: '^[A-Za-z0-9_][A-Za-z0-9_.~-]{0,127};epoch=[0-9]{1,15}$' },
  },
  'Stargus-Lock': {
    description:
      '`<lock>;fence=<n>`, or several separated by commas: proves that the lock is still held; 412 `lockLost` if not.',
    schema: {
      type: 'string',
      pattern: '^[A-Za-z0-9_.~-]{1,128};fence=[0-9]{1,15}(,[A-Za-z0-9_.~-]{1,128};fence=[0-9]{1,15}){0,99}$',
    },
  },
  'Stargus-Proof': {
    description: 'A proof signed by a key of the account (docs/IDENTITIES.md), in place of the operator’s key.',
    schema: { type: 'string' },
  },
  'Last-Event-ID': {
    description: 'The id of the last event that was received: the stream goes on after it. Beats `since`.',
    schema: { type: 'string' },
  },
};

const ANSWER_HEADERS = {
  'Request-Id': { description: 'Names the request in the server’s log.', schema: { type: 'string' } },
  'Stargus-Revision': {
    description: 'The revision of the commit, or of the state that was read or judged.',
    schema: { type: 'integer', format: 'int64' },
  },
  'Stargus-Cursor': { description: 'The same as a cursor, for watching from here on.', schema: { type: 'string' } },
  ETag: { description: 'The item’s revision in quotes, for If-Match and If-None-Match.', schema: { type: 'string' } },
  Location: { description: 'The path of what was created.', schema: { type: 'string' } },
  Link: { description: 'With `rel="next"`: the next page, when there is one.', schema: { type: 'string' } },
  'Idempotency-Replayed': {
    description: '`true` when this is the stored answer to an earlier request with the same Idempotency-Key.',
    schema: { type: 'string' },
  },
  'Content-Disposition': { description: 'A name for the file.', schema: { type: 'string' } },
  'Preference-Applied': { description: 'The preference that was followed.', schema: { type: 'string' } },
  'Retry-After': {
    description: 'Seconds to wait before the next attempt.',
    schema: { type: 'integer', format: 'int32' },
  },
} as const satisfies Record<string, Described>;

type AnswerHeader = keyof typeof ANSWER_HEADERS;

/** What an answer has in its headers because of what it is about. */
const HEADERS_OF_COMPONENT: Readonly<Record<string, readonly AnswerHeader[]>> = {
  Item: ['ETag'],
  WrittenItem: ['ETag'],
  Attribute: ['ETag'],
  Incremented: ['ETag'],
  ItemPage: ['Link'],
};

const METHODS: readonly string[] = ['GET', 'PUT', 'POST', 'PATCH', 'DELETE'];

/**
 * Describes the routes of these controllers.
 *
 * @throws Error when two different schemas have the same id, or a route uses what isn't described above
 */
export function openApiDocument(controllers: readonly { prototype: object }[], version: string): OpenApiDocument {
  const specs = controllers
    .flatMap((controller) => routesOf(controller).map(({ spec }) => spec))
    // OpenAPI 3.0 has no such method; what it does can be had by POST.
    .filter(({ method }) => method !== 'QUERY')
    .sort(byPathAndMethod);
  const schemas = new Schemas();
  const paths: OpenApiDocument['paths'] = {};
  for (const spec of specs) {
    const path = spec.path.replace(/:(\w+)/g, '{$1}');
    paths[path] ??= {};
    paths[path][spec.method.toLowerCase()] = operation(spec, schemas);
  }
  const problemSchema = schemas.describe(problem, 'output');
  return {
    openapi: '3.0.3',
    info: {
      title: 'Stargus',
      version,
      description: DESCRIPTION,
      license: { name: 'Apache-2.0', url: 'https://www.apache.org/licenses/LICENSE-2.0' },
    },
    servers: [{ url: '/' }],
    tags: Object.entries(TAGS)
      .filter(([name]) => specs.some(({ tag }) => tag === name))
      .map(([name, description]) => ({ name, description })),
    // A token or nothing: a server with STARGUS_AUTH=open asks for none.
    security: [{ bearer: [] }, {}],
    paths,
    components: {
      headers: sorted(ANSWER_HEADERS),
      parameters: sorted(sharedParameters(specs)),
      responses: {
        Problem: {
          description: 'The request was refused, and nothing was applied.',
          headers: headerRefs(['Request-Id', 'Stargus-Revision', 'Stargus-Cursor', 'Retry-After']),
          content: { 'application/problem+json': { schema: problemSchema } },
        },
      },
      schemas: sorted(schemas.components),
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          description:
            'An access token, an API key or the operator’s key. Not needed where the server is open to its own machine.',
        },
      },
    },
  };
}

function operation(spec: RouteSpec, schemas: Schemas): Described {
  if (!Object.hasOwn(TAGS, spec.tag))
    throw new Error(`The tag ${spec.tag} of ${spec.operationId} is not described in openapi.ts.`);
  const parameters = [
    ...pathParametersOf(spec).map((name) => ({ $ref: `#/components/parameters/${pathComponent(name)}` })),
    ...queryParameters(spec, schemas),
    ...requestHeaders(spec).map((name) => ({ $ref: `#/components/parameters/${headerComponent(name)}` })),
  ];
  return {
    operationId: spec.operationId,
    tags: [spec.tag],
    summary: spec.summary,
    ...(spec.description && { description: spec.description }),
    ...(spec.streaming && { 'x-streaming': true }),
    // What a public answer about a pool tells depends on the token all the same.
    ...(spec.public && !isAboutPool(spec) && { security: [] }),
    ...(parameters.length > 0 && { parameters }),
    ...(spec.body && { requestBody: requestBody(spec, schemas) }),
    responses: responses(spec, schemas),
  };
}

function queryParameters({ query, operationId }: RouteSpec, schemas: Schemas): Described[] {
  if (!query) return [];
  const { properties, required = [] } = schemas.describe(query, 'input') as {
    properties: Record<string, Schema>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, { description, ...schema }]) => {
    if (description === undefined) throw new Error(`The parameter ${name} of ${operationId} has no description.`);
    return { name, in: 'query', description, ...(required.includes(name) && { required: true }), schema };
  });
}

function requestBody(spec: RouteSpec, schemas: Schemas): Described {
  const { schema, types = {}, stream, optional = false } = spec.body as NonNullable<RouteSpec['body']>;
  const content = Object.entries({ [stream ?? JSON_TYPE]: schema, ...types }).map(([type, schemaOfType]) => [
    type,
    { schema: schemas.describe(schemaOfType, 'input') },
  ]);
  return {
    description: stream
      ? `Of any length; a line has at most ${sizeOf(bodyLimitOf(spec))}.`
      : `At most ${sizeOf(bodyLimitOf(spec))}.`,
    required: !optional,
    content: Object.fromEntries(content),
  };
}

function sizeOf(bytes: number): string {
  return bytes < 1024 * 1024 ? `${bytes / 1024} KiB` : `${bytes / 1024 / 1024} MiB`;
}

function responses(spec: RouteSpec, schemas: Schemas): Described {
  const described: { [status: string]: Described } = {};
  for (const [status, answer] of Object.entries(spec.answers)) {
    const schema = answer.schema ? schemas.describe(answer.schema, 'output') : undefined;
    described[status] = {
      description: answer.description,
      headers: headerRefs([...answerHeaders(spec, Number(status), schema), ...(answer.headers ?? [])]),
      ...contentOf(answer, schema),
    };
  }
  if (isDeferrable(spec)) {
    described['202'] = {
      description:
        'Kept, as `Prefer: respond-async` asked, to be done later: Location leads to the Operation, which is also the body of this answer.',
      headers: headerRefs([
        ...['Request-Id', 'Stargus-Revision', 'Stargus-Cursor', 'Location', 'Retry-After'],
        ...['Preference-Applied', 'Idempotency-Replayed'],
      ] as AnswerHeader[]),
    };
  }
  if (spec.headers?.includes('Prefer')) {
    const headers = new Set(
      Object.keys(spec.answers).flatMap((status) => Object.keys(described[status]?.headers as Described)),
    );
    described['204'] = {
      description: 'Done as with the other answers; `Prefer: return=minimal` asked for no body.',
      headers: headerRefs([...(headers as Set<AnswerHeader>), 'Preference-Applied']),
    };
  }
  described.default = { $ref: '#/components/responses/Problem' };
  return described;
}

function contentOf({ contentType = JSON_TYPE }: AnswerSpec, schema: Schema | undefined): Described {
  if (schema) return { content: { [contentType]: { schema } } };
  return contentType === JSON_TYPE ? {} : { content: { [contentType]: { schema: { type: 'string' } } } };
}

function answerHeaders(spec: RouteSpec, status: number, schema: Schema | undefined): AnswerHeader[] {
  const component = String(schema?.$ref ?? '').replace(/^.*\//, '');
  const ofComponent = HEADERS_OF_COMPONENT[component] ?? [];
  const headers: AnswerHeader[] = ['Request-Id', ...ofComponent];
  // A pool that was deleted has no state any more.
  const isPoolGone = spec.method === 'DELETE' && spec.path.endsWith('/:pool');
  if (isAboutPool(spec) && !isPoolGone) headers.push('Stargus-Revision', 'Stargus-Cursor');
  if (status === 304) headers.push('ETag');
  // An attribute that was created is where the request said.
  if (status === 201 && component !== 'Attribute') headers.push('Location');
  if (spec.headers?.includes('Idempotency-Key')) headers.push('Idempotency-Replayed');
  return headers;
}

function headerRefs(names: readonly AnswerHeader[]): Described {
  return Object.fromEntries([...names].sort().map((name) => [name, { $ref: `#/components/headers/${name}` }]));
}

function sharedParameters(specs: readonly RouteSpec[]): Described {
  const parameters: Described = {};
  for (const name of new Set(specs.flatMap(pathParametersOf))) {
    const described = PATH_PARAMETERS[name];
    if (!described) throw new Error(`The path parameter ${name} is not described in openapi.ts.`);
    parameters[pathComponent(name)] = { name, in: 'path', required: true, ...described };
  }
  for (const name of new Set(specs.flatMap(requestHeaders))) {
    parameters[headerComponent(name)] = { name, in: 'header', ...REQUEST_HEADERS[name] };
  }
  return parameters;
}

function pathParametersOf({ path }: RouteSpec): string[] {
  return [...path.matchAll(/:(\w+)/g)].map(([, name]) => name as string);
}

/** Any call about a pool may name its session, and any that writes there may prove a lock. */
function requestHeaders(spec: RouteSpec): readonly HeaderName[] {
  const { headers = [] } = spec;
  if (!isAboutPool(spec)) return headers;
  const writes = headers.includes('Idempotency-Key') || spec.body?.stream !== undefined;
  const more: HeaderName[] = ['Stargus-Session', ...(writes ? ['Stargus-Lock' as const] : [])];
  if (isDeferrable(spec)) more.push('Prefer');
  return [...new Set<HeaderName>([...headers, ...more])];
}

const pathComponent = (name: string) => `Path${name[0]?.toUpperCase()}${name.slice(1)}`;
const headerComponent = (name: HeaderName) => name.replaceAll('-', '');
const isAboutPool = ({ path }: RouteSpec) => path.includes('/:pool');

function byPathAndMethod(a: RouteSpec, b: RouteSpec): number {
  if (a.path !== b.path) return a.path < b.path ? -1 : 1;
  return METHODS.indexOf(a.method) - METHODS.indexOf(b.method);
}

function sorted(members: Described): Described {
  return Object.fromEntries(Object.entries(members).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Turns zod's schemas into those of OpenAPI; what has an id becomes a component. */
class Schemas {
  readonly components: Record<string, Schema> = {};

  /** As what comes in, before its transforms, or as what goes out. */
  describe(schema: z.ZodType, io: 'input' | 'output'): Schema {
    // Inside another schema, one with an id is always a reference.
    const converted: unknown = z.toJSONSchema(z.object({ root: schema }), {
      target: 'openapi-3.0',
      io,
      // Values of any type, and those whose type is said by their `meta`.
      unrepresentable: 'any',
    });
    const { properties, definitions = {} } = converted as {
      properties: { root: Schema };
      definitions?: Record<string, Schema>;
    };
    for (const [id, definition] of Object.entries(definitions)) {
      const described = tidied(definition, io);
      this.components[id] ??= described;
      if (JSON.stringify(this.components[id]) !== JSON.stringify(described)) {
        throw new Error(`There are two different schemas called ${id}.`);
      }
    }
    return tidied(properties.root, io);
  }
}

/** Keywords that come first, for the reader; the others follow by name. */
const FIRST_KEYWORDS = ['type', 'format', 'description'];
const STRING_KEYWORDS = ['pattern', 'minLength', 'maxLength'];

/** The schema without what zod knows of JavaScript only. */
function tidied(schema: Schema, io: 'input' | 'output'): Schema {
  const inner = (value: Member): Member => tidied(value as Schema, io);
  // So zod writes a reference that may be absent.
  const [reference, ...others] = Object.keys(schema).join() === 'allOf' ? (schema.allOf as Schema[]) : [];
  if (reference && others.length === 0) return tidied(reference, io);
  const isOpen = schema.additionalProperties !== false;
  const keywords = Object.entries(schema).flatMap(([keyword, value]): [string, Member][] => {
    if (value === undefined) return [];
    switch (keyword) {
      case '$ref':
        return [[keyword, String(value).replace('#/definitions/', '#/components/schemas/')]];
      case 'properties':
        return [
          [
            keyword,
            Object.fromEntries(Object.entries(value as Described).map(([name, member]) => [name, inner(member)])),
          ],
        ];
      case 'items':
        return [[keyword, inner(value)]];
      case 'anyOf':
      case 'oneOf':
      case 'allOf': {
        // What may be absent is wrapped without need.
        const [only, ...others] = (value as Member[]).map(inner);
        if (keyword === 'allOf' && others.length === 0) return Object.entries(only as Schema);
        return [[keyword, [only, ...others]]];
      }
      case 'additionalProperties':
        // Clients ignore members that they don't know. Beside named members, to allow others is the default.
        if (!isOpen && io === 'output') return [];
        if (!isOpen) return [[keyword, false]];
        if (value === true || Object.keys(value as object).length === 0)
          return schema.properties ? [] : [[keyword, true]];
        return [[keyword, typeof value === 'object' ? inner(value) : value]];
      case 'minimum':
      case 'maximum':
        return Number.isSafeInteger(value) && Math.abs(value as number) === Number.MAX_SAFE_INTEGER
          ? []
          : [[keyword, value]];
    }
    // A parameter's text is matched before it becomes a number.
    return STRING_KEYWORDS.includes(keyword) && schema.type !== 'string' ? [] : [[keyword, value]];
  });
  const rank = (keyword: string) => FIRST_KEYWORDS.indexOf(keyword) + 1 || FIRST_KEYWORDS.length + 1;
  return Object.fromEntries(keywords.sort(([a], [b]) => rank(a) - rank(b) || (a < b ? -1 : 1)));
}
