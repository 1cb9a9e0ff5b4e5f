/**
 * The rules that the OpenAPI document keeps so that clients generated from it, in whatever language, are pleasant and stay
 * right when the server learns something new. scripts/gen.mjs refuses to write a document that breaks one, and
 * test/openapi.test.ts shows of each rule that it can be broken.
 */

const METHODS = ['get', 'put', 'post', 'patch', 'delete', 'head', 'options', 'trace'];
const COMPOSITIONS = ['oneOf', 'anyOf', 'allOf', 'not'];
const FORMATS = { integer: ['int32', 'int64'], number: ['float', 'double'] };

/** What the first word of an operationId may be. */
const VERBS = [
  'ack, acknowledge, attach, break, check, create, delete, drop, end, enroll, exchange, explain, export, get, import, increment, issue, list, patch',
  'post, preview, push, put, query, redeliver, renew, request, resume, revoke, rotate, run, send, start, stream, take, test, unlock, upload',
].flatMap((line) => line.split(', '));

/** Names that generators change, each in its own way: reserved words of Python and Go, and what SQL and JavaScript keep. */
const RESERVED = new Set(
  (
    'False None True and as assert async await break class continue def del elif else except finally for from global if import in ' +
    'is lambda nonlocal not or pass raise return try while with yield match case ' +
    'chan const default defer fallthrough func go goto interface map package range select struct switch type var'
  ).split(' '),
);

/** Members that are called so all the same, each because of another text that can't be changed. */
const EXEMPT = [
  { component: 'Problem', member: 'type', answers: true, because: 'RFC 9457 requires it' },
  { component: 'AuthorizationDetail', member: 'type', answers: true, because: 'RFC 9396 requires it' },
  { component: 'JsonPatchOperation', member: 'from', answers: false, because: 'RFC 6902 requires it' },
  { component: 'Batch', member: 'if', answers: false, because: 'the conditions of a batch are called so since /v1' },
  { component: 'BatchOp', member: 'if', answers: false, because: 'the conditions of an op are called so since /v1' },
];

/**
 * Each rule has a name, a sentence, and a check that answers the places where the document breaks it.
 *
 * @type {{name: string, text: string, broken: (document: any) => string[]}[]}
 */
export const rules = [
  {
    name: 'any',
    text: 'JSON of any type is a named member of an object, never a whole body, a parameter, an element or an unnamed member',
    broken: (document) =>
      placesOf(document)
        .filter(({ schema, member }) => member === undefined && isAny(schema))
        .map(({ where }) => where),
  },
  {
    name: 'composition',
    text: 'answers have no oneOf, anyOf, allOf or not',
    broken: (document) =>
      placesOf(document)
        .filter(({ answer, schema }) => answer && COMPOSITIONS.some((keyword) => keyword in schema))
        .map(({ where }) => where),
  },
  {
    name: 'enum',
    text: 'answers have no closed enums; x-extensible-enum lists the values of today',
    broken: (document) =>
      placesOf(document)
        .filter(({ answer, schema }) => answer && 'enum' in schema)
        .map(({ where }) => where),
  },
  {
    name: 'extensibleEnum',
    text: 'x-extensible-enum is a list of strings with something in it, of a string',
    broken: (document) =>
      placesOf(document)
        .filter(({ schema: { type, 'x-extensible-enum': values } }) => {
          if (values === undefined) return false;
          return type !== 'string' || values.length === 0 || !values.every((value) => typeof value === 'string');
        })
        .map(({ where }) => where),
  },
  {
    name: 'oneAnswer',
    text: 'the 2xx answers of an operation have one schema',
    broken: (document) =>
      operationsOf(document)
        .filter(({ operation }) => {
          const good = Object.entries(operation.responses).filter(([status]) => /^2/.test(status));
          const schemas = good.flatMap(([, response]) =>
            contentsOf(resolve(document, response)).map(([, { schema }]) => JSON.stringify(schema)),
          );
          return good.length === 0 || new Set(schemas).size > 1;
        })
        .map(({ where }) => where),
  },
  {
    name: 'problem',
    text: 'the default answer of an operation is a Problem, and no other answer is a refusal',
    broken: (document) =>
      operationsOf(document)
        .filter(({ operation: { responses } }) => {
          const contents = contentsOf(resolve(document, responses.default ?? {}));
          const isProblem =
            contents.length === 1 &&
            contents[0][0] === 'application/problem+json' &&
            contents[0][1].schema?.$ref === '#/components/schemas/Problem';
          return !isProblem || Object.keys(responses).some((status) => /^[45]/.test(status));
        })
        .map(({ where }) => where),
  },
  {
    name: 'format',
    text: 'integers are int32 or int64, numbers are float or double',
    broken: (document) =>
      placesOf(document)
        .filter(({ schema: { type, format } }) => type in FORMATS && !FORMATS[type].includes(format))
        .map(({ where }) => where),
  },
  {
    name: 'operationId',
    text: 'an operationId is a known verb and a noun in camelCase, and unique',
    broken: (document) => {
      const seen = new Set();
      return operationsOf(document)
        .filter(({ operation: { operationId = '' } }) => {
          const [, verb] = /^([a-z]+)(?:[A-Z][a-z0-9]+)+$/.exec(operationId) ?? [];
          const isNew = !seen.has(operationId.toLowerCase());
          seen.add(operationId.toLowerCase());
          return !isNew || !VERBS.includes(verb);
        })
        .map(({ where, operation }) => `${where}: ${operation.operationId}`);
    },
  },
  {
    name: 'tag',
    text: 'an operation has exactly one tag, and the document describes it',
    broken: (document) =>
      operationsOf(document)
        .filter(({ operation: { tags = [] } }) => {
          return tags.length !== 1 || !document.tags?.some(({ name, description }) => name === tags[0] && description);
        })
        .map(({ where }) => where),
  },
  {
    name: 'summary',
    text: 'an operation has a summary',
    broken: (document) =>
      operationsOf(document)
        .filter(({ operation }) => !operation.summary?.trim())
        .map(({ where }) => where),
  },
  {
    name: 'names',
    text: 'no member or parameter has a name that is reserved in Python or Go',
    broken: (document) => {
      const isExempt = ({ component, member, answer }) =>
        EXEMPT.some((one) => one.component === component && one.member === member && (one.answers || !answer));
      const members = placesOf(document).filter((place) => RESERVED.has(place.member) && !isExempt(place));
      const parameters = parametersOf(document).filter(({ parameter }) => RESERVED.has(parameter.name));
      return [...members, ...parameters].map(({ where }) => where);
    },
  },
  {
    name: 'components',
    text: 'no schema is called New… or Nullable…, as Go’s constructors and wrappers of other schemas are',
    broken: (document) =>
      Object.keys(document.components?.schemas ?? {}).filter((name) => /^(New|Nullable)[A-Z]/.test(name)),
  },
  {
    name: 'streaming',
    text: 'an operation has x-streaming exactly when it answers Server-Sent Events, which are a string',
    broken: (document) =>
      operationsOf(document)
        .filter(({ operation }) => {
          const contents = Object.values(operation.responses).flatMap((response) =>
            contentsOf(resolve(document, response)),
          );
          const streams = contents.filter(([type]) => type === 'text/event-stream');
          const isStreaming = streams.length > 0 && streams.every(([, { schema }]) => schema?.type === 'string');
          return isStreaming !== (operation['x-streaming'] === true) || isStreaming !== streams.length > 0;
        })
        .map(({ where }) => where),
  },
  {
    name: 'parameters',
    text: 'the parameters in a path are those that are described, and each parameter has a description and a schema',
    broken: (document) => {
      const bare = parametersOf(document)
        .filter(({ parameter }) => !parameter.description || !parameter.schema)
        .map(({ where }) => where);
      const unlike = operationsOf(document).filter(({ path, operation }) => {
        const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
        const described = (operation.parameters ?? [])
          .map((one) => resolve(document, one))
          .filter((one) => one.in === 'path');
        return (
          inPath.sort().join() !==
          described
            .map(({ name }) => name)
            .sort()
            .join()
        );
      });
      return [...bare, ...unlike.map(({ where }) => where)];
    },
  },
];

/**
 * Sentences about the places where the document breaks a rule; none is what it should be.
 *
 * @param {any} document an OpenAPI 3.0 document as an object
 * @returns {string[]}
 */
export function violationsOf(document) {
  return rules.flatMap(({ name, text, broken }) =>
    broken(document).map((where) => `${where} breaks the rule “${name}”: ${text}.`),
  );
}

/** Any JSON value, or an object of which nothing is said. */
function isAny(schema) {
  if (schema.type === 'object')
    return (
      !schema.properties && typeof schema.additionalProperties !== 'object' && schema.additionalProperties !== false
    );
  return schema.type === undefined && !COMPOSITIONS.some((keyword) => keyword in schema);
}

function operationsOf(document) {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([method]) => METHODS.includes(method))
      .map(([method, operation]) => ({ where: `${method.toUpperCase()} ${path}`, path, operation })),
  );
}

function parametersOf(document) {
  return operationsOf(document).flatMap(({ where, operation }) =>
    (operation.parameters ?? []).map((one) => {
      const parameter = resolve(document, one);
      return { where: `${where} ?${parameter.name}`, parameter };
    }),
  );
}

function contentsOf({ content = {} }) {
  return Object.entries(content);
}

/**
 * Every schema that a request or an answer can hold, references followed: with the member that it is the value of, the
 * component that it belongs to, and whether it is of an answer.
 */
function placesOf(document) {
  const places = [];
  const seen = new Set();
  const visit = (reference, place) => {
    const schema = resolve(document, reference);
    const component = reference.$ref ? reference.$ref.replace(/^.*\//, '') : place.component;
    places.push({ ...place, schema });
    if (reference.$ref) {
      const visited = `${place.answer} ${reference.$ref}`;
      if (seen.has(visited)) return;
      seen.add(visited);
    }
    const inner = (child, name, member) =>
      visit(child, {
        answer: place.answer,
        component,
        member,
        where: `${reference.$ref ? component : place.where}/${name}`,
      });
    for (const [name, child] of Object.entries(schema.properties ?? {})) inner(child, name, name);
    if (schema.items) inner(schema.items, '[]');
    const { additionalProperties: others } = schema;
    if (typeof others === 'object' || (others === true && schema.properties)) inner(others === true ? {} : others, '*');
    for (const keyword of COMPOSITIONS)
      for (const child of [schema[keyword] ?? []].flat()) inner(child, keyword, place.member);
  };
  for (const { where, parameter } of parametersOf(document))
    if (parameter.schema) visit(parameter.schema, { answer: false, where });
  for (const { where, operation } of operationsOf(document)) {
    for (const [type, { schema = {} }] of contentsOf(operation.requestBody ?? {})) {
      visit(schema, { answer: false, where: `${where} ${type}` });
    }
    for (const [status, response] of Object.entries(operation.responses)) {
      const { headers = {}, ...answer } = resolve(document, response);
      for (const [name, header] of Object.entries(headers)) {
        visit(resolve(document, header).schema ?? {}, { answer: true, where: `${where} ${status} ${name}` });
      }
      for (const [type, { schema = {} }] of contentsOf(answer))
        visit(schema, { answer: true, where: `${where} ${status} ${type}` });
    }
  }
  return places;
}

function resolve(document, value) {
  if (!value.$ref) return value;
  const found = value.$ref
    .replace(/^#\//, '')
    .split('/')
    .reduce((at, name) => at?.[name], document);
  if (!found) throw new Error(`${value.$ref} leads nowhere.`);
  return resolve(document, found);
}
