/**
 * The OpenAPI document: it is what the routes say now, valid, and keeps the rules of scripts/openapi-rules.mjs. Each rule is
 * shown to find a document that breaks it and no more than that, since a rule that can't fail says nothing.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Validator } from '@seriousme/openapi-schema-validator';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { rules, violationsOf } from '../scripts/openapi-rules.mjs';
import { controllers } from '../src/app.module.js';
import { errorTable } from '../src/engine/errors.js';
import { isDeferrable } from '../src/http/deferring.js';
import { openApiDocument } from '../src/http/openapi.js';
import { Route, type RouteSpec, routesOf } from '../src/http/route.js';

const ROOT = path.resolve(import.meta.dirname, '..');
const read = (file: string): string => readFileSync(path.join(ROOT, file), 'utf8');
const { version } = JSON.parse(read('package.json')) as { version: string };

// biome-ignore lint/suspicious/noExplicitAny: a JSON document, looked at here and there
type Document = any;

const made = (): Document => JSON.parse(JSON.stringify(openApiDocument(controllers, version)));

/** OpenAPI 3.0 knows no method QUERY; what it does is described under POST. */
const describable = () =>
  controllers
    .flatMap((controller) => routesOf(controller).map(({ spec }) => spec))
    .filter(({ method }) => method !== 'QUERY');

describe('the document', () => {
  test('is the committed one: otherwise run `npm run gen`', () => {
    expect(read('openapi/stargus.json')).toBe(`${JSON.stringify(made(), null, 2)}\n`);
  });

  test('is valid OpenAPI 3.0, and its references lead somewhere', async () => {
    const validator = new Validator();
    expect(await validator.validate(made())).toEqual({ valid: true });
    expect(validator.version).toBe('3.0');
    expect(() => validator.resolveRefs()).not.toThrow();
  });

  test('keeps the rules', () => {
    expect(violationsOf(made())).toEqual([]);
  });

  test('describes every route, and nothing else', () => {
    const routes = describable();
    const registered = routes.map(({ method, path, operationId }) => {
      return `${method} ${path.replace(/:(\w+)/g, '{$1}')} ${operationId}`;
    });
    const described = Object.entries<Document>(made().paths).flatMap(([path, methods]) =>
      Object.entries<Document>(methods).map(
        ([method, { operationId }]) => `${method.toUpperCase()} ${path} ${operationId}`,
      ),
    );
    expect(described.sort()).toEqual(registered.sort());
    expect(routes.length).toBeGreaterThan(0);
  });

  test('describes each query parameter, request header and status of a route', () => {
    const { paths, components } = made();
    for (const spec of describable()) {
      const {
        parameters = [],
        responses,
        requestBody,
      } = paths[spec.path.replace(/:(\w+)/g, '{$1}')][spec.method.toLowerCase()];
      const names = parameters.map(
        ({ $ref, name }: Document) => name ?? components.parameters[$ref.split('/').at(-1)].name,
      );
      const query = spec.query instanceof z.ZodObject ? Object.keys(spec.query.shape) : [];
      const inPath = [...spec.path.matchAll(/:(\w+)/g)].map(([, name]) => name);
      // Any call about a pool may name a session, any write there prove a lock.
      const writes = spec.headers?.includes('Idempotency-Key') || spec.body?.stream !== undefined;
      const later = isDeferrable(spec);
      const ofWrites = [...(writes ? ['Stargus-Lock'] : []), ...(later ? ['Prefer'] : [])];
      const implied = inPath.includes('pool') ? ['Stargus-Session', ...ofWrites] : [];
      const headers = [...new Set([...(spec.headers ?? []), ...implied])];
      expect(names, spec.operationId).toEqual([...inPath, ...query, ...headers]);
      const minimal = spec.headers?.includes('Prefer') ? ['204'] : [];
      expect(Object.keys(responses).sort(), spec.operationId).toEqual(
        [...Object.keys(spec.answers), ...minimal, ...(later ? ['202'] : []), 'default'].sort(),
      );
      expect(Object.keys(requestBody?.content ?? {}), spec.operationId).toEqual(
        spec.body ? [spec.body.stream ?? 'application/json', ...Object.keys(spec.body.types ?? {})] : [],
      );
    }
  });

  test('lists every code of a problem', () => {
    const { code } = made().components.schemas.Problem.properties;
    expect(code['x-extensible-enum']).toEqual(Object.keys(errorTable));
  });

  test('is the same whatever the order of the controllers', () => {
    const turned = openApiDocument([...controllers].reverse(), version);
    expect(JSON.stringify(turned)).toBe(JSON.stringify(openApiDocument(controllers, version)));
  });
});

describe('what is not described throws', () => {
  const thing = (member: z.ZodType) => z.object({ member }).meta({ id: `Thing` });
  const cases: { name: string; spec: Partial<RouteSpec>; message: RegExp }[] = [
    { name: 'a tag', spec: { tag: 'things' }, message: /tag things/ },
    { name: 'a path parameter', spec: { path: '/v1/:thing' }, message: /path parameter thing/ },
    {
      name: 'a query parameter',
      spec: { query: z.object({ thing: z.string() }) },
      message: /parameter thing of getThing/,
    },
    {
      name: 'a schema with the id of another',
      spec: {
        answers: { 200: { description: 'One.', schema: z.object({ a: thing(z.string()), b: thing(z.boolean()) }) } },
      },
      message: /Thing/,
    },
  ];
  test.each(cases)('$name', ({ spec, message }) => {
    class Things {
      get(): void {}
    }
    const complete: RouteSpec = {
      method: 'GET',
      path: '/v1/things',
      operationId: 'getThing',
      tag: 'system',
      summary: 'Read a thing',
      answers: { 200: { description: 'A thing.' } },
      ...spec,
    };
    Route(complete)(Things.prototype, 'get', { value: Things.prototype.get });
    expect(() => openApiDocument([Things], version)).toThrow(message);
  });
});

/** A document with a bit of everything, which keeps every rule; `breaks` below has what goes wrong in it. */
function sound(): Document {
  return {
    openapi: '3.0.3',
    info: { title: 'Things', version: '1' },
    tags: [{ name: 'things', description: 'Things.' }],
    paths: {
      '/things/{thing}': {
        put: {
          operationId: 'putThing',
          tags: ['things'],
          summary: 'Replace a thing',
          parameters: [
            { name: 'thing', in: 'path', required: true, description: 'Its name.', schema: { type: 'string' } },
            { name: 'limit', in: 'query', description: 'So many.', schema: { type: 'integer', format: 'int32' } },
          ],
          requestBody: { content: { 'application/json': { schema: { $ref: '#/components/schemas/Thing' } } } },
          responses: {
            200: {
              description: 'It.',
              content: { 'application/json': { schema: { $ref: '#/components/schemas/Thing' } } },
            },
            201: {
              description: 'It.',
              content: { 'application/json': { schema: { $ref: '#/components/schemas/Thing' } } },
            },
            204: { description: 'Nothing.' },
            304: { description: 'The same.' },
            default: { $ref: '#/components/responses/Problem' },
          },
        },
      },
      '/events': {
        get: {
          operationId: 'streamEvents',
          tags: ['things'],
          summary: 'Hear of things',
          'x-streaming': true,
          responses: {
            200: { description: 'Events.', content: { 'text/event-stream': { schema: { type: 'string' } } } },
            default: { $ref: '#/components/responses/Problem' },
          },
        },
      },
    },
    components: {
      responses: {
        Problem: {
          description: 'No.',
          content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
        },
      },
      schemas: {
        Thing: {
          type: 'object',
          properties: {
            state: { type: 'string', 'x-extensible-enum': ['new', 'old'] },
            size: { type: 'number', format: 'double' },
            value: { description: 'Any.' },
            attributes: { type: 'object', additionalProperties: true },
            sums: { type: 'object', additionalProperties: { type: 'number', format: 'double' } },
            parts: { type: 'array', items: { $ref: '#/components/schemas/Thing' } },
          },
        },
        Problem: { type: 'object', properties: { type: { type: 'string' } } },
      },
    },
  };
}

const put = (document: Document): Document => document.paths['/things/{thing}'].put;
const stream = (document: Document): Document => document.paths['/events'].get;
const members = (document: Document): Document => document.components.schemas.Thing.properties;
const answer = (document: Document): Document => put(document).responses[200].content['application/json'];
const body = (document: Document): Document => put(document).requestBody.content['application/json'];

/** For each rule the ways to break it, as changes of the sound document. */
const breaks: Record<string, Record<string, (document: Document) => unknown>> = {
  any: {
    'a body of any type': (d) => Object.assign(body(d), { schema: {} }),
    'a body that is an object of any kind': (d) => Object.assign(body(d), { schema: { type: 'object' } }),
    'a parameter of any type': (d) => Object.assign(put(d).parameters[1], { schema: { description: 'Any.' } }),
    'elements of any type': (d) => Object.assign(members(d).parts, { items: {} }),
    'unnamed members of any type beside named ones': (d) =>
      Object.assign(d.components.schemas.Thing, { additionalProperties: true }),
    'an answer without a schema': (d) =>
      Object.assign(stream(d), {
        responses: { ...stream(d).responses, 200: { description: '', content: { 'application/json': {} } } },
        'x-streaming': undefined,
      }),
  },
  composition: Object.fromEntries(
    ['oneOf', 'anyOf', 'allOf'].map((keyword) => [
      `${keyword} in an answer`,
      (d: Document) => Object.assign(members(d), { either: { [keyword]: [{ type: 'string' }] } }),
    ]),
  ),
  enum: {
    'an enum in an answer': (d) => Object.assign(members(d).state, { enum: ['new', 'old'] }),
    'an enum in a header of an answer': (d) =>
      Object.assign(put(d).responses[204], { headers: { Mood: { schema: { type: 'string', enum: ['good'] } } } }),
  },
  extensibleEnum: {
    'no values': (d) => Object.assign(members(d).state, { 'x-extensible-enum': [] }),
    'values of a number': (d) => Object.assign(members(d).size, { 'x-extensible-enum': ['1'] }),
  },
  oneAnswer: {
    'another schema with 201': (d) =>
      Object.assign(put(d).responses[201].content['application/json'], { schema: { type: 'string' } }),
    'no 2xx answer': (d) => Object.assign(put(d), { responses: { default: put(d).responses.default } }),
  },
  problem: {
    'no default': (d) => delete put(d).responses.default,
    'a default of another kind': (d) =>
      Object.assign(put(d).responses, { default: { description: 'Oh.', content: { 'application/json': answer(d) } } }),
    'a refusal with a status': (d) =>
      Object.assign(put(d).responses, { 404: { $ref: '#/components/responses/Problem' } }),
  },
  format: {
    'a bare number': (d) => delete members(d).size.format,
    'a bare integer in a parameter': (d) => delete put(d).parameters[1].schema.format,
    'a number as an integer': (d) => Object.assign(members(d).size, { format: 'int64' }),
    'a bare number in a map': (d) => delete members(d).sums.additionalProperties.format,
  },
  operationId: {
    none: (d) => delete put(d).operationId,
    'one that is there': (d) => Object.assign(put(d), { operationId: 'streamEvents' }),
    'no verb': (d) => Object.assign(put(d), { operationId: 'thingPut' }),
    'no noun': (d) => Object.assign(put(d), { operationId: 'put' }),
    'snake case': (d) => Object.assign(put(d), { operationId: 'put_thing' }),
  },
  tag: {
    'no tag': (d) => delete put(d).tags,
    'two tags': (d) => Object.assign(put(d), { tags: ['things', 'things'] }),
    'a tag that is not described': (d) => Object.assign(put(d), { tags: ['others'] }),
  },
  summary: {
    'no summary': (d) => delete put(d).summary,
    'an empty one': (d) => Object.assign(put(d), { summary: ' ' }),
  },
  names: {
    ...Object.fromEntries(
      ['from', 'in', 'not', 'select', 'range', 'type', 'class', 'func', 'None'].map((name) => [
        `a member ${name}`,
        (d: Document) => Object.assign(members(d), { [name]: { type: 'string' } }),
      ]),
    ),
    'a parameter from': (d) => Object.assign(put(d).parameters[1], { name: 'from' }),
    'a JSON Patch in an answer': (d) => {
      d.components.schemas.JsonPatchOperation = { type: 'object', properties: { from: { type: 'string' } } };
      members(d).patch = { $ref: '#/components/schemas/JsonPatchOperation' };
    },
  },
  components: {
    'a schema as Go’s constructor': (d) => Object.assign(d.components.schemas, { NewThing: { type: 'string' } }),
  },
  streaming: {
    'events without x-streaming': (d) => delete stream(d)['x-streaming'],
    'x-streaming without events': (d) => Object.assign(put(d), { 'x-streaming': true }),
    'events that are no string': (d) =>
      Object.assign(stream(d).responses[200].content['text/event-stream'], {
        schema: { $ref: '#/components/schemas/Thing' },
      }),
  },
  parameters: {
    'no description': (d) => delete put(d).parameters[1].description,
    'no schema': (d) => delete put(d).parameters[1].schema,
    'one in the path that is not described': (d) => put(d).parameters.shift(),
  },
};

describe('the rules', () => {
  test('are all kept by the sound document', async () => {
    expect(violationsOf(sound())).toEqual([]);
    expect(await new Validator().validate(sound())).toEqual({ valid: true });
  });

  test('each has a way to break it', () => {
    expect(Object.keys(breaks).sort()).toEqual(rules.map(({ name }) => name).sort());
  });

  const cases = Object.entries(breaks).flatMap(([rule, ways]) =>
    Object.entries(ways).map(([way, spoil]) => ({ rule, way, spoil })),
  );
  test.each(cases)('$rule is broken by $way', ({ rule, spoil }) => {
    const document = sound();
    spoil(document);
    const broken = rules.filter((one) => one.broken(document).length > 0).map(({ name }) => name);
    expect(broken).toEqual([rule]);
  });

  test('a JSON Patch may be asked for: RFC 6902 calls a member `from`', () => {
    const document = sound();
    document.components.schemas.JsonPatchOperation = { type: 'object', properties: { from: { type: 'string' } } };
    body(document).schema = { type: 'array', items: { $ref: '#/components/schemas/JsonPatchOperation' } };
    expect(violationsOf(document)).toEqual([]);
  });
});
