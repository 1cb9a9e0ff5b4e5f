/**
 * What one subject may do in one pool under one state of its policy: the rules that are for it, in layers, of which every one
 * must allow what is done. Reads go through lenses; writes, locks and what is said of collections are decided here, with the rule
 * that decided. Pure.
 */
import type { Readable } from '../query/path.js';
import { compareKeys, isInRange, type KeyRange, prefixEnd } from '../state/key-order.js';
import { type ItemRef, ItemState } from '../state/model.js';
import { type BoundRule, isAbout, namesCollection, type RuleSource } from './bound-rule.js';
import type { Action } from './grant.js';
import { clear, isOf, Lens } from './lens.js';

/** A rule and where it stands. */
export interface PlacedRule {
  readonly rule: BoundRule;
  readonly source: RuleSource;
}

/** Rules in the order in which they stand. */
export type Layer = readonly PlacedRule[];

/** Who decided: a rule; or none, where nothing allows it. */
export interface Decision {
  readonly allow: boolean;
  readonly by: RuleSource | undefined;
  readonly because: string;
}

/** What a write makes of an item: without `before` it is new, without `after` it is gone. */
export interface ItemWrite extends ItemRef {
  readonly before: ItemState | undefined;
  readonly after: ItemState | undefined;
  /** The attributes that are set or removed, as far as the writer asked for it. */
  readonly names: readonly string[];
}

/** A part of a pool that is to be locked. */
export interface LockedPart {
  readonly collection?: string | undefined;
  readonly range: KeyRange;
  readonly attributes?: readonly string[] | undefined;
  /** The item, where the part is one that is there. */
  readonly item?: { readonly key: string; readonly state: ItemState } | undefined;
}

/** The rules of one layer that are about an action on a collection. */
interface LayerPart {
  readonly rules: readonly PlacedRule[];
  readonly isOfToken: boolean;
}

const UNBOUND: Decision = { allow: true, by: undefined, because: 'No policy binds the subject.' };

export class Entitlement {
  readonly #lenses = new Map<string, Lens>();
  /** Of each action on a collection the rules that are about it, layer by layer. */
  readonly #rules = new Map<string, readonly LayerPart[]>();
  readonly #ids: { read?: string; watch?: string } = {};
  readonly #joined = new WeakMap<Entitlement, Entitlement>();
  readonly #hasTokens: boolean;
  #policy: Entitlement | undefined;

  constructor(private readonly layers: readonly Layer[]) {
    this.#hasTokens = layers.some(isOfToken);
  }

  /** Nothing is refused. */
  get isUnbound(): boolean {
    return this.layers.length === 0;
  }

  /** What both allow. */
  and(other: Entitlement): Entitlement {
    if (other === this || other.isUnbound) return this;
    let both = this.#joined.get(other);
    if (!both) {
      both = new Entitlement([...this.layers, ...other.layers]);
      this.#joined.set(other, both);
    }
    return both;
  }

  /** Whether no rule allows anything. */
  get isEmpty(): boolean {
    return this.layers.some((layer) => layer.every(({ rule }) => rule.denies));
  }

  /** The rules that bind the subject, layer by layer. */
  get rules(): readonly Layer[] {
    return this.layers;
  }

  /** What the subject sees of a collection when it reads or watches. */
  lens(action: 'read' | 'watch', collection: string): Lens {
    if (this.isUnbound) return clear;
    const id = `${action}/${collection}`;
    let lens = this.#lenses.get(id);
    if (!lens) {
      lens = new Lens(
        this.#about(action, collection).map(({ rules: placed, isOfToken }) => {
          const rules = placed.map(({ rule }) => rule);
          const [allows, denies] = [rules.filter((rule) => !rule.denies), rules.filter((rule) => rule.denies)];
          return { allows, denies, isOfToken };
        }),
      );
      keep(this.#lenses, id, lens);
    }
    return lens;
  }

  #about(action: Action, collection: string): readonly LayerPart[] {
    const id = `${action}/${collection}`;
    let rules = this.#rules.get(id);
    if (!rules) {
      rules = this.layers.map((layer) => ({
        rules: layer.filter(({ rule }) => isAbout(rule, action, collection)),
        isOfToken: isOfToken(layer),
      }));
      keep(this.#rules, id, rules);
    }
    return rules;
  }

  /** Equal for those who see the same of all collections. */
  idOf(action: 'read' | 'watch'): string {
    this.#ids[action] ??= JSON.stringify(
      this.layers.map((layer) =>
        layer
          .filter(({ rule }) => rule.grant.actions.includes(action))
          .map(({ rule }) => [rule.text, [...rule.grant.collections].sort()]),
      ),
    );
    return this.#ids[action];
  }

  /** Whether some item of the collection could be allowed: what it asks doesn't depend on the items that there are. */
  mayEver(action: Action, collection: string): boolean {
    return this.#about(action, collection).every(({ rules }) => rules.some(({ rule }) => !rule.denies));
  }

  /** The same for whatever collection. */
  mayAnywhere(action: Action): boolean {
    return this.layers.every((layer) => layer.some(({ rule }) => !rule.denies && rule.grant.actions.includes(action)));
  }

  /** Whether the subject may do that to some item of the collection, whatever it is. */
  decideEver(action: Action, collection: string, names: readonly string[], key?: string): Decision {
    return decide(this.#about(action, collection), (part) => {
      const rules = part.rules.filter(({ rule }) => key === undefined || (rule.matchesKey?.(key) ?? true));
      const denying = rules.find(
        ({ rule: { denies, attributes, where, matchesKey, check } }) =>
          denies &&
          !where &&
          !check &&
          (key !== undefined || !matchesKey) &&
          (!attributes || names.some((name) => attributes.has(name))),
      );
      if (denying) return denied(denying);
      const allowing = rules.filter(({ rule }) => !rule.denies);
      const [first] = allowing;
      if (!first) return refused(`no rule lets the subject ${action} it`);
      const missing = names.find((name) => !allowing.some(({ rule }) => coversAttributes(rule, [name])));
      if (missing !== undefined)
        return refused(`no rule lets the subject ${action} the attribute ${JSON.stringify(missing)}`);
      return allowed(allowing.find(({ rule }) => coversAttributes(rule, names)) ?? first);
    });
  }

  /** Whether the subject may do that to the item. */
  decideWrite(write: ItemWrite): Decision {
    const action: Action = write.before === undefined ? 'create' : write.after === undefined ? 'delete' : 'write';
    const { collection, key, before, after } = write;
    const seen: ItemWrite = this.#hasTokens
      ? { ...write, before: this.#asShown(collection, key, before), after: this.#asShown(collection, key, after) }
      : write;
    return decide(this.#about(action, collection), ({ rules, isOfToken }) =>
      decideInLayer(rules, isOfToken ? seen : write),
    );
  }

  /** The item as policy shows it to the subject: what a token is asked about. */
  #asShown(collection: string, key: string, state: ItemState | undefined): ItemState | undefined {
    if (!state || !this.#hasTokens) return state;
    this.#policy ??= new Entitlement(this.layers.filter((layer) => !isOfToken(layer)));
    const seen = this.#policy.lens('read', collection).see(key, state);
    return seen ?? new ItemState('{}', state.revision, state.createdRevision);
  }

  /** Whether what is said of the collection, or without a name of the pool, is the subject's to change. */
  decideAdmin(collection?: string): Decision {
    return decide(this.layers, (layer) => {
      const rules = layer.filter(
        ({ rule: { grant, denies } }) =>
          grant.actions.includes('admin') &&
          // What is said of a collection isn't for who may do something with some of its items.
          (denies || !(grant.keys || grant.attributes || grant.where)) &&
          grant.collections.some((name) =>
            collection === undefined ? name === '*' : namesCollection(name, collection),
          ),
      );
      return verdict(rules, 'nothing lets the subject administer this');
    });
  }

  /** Whether the subject may lock all of the part: a rule must cover it whole, and none deny some of it. */
  decideLock(asked: LockedPart): Decision {
    const { collection, item } = asked;
    const shown = collection !== undefined && item && this.#asShown(collection, item.key, item.state);
    return decide(this.layers, (layer) => {
      const part = isOfToken(layer) && item && shown ? { ...asked, item: { key: item.key, state: shown } } : asked;
      const rules = layer.filter(({ rule }) => rule.grant.actions.includes('lock'));
      const denying = rules.find(({ rule }) => rule.denies && mayTouch(rule, part));
      if (denying) return denied(denying);
      const allowing = rules.filter(({ rule }) => !rule.denies && coversKeys(rule, part));
      const covering = allowing.find(({ rule }) => coversAttributes(rule, part.attributes));
      if (covering) return allowed(covering);
      const names = part.attributes;
      const isCoveredTogether = names?.every((name) => allowing.some(({ rule }) => rule.attributes?.has(name)));
      return isCoveredTogether && allowing[0]
        ? allowed(allowing[0])
        : refused('no rule lets the subject lock all of it');
    });
  }

  /** Whether the subject may read the attributes of the item, or without names the item. */
  decideRead(
    action: 'read' | 'watch',
    { collection, key }: ItemRef,
    state: ItemState | undefined,
    names: readonly string[],
  ): Decision {
    return decide(this.#about(action, collection), ({ rules, isOfToken }) => {
      // Of an item that isn't there, what could be allowed of one.
      const shown = isOfToken ? this.#asShown(collection, key, state) : state;
      const item = shown && readable(key, shown);
      const fits = ({ rule }: PlacedRule) => (item ? isOf(rule, item) : (rule.matchesKey?.(key) ?? true));
      const denying = rules.find(
        (placed) =>
          placed.rule.denies &&
          fits(placed) &&
          (!placed.rule.attributes || names.some((name) => placed.rule.attributes?.has(name))),
      );
      if (denying && (item || !denying.rule.where)) return denied(denying);
      const allowing = rules.filter((placed) => !placed.rule.denies && fits(placed));
      const [first] = allowing;
      if (!first) return refused(`no rule lets the subject ${action} it`);
      const missing = names.find((name) => !allowing.some(({ rule }) => coversAttributes(rule, [name])));
      return missing === undefined
        ? allowed(allowing.find(({ rule }) => coversAttributes(rule, names)) ?? first)
        : refused(`no rule lets the subject ${action} the attribute ${JSON.stringify(missing)}`);
    });
  }
}

/** Every layer must allow it. Who decided is of the first that refuses, or else of the policy. */
function decide<T>(layers: readonly T[], decideIn: (layer: T) => Decision): Decision {
  let last = UNBOUND;
  for (const [i, layer] of layers.entries()) {
    const decision = decideIn(layer);
    if (!decision.allow) return decision;
    if (i === 0) last = decision;
  }
  return last;
}

/** Remembers something of a collection. */
function keep<T>(all: Map<string, T>, id: string, value: T): void {
  all.set(id, value);
  if (all.size > KEPT) all.delete(all.keys().next().value as string);
}

/** What nobody is bound by. */
export const unboundEntitlement = new Entitlement([]);

/** A pool has many collections, and a subject looks at few of them. */
const KEPT = 200;

/** Rules of policies say where they stand; what a token leaves stands nowhere. */
function isOfToken([first]: Layer): boolean {
  return first !== undefined && first.source.policy === undefined;
}

/**
 * A rule is about a write where the item is as its `where` says before it, and as its `check` says after. Of a rule that allows
 * and has no `check` the item must be as `where` says after it too, so that nobody gives away what they could then not write.
 */
function decideInLayer(rules: readonly PlacedRule[], { key, before, after, names }: ItemWrite): Decision {
  const was = before && readable(key, before);
  const is = after && readable(key, after);
  const fits = ({ rule }: PlacedRule) => {
    const { matchesKey, where, check, denies } = rule;
    if (!(matchesKey?.(key) ?? true)) return false;
    const seen = was ?? is;
    // What is new has no before: of what allows it, `check` alone says what it must be.
    const isExempt = !was && !denies && check !== undefined;
    if (where && !isExempt && !(seen && where.matches(seen))) return false;
    if (!is) return true;
    return (check ?? (denies ? undefined : where))?.matches(is) ?? true;
  };
  const fitting = rules.filter(fits);
  // A deletion is of the item, whatever it has.
  const touched = after ? names : [];
  const denying = fitting.find(
    ({ rule }) => rule.denies && (!rule.attributes || touched.some((name) => rule.attributes?.has(name))),
  );
  if (denying) return denied(denying);
  const allowing = fitting.filter(({ rule }) => !rule.denies && (after || !rule.attributes));
  const [first] = allowing;
  if (!first) return refused('no rule lets the subject do that');
  const missing = touched.find((name) => !allowing.some(({ rule }) => coversAttributes(rule, [name])));
  if (missing !== undefined)
    return refused(`no rule lets the subject do that to the attribute ${JSON.stringify(missing)}`);
  return allowed(allowing.find(({ rule }) => coversAttributes(rule, touched)) ?? first);
}

function verdict(rules: readonly PlacedRule[], otherwise: string): Decision {
  const denying = rules.find(({ rule }) => rule.denies);
  if (denying) return denied(denying);
  const [allowing] = rules;
  return allowing ? allowed(allowing) : refused(otherwise);
}

function allowed({ source }: PlacedRule): Decision {
  return { allow: true, by: source, because: 'The rule allows it, and none denies it.' };
}

function denied({ source }: PlacedRule): Decision {
  return { allow: false, by: source, because: 'The rule denies it.' };
}

function refused(why: string): Decision {
  return { allow: false, by: undefined, because: `What isn’t allowed is denied: ${why}.` };
}

function coversAttributes({ attributes }: BoundRule, names: readonly string[] | undefined): boolean {
  return !attributes || (names?.every((name) => attributes.has(name)) ?? false);
}

/** Whether the rule is about every item of the part. */
function coversKeys({ grant: { collections, keys }, matchesKey, where }: BoundRule, part: LockedPart): boolean {
  const { collection, range, item } = part;
  if (!collections.some((name) => (collection === undefined ? name === '*' : namesCollection(name, collection))))
    return false;
  if (where && !(item && where.matches(readable(item.key, item.state)))) return false;
  if (!keys || !matchesKey) return true;
  if (item) return matchesKey(item.key);
  const point = pointOf(range);
  if (point !== undefined) return matchesKey(point);
  return 'prefix' in keys && isWithin(range, { start: keys.prefix, end: prefixEnd(keys.prefix) });
}

/** Whether the rule may be about something of the part: what can't be told counts as that. */
function mayTouch(
  { grant: { collections, keys }, matchesKey, attributes, where }: BoundRule,
  part: LockedPart,
): boolean {
  const { collection, range, item } = part;
  if (collection !== undefined && !collections.some((name) => namesCollection(name, collection))) return false;
  if (attributes && part.attributes && !part.attributes.some((name) => attributes.has(name))) return false;
  if (item && where && !where.matches(readable(item.key, item.state))) return false;
  const point = item?.key ?? pointOf(range);
  if (point !== undefined) return matchesKey?.(point) ?? true;
  return !(keys && 'prefix' in keys) || overlaps(range, { start: keys.prefix, end: prefixEnd(keys.prefix) });
}

/** The smallest string above a key is the key and a NUL. */
function pointOf({ start, end }: KeyRange): string | undefined {
  return start !== undefined && end === `${start}\0` ? start : undefined;
}

function isWithin(inner: KeyRange, outer: KeyRange): boolean {
  const startsWithin = compareKeys(inner.start ?? '', outer.start ?? '') >= 0;
  const endsWithin = outer.end === undefined || (inner.end !== undefined && compareKeys(inner.end, outer.end) <= 0);
  return startsWithin && endsWithin;
}

function overlaps(a: KeyRange, b: KeyRange): boolean {
  return isInRange(a.start ?? '', { end: b.end }) && isInRange(b.start ?? '', { end: a.end });
}

function readable(key: string, { revision, attributes }: ItemState): Readable {
  return { key, revision, attributes };
}
