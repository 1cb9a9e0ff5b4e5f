/**
 * The schema of a definition (JSON Schema 2020-12 of the attributes), compiled to a check.
 *
 * Nothing is ever fetched: a reference leads into the schema itself or is refused. Formats are asserted; unknown formats
 * and unknown keywords are ignored, as the standard has it. What a check may cost is metered, since a few lines of schema
 * can ask for more work than there are atoms. The library is loaded with the first schema, and every definition has an
 * instance of its own, so the `$id`s of two collections never meet.
 */
import { createRequire } from 'node:module';
import type { Ajv2020, ErrorObject, ValidateFunction } from 'ajv/dist/2020.js';
import { limits } from '../limits.js';
import { getMember, isObject, type Json, type JsonObject, pointerToken, setMember } from '../state/json.js';
import type { Attributes } from '../state/model.js';
import type { Faults } from './faults.js';
import { Meter, OVERSPENT } from './meter.js';
import { compileSchemaPattern, type Pattern, PatternFault } from './pattern.js';
import { addKeywords, COST_KEYWORD, formats } from './schema-keywords.js';
import { ReferenceFault, resolveReferences } from './schema-references.js';
import { mapSchemas, visitSchemas } from './schema-walk.js';

/** Where an item breaks the schema. The pointer leads into the attributes. */
export interface SchemaBreach {
  readonly pointer: string;
  readonly detail: string;
}

export type SchemaCheck = (attributes: Attributes) => SchemaBreach[];

const DIALECT = /^https?:\/\/json-schema\.org\/draft\/2020-12\/schema#?$/;
const AT = '/schema';
const OPTIMIZED_LENGTH_MAX = 4096;

/** Compiles a schema. Where it can't be used, adds faults and answers undefined. */
export function compileSchema(schema: Json, meter: Meter, faults: Faults): SchemaCheck | undefined {
  const patterns = new Patterns(meter);
  if (!isSound(schema, patterns, faults)) return undefined;
  let made: Json;
  let first: ValidateFunction;
  const make = (allErrors: boolean): ValidateFunction => {
    // What makes small code faster takes long for much of it.
    const optimize = JSON.stringify(made).length <= OPTIMIZED_LENGTH_MAX;
    return instance({ allErrors, optimize }, meter, patterns).compile(made as JsonObject | boolean);
  };
  try {
    made = prepared(resolveReferences(schema));
    first = make(false);
    // The code is read when it is first run; that belongs to the compiling.
    tried(first);
  } catch (error) {
    if (error instanceof ReferenceFault) faults.add(AT + error.pointer, error.message);
    else if (error instanceof RangeError)
      faults.add(AT, 'It nests too deeply, has too many alternatives, or too long a chain of references.');
    else faults.add(AT, `The schema can't be used: ${(error as Error).message}.`);
    return undefined;
  }
  let every: ValidateFunction | undefined;
  return (attributes) => {
    try {
      if (first(attributes)) return [];
      if (!isSmall(attributes)) return breaches(first.errors ?? []);
      // Made when it is first needed: most items hold.
      every ??= make(true);
      every(attributes);
      return breaches(every.errors ?? first.errors ?? []);
    } catch (error) {
      if (error === OVERSPENT) {
        return [
          { pointer: '', detail: `checking the item against its schema costs more than ${meter.allowance} steps` },
        ];
      }
      if (error instanceof RangeError)
        return [{ pointer: '', detail: 'the item and the schema nest too deeply together' }];
      throw error;
    }
  };
}

/** @throws RangeError when the code can't be run */
function tried(check: ValidateFunction): void {
  try {
    check({});
  } catch (error) {
    if (error !== OVERSPENT) throw error;
  }
}

/** The patterns of a schema, each compiled once, wherever it stands; all together may take only so long. */
class Patterns {
  readonly #known = new Map<string, Pattern>();
  readonly #compiling = new Meter(limits.schemaPatternsCostMax);

  constructor(private readonly meter: Meter) {}

  /** Whether one was met with which they took too long. */
  get spent(): boolean {
    return this.#compiling.spent;
  }

  /** @throws PatternFault */
  of(source: string): Pattern {
    let pattern = this.#known.get(source);
    if (pattern) return pattern;
    try {
      pattern = compileSchemaPattern(source, this.meter, this.#compiling);
    } catch (error) {
      if (error === OVERSPENT) throw new PatternFault('With this one the patterns of the schema take too long.');
      throw error;
    }
    this.#known.set(source, pattern);
    return pattern;
  }
}

/** What can be judged before anything is compiled. */
function isSound(schema: Json, patterns: Patterns, faults: Faults): boolean {
  if (typeof schema !== 'boolean' && !isObject(schema)) {
    faults.add(AT, 'A schema is an object, true or false.');
    return false;
  }
  const bytes = Buffer.byteLength(JSON.stringify(schema));
  if (bytes > limits.schemaBytesMax) {
    faults.add(AT, `The schema is ${bytes} bytes of JSON; at most ${limits.schemaBytesMax} are allowed.`);
    return false;
  }
  let sound = true;
  const fault = (pointer: string, detail: string): void => {
    sound = false;
    faults.add(AT + pointer, detail);
  };
  const valid = metaschema();
  if (!valid(schema)) {
    const told = new Set<string>();
    for (const error of valid.errors ?? []) {
      // Of the branches of an alternative the first says enough.
      if (!told.has(error.instancePath)) fault(error.instancePath, `It ${detailOf(error)}.`);
      told.add(error.instancePath);
    }
  }
  const addPattern = (source: string, pointer: string): void => {
    if (patterns.spent) return;
    try {
      patterns.of(source);
    } catch (error) {
      if (!(error instanceof PatternFault)) throw error;
      fault(pointer, error.message);
    }
  };
  visitSchemas(schema, ({ schema: inner, pointer, depth }) => {
    if (depth > limits.schemaNestingMax) {
      fault(pointer, `Schemas nest deeper than ${limits.schemaNestingMax} levels.`);
      return false;
    }
    const dialect = getMember(inner, '$schema');
    if (typeof dialect === 'string' && !DIALECT.test(dialect)) {
      fault(`${pointer}/$schema`, 'Schemas are JSON Schema 2020-12 here; leave $schema away.');
    }
    const pattern = getMember(inner, 'pattern');
    if (typeof pattern === 'string') addPattern(pattern, `${pointer}/pattern`);
    const named = getMember(inner, 'patternProperties');
    if (isObject(named)) {
      for (const source of Object.keys(named)) {
        addPattern(source, `${pointer}/patternProperties/${pointerToken(source)}`);
      }
    }
    return true;
  });
  return sound;
}

/** Characters of schema for which a value is checked once, more or less: a keyword with its value. */
const TEXT_PER_CHECK = 20;

/** The schema as the compiler takes it: what it overlooks is said in other words, and what a use costs is written in. */
function prepared(schema: Json): Json {
  const conditions: JsonObject = {};
  // What a failed `if` has seen would count as evaluated.
  const exactly = JSON.stringify(schema).includes('"unevaluated');
  const result = mapSchemas(schema, (inner, use) => {
    delete inner[COST_KEYWORD];
    // It overlooks a property called __proto__.
    const properties = getMember(inner, 'properties');
    const prototype = isObject(properties) ? getMember(properties, '__proto__') : undefined;
    if (prototype !== undefined) {
      const named = getMember(inner, 'patternProperties');
      const key = '^__proto__$';
      const before = isObject(named) ? getMember(named, key) : undefined;
      setMember(inner, 'patternProperties', {
        ...(isObject(named) ? named : {}),
        [key]: before === undefined ? prototype : { allOf: [before, prototype] },
      });
    }
    if (exactly && Object.hasOwn(inner, 'if')) writeOutIf(inner, conditions);
    // What is looked at once for each value inside is charged for with each.
    if (use === 'loop') chargeFor(inner);
    const rest = getMember(inner, 'unevaluatedProperties');
    if (isObject(rest)) {
      // The name of each member is compared with all that were evaluated.
      chargeFor(rest, JSON.stringify(inner).length / (5 * TEXT_PER_CHECK));
    }
    return inner;
  });
  if (isObject(result)) {
    const definitions = { ...(getMember(result, '$defs') as JsonObject | undefined), ...conditions };
    chargeFor({ ...result, $defs: {} }, 0, result);
    // A reference is charged for by what stands behind it, as often as it is followed.
    for (const name of Object.keys(definitions)) {
      const definition = definitions[name] as Json;
      if (isObject(definition)) chargeFor(definition);
    }
    setMember(result, '$defs', definitions);
  }
  return result;
}

/** Writes what a use of the schema costs into it: about one step a keyword. */
function chargeFor(schema: JsonObject, more = 0, into = schema): void {
  setMember(into, COST_KEYWORD, 1 + Math.ceil(JSON.stringify(schema).length / TEXT_PER_CHECK + more));
}

/** `if A then B else C` as a choice between A with B and C without A. */
function writeOutIf(schema: JsonObject, conditions: JsonObject): void {
  const name = `if${Object.keys(conditions).length}`;
  conditions[name] = schema.if as Json;
  const holds = { $ref: `#/$defs/${name}` };
  const [then = true, otherwise = true] = [getMember(schema, 'then'), getMember(schema, 'else')];
  const choice = { anyOf: [{ allOf: [holds, then] }, { allOf: [{ not: holds }, otherwise] }] };
  for (const keyword of ['if', 'then', 'else']) delete schema[keyword];
  schema.allOf = [...((getMember(schema, 'allOf') ?? []) as Json[]), choice];
}

function instance(options: { allErrors: boolean; optimize: boolean }, meter: Meter, patterns: Patterns): Ajv2020 {
  const regExp = Object.assign((source: string) => patterns.of(source), {
    code: 'a linear-time engine',
  });
  const ajv = new (library())({
    allErrors: options.allErrors,
    strict: false,
    logger: false,
    meta: false,
    validateSchema: false,
    addUsedSchema: false,
    // A reference into a large schema would be written out at each place otherwise.
    inlineRefs: false,
    // An attribute called `constructor` is absent unless it is there.
    ownProperties: true,
    formats: formats(meter),
    code: { regExp, optimize: options.optimize },
  });
  addKeywords(ajv, meter);
  return ajv;
}

let loaded: typeof Ajv2020 | undefined;
function library(): typeof Ajv2020 {
  loaded ??= (createRequire(import.meta.url)('ajv/dist/2020') as { Ajv2020: typeof Ajv2020 }).Ajv2020;
  return loaded;
}

let shared: ValidateFunction | undefined;
/** The standard's own schema of schemas; compiled once, since it takes longer than most schemas. */
function metaschema(): ValidateFunction {
  shared ??= new (library())({ strict: false, logger: false, validateFormats: false, allErrors: true }).getSchema(
    'https://json-schema.org/draft/2020-12/schema',
  ) as ValidateFunction;
  return shared;
}

/** Whether the value has few enough parts to look for every fault. */
function isSmall(attributes: Attributes): boolean {
  let left: number = limits.allViolationsValuesMax;
  const count = (value: Json): boolean => {
    if (--left < 0) return false;
    if (typeof value !== 'object' || value === null) return true;
    return (Array.isArray(value) ? value : Object.values(value)).every(count);
  };
  return count(attributes);
}

function breaches(errors: readonly ErrorObject[]): SchemaBreach[] {
  const told = new Map<string, SchemaBreach>();
  for (const error of errors) {
    if (told.size >= limits.violationsMax) break;
    const breach = { pointer: error.instancePath + memberOf(error), detail: detailOf(error) };
    told.set(`${breach.pointer} ${breach.detail}`, breach);
  }
  return [...told.values()];
}

/** What is absent or too much is told at its own place, where a form has its field. */
function memberOf({ keyword, params }: ErrorObject): string {
  const name =
    keyword === 'required' || keyword === 'dependentRequired'
      ? params.missingProperty
      : (params.additionalProperty ?? params.unevaluatedProperty);
  return typeof name === 'string' ? `/${pointerToken(name)}` : '';
}

function detailOf({ keyword, message, params }: ErrorObject): string {
  switch (keyword) {
    case 'required':
      return 'is required';
    case 'additionalProperties':
    case 'unevaluatedProperties':
      return 'is not a member that the schema knows';
    case 'enum':
      return `must be one of ${JSON.stringify(params.allowedValues).slice(0, 500)}`;
    case 'const':
      return `must be ${JSON.stringify(params.allowedValue).slice(0, 500)}`;
    default:
      return message ?? `breaks ${keyword}`;
  }
}
