/**
 * References of a JSON Schema, resolved here and once: `$id`, `$anchor`, `$ref`, `$dynamicAnchor` and `$dynamicRef` go in, and
 * a schema with references of the form `#/$defs/<number>` only comes out, which any compiler understands.
 *
 * A dynamic reference depends on the resources that were entered on the way to it. So what is referred to is written out
 * once for each set of dynamic anchors that it can be met with; there are few of these, as an anchor's first meaning stays.
 */
import { limits } from '../limits.js';
import { getMember, isObject, type Json, type JsonObject, setMember } from '../state/json.js';
import { children, mapChildren } from './schema-walk.js';

/** Where relative references of a schema without `$id` lead; nobody can have a schema there. */
const BASE = 'https://dictionary.invalid/';

/** Says which reference can't be used, and why. */
export class ReferenceFault extends Error {
  constructor(
    readonly pointer: string,
    message: string,
  ) {
    super(message);
  }
}

interface Resource {
  readonly uri: string;
  readonly root: JsonObject;
  readonly anchors: Map<string, { readonly schema: JsonObject; readonly dynamic: boolean }>;
}

interface Known {
  readonly resource: Resource;
  readonly pointer: string;
}

/** Dynamic anchors, each with the schema that it was first met at. */
type Scope = ReadonlyMap<string, JsonObject>;

const IDENTIFIERS = new Set([
  '$id',
  '$anchor',
  '$dynamicAnchor',
  '$schema',
  '$vocabulary',
  '$ref',
  '$dynamicRef',
  '$defs',
  'definitions',
]);

/** What is said for people; it is not compiled, and costs nothing. */
const ANNOTATIONS = new Set([
  'title',
  'description',
  '$comment',
  'examples',
  'default',
  'deprecated',
  'readOnly',
  'writeOnly',
]);

/** @throws ReferenceFault when a reference leads nowhere, or back to itself without end */
export function resolveReferences(schema: Json): Json {
  return isObject(schema) ? new Resolver(schema).resolve() : schema;
}

class Resolver {
  readonly #resources = new Map<string, Resource>();
  readonly #known = new Map<JsonObject, Known>();
  readonly #numbers = new Map<Json, number>();
  readonly #names = new Map<string, string>();
  readonly #defs: JsonObject = {};
  #weight = 0;
  #dynamicAnchors = 0;
  /** Where in the given schema a schema of the result comes from. */
  readonly #origins = new Map<JsonObject, string>();

  constructor(readonly schema: JsonObject) {
    this.#register(schema, '', undefined);
  }

  resolve(): Json {
    const root = this.#known.get(this.schema) as Known;
    const resolved = this.#emit(this.schema, root.resource, '', new Map()) as JsonObject;
    setMember(resolved, '$defs', this.#defs);
    this.#refuseEndless([resolved, ...Object.values(this.#defs)]);
    return resolved;
  }

  #register(schema: Json, pointer: string, around: Resource | undefined): void {
    if (!isObject(schema)) return;
    let resource = around;
    const id = getMember(schema, '$id');
    if (typeof id === 'string' || !resource) {
      const uri = absolute(typeof id === 'string' ? id.replace(/#$/, '') : '', around?.uri ?? BASE, `${pointer}/$id`);
      if (this.#resources.has(uri)) throw new ReferenceFault(`${pointer}/$id`, 'Another schema here has the same $id.');
      resource = { uri, root: schema, anchors: new Map() };
      this.#resources.set(uri, resource);
    }
    for (const keyword of ['$anchor', '$dynamicAnchor']) {
      const name = getMember(schema, keyword);
      if (
        typeof name === 'string' &&
        keyword === '$dynamicAnchor' &&
        ++this.#dynamicAnchors > limits.dynamicAnchorsMax
      ) {
        throw new ReferenceFault(`${pointer}/${keyword}`, `There are more than ${limits.dynamicAnchorsMax} of these.`);
      }
      if (typeof name === 'string') resource.anchors.set(name, { schema, dynamic: keyword === '$dynamicAnchor' });
    }
    this.#known.set(schema, { resource, pointer });
    for (const [child, path] of children(schema)) this.#register(child, pointer + path, resource);
  }

  /** A copy without identifiers, its references led to definitions. */
  #emit(schema: Json, around: Resource, at: string, outer: Scope): Json {
    if (!isObject(schema)) return schema;
    const resource = this.#known.get(schema)?.resource ?? around;
    const pointer = this.#known.get(schema)?.pointer ?? at;
    const scope = entered(outer, resource);
    const own: JsonObject = {};
    for (const keyword of Object.keys(schema)) {
      if (!IDENTIFIERS.has(keyword) && !ANNOTATIONS.has(keyword)) setMember(own, keyword, schema[keyword] as Json);
    }
    this.#weigh(
      own,
      pointer,
      getMember(schema, '$ref') !== undefined || getMember(schema, '$dynamicRef') !== undefined,
    );
    const copy = mapChildren(own, (child, path) => this.#emit(child, resource, pointer + path, scope));
    const names: string[] = [];
    const reference = getMember(schema, '$ref');
    if (typeof reference === 'string') names.push(this.#target(reference, resource, `${pointer}/$ref`, scope, false));
    const dynamic = getMember(schema, '$dynamicRef');
    if (typeof dynamic === 'string') {
      names.push(this.#target(dynamic, resource, `${pointer}/$dynamicRef`, scope, true));
    }
    const [first, second] = names;
    if (first !== undefined) setMember(copy, '$ref', `#/$defs/${first}`);
    if (second !== undefined) {
      setMember(copy, 'allOf', [...((getMember(copy, 'allOf') ?? []) as Json[]), { $ref: `#/$defs/${second}` }]);
    }
    this.#origins.set(copy, pointer);
    return copy;
  }

  /** What is referred to is compiled where it stands and once more for each place in it that is referred to. */
  #weigh(own: JsonObject, pointer: string, refers: boolean): void {
    this.#weight += weightOf(own) + (refers ? 1 : 0);
    if (this.#weight <= limits.schemaWeightMax) return;
    throw new ReferenceFault(
      pointer,
      'Up to here the schema is too large to compile, with what its references lead to written out. There is room for some 600 schemas of two keywords each.',
    );
  }

  /** The name of the definition that a reference leads to. */
  #target(reference: string, from: Resource, at: string, scope: Scope, dynamic: boolean): string {
    const uri = absolute(reference, from.uri, at);
    const [document = '', fragment = ''] = uri.split('#');
    const resource = this.#resources.get(document);
    if (!resource) throw nowhere(at, reference);
    let target: Json | undefined;
    const name = decoded(fragment);
    if (name === '') target = resource.root;
    else if (name.startsWith('/')) target = valueAt(resource.root, name);
    else {
      const anchor = resource.anchors.get(name);
      target = dynamic && anchor?.dynamic ? (entered(scope, resource).get(name) ?? anchor.schema) : anchor?.schema;
    }
    if (target === undefined || (typeof target !== 'boolean' && !isObject(target))) throw nowhere(at, reference);
    return this.#define(target, resource, at, scope);
  }

  #define(target: Json, found: Resource, at: string, outer: Scope): string {
    const resource = (isObject(target) ? this.#known.get(target)?.resource : undefined) ?? found;
    const scope = entered(outer, resource);
    const key = [this.#number(target), ...[...scope].map(([name, schema]) => `${this.#number(schema)} ${name}`)].join(
      '\n',
    );
    const known = this.#names.get(key);
    if (known !== undefined) return known;
    const name = String(this.#names.size);
    if (this.#names.size >= limits.schemaReferencesMax) {
      throw new ReferenceFault(at, `The schema has more than ${limits.schemaReferencesMax} different references.`);
    }
    this.#names.set(key, name);
    // A place of its own before it is made, so that it can lead to itself.
    setMember(this.#defs, name, true);
    setMember(this.#defs, name, this.#emit(target, resource, at, scope));
    return name;
  }

  #number(schema: Json): number {
    const number = this.#numbers.get(schema) ?? this.#numbers.size;
    this.#numbers.set(schema, number);
    return number;
  }

  /** A reference that leads back to its own schema without going into the value would never end. */
  #refuseEndless(roots: readonly Json[]): void {
    const state = new Map<Json, 'open' | 'done'>();
    const search = (schema: Json): void => {
      if (!isObject(schema) || state.get(schema) === 'done') return;
      if (state.get(schema) === 'open') {
        throw new ReferenceFault(
          this.#origins.get(schema) ?? '',
          'A reference leads back to this schema without going into the value, so it would never end.',
        );
      }
      state.set(schema, 'open');
      for (const [child, , use] of children(schema)) if (use === 'inPlace') search(child);
      const reference = getMember(schema, '$ref');
      if (typeof reference === 'string') search(getMember(this.#defs, reference.slice('#/$defs/'.length)) as Json);
      state.set(schema, 'done');
    };
    roots.forEach(search);
  }
}

/** About how long a schema takes to compile by itself, without those inside: some 0.2 ms for each that isn't empty. */
function weightOf(own: JsonObject): number {
  const inside = children(own);
  let weight = inside.length > 0 ? 1.1 : 0.5;
  for (const [child] of inside) if (!isObject(child)) weight += 1;
  for (const keyword of Object.keys(own)) {
    const value = own[keyword] as Json;
    weight += keyword === 'const' ? 0.1 : 0.5;
    // Short lists are written out in the code, long ones are gone through.
    if (keyword === 'dependentRequired') weight += JSON.stringify(value).length / 20;
    else if (!Array.isArray(value)) continue;
    else if (keyword === 'oneOf') weight += value.length * 0.6;
    else if (value.length > 200) continue;
    else if (keyword === 'required') weight += JSON.stringify(value).length / 15;
    else if (keyword === 'enum') weight += value.length / 10;
  }
  return weight;
}

/** The scope after a resource was entered: an anchor that is there already keeps its meaning. */
function entered(scope: Scope, { anchors }: Resource): Scope {
  let wider: Map<string, JsonObject> | undefined;
  for (const [name, { schema, dynamic }] of anchors) {
    if (!dynamic || scope.has(name)) continue;
    wider ??= new Map(scope);
    wider.set(name, schema);
  }
  return wider ?? scope;
}

function absolute(reference: string, base: string, at: string): string {
  try {
    return new URL(reference, base).href.replace(/#$/, '');
  } catch {
    throw new ReferenceFault(at, `${JSON.stringify(reference)} is no URI reference.`);
  }
}

function nowhere(at: string, reference: string): ReferenceFault {
  return new ReferenceFault(
    at,
    `The reference ${JSON.stringify(reference)} leads nowhere in this schema, and nothing is fetched: put what it means into $defs.`,
  );
}

function valueAt(root: Json, pointer: string): Json | undefined {
  let value: Json | undefined = root;
  for (const token of pointer.slice(1).split('/')) {
    const name = token.replaceAll('~1', '/').replaceAll('~0', '~');
    if (Array.isArray(value)) value = /^(?:0|[1-9]\d*)$/.test(name) ? value[Number(name)] : undefined;
    else value = isObject(value) ? getMember(value, name) : undefined;
  }
  return value;
}

function decoded(fragment: string): string {
  try {
    return decodeURIComponent(fragment);
  } catch {
    return fragment;
  }
}
