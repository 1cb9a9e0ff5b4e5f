/**
 * A lens is what a subject sees of a collection's items: which of them, and which of their attributes. It is made of layers,
 * each of which must show what is seen: what policy allows, then what each link of a token leaves. An item is seen where a rule
 * of each layer allows it and none denies it whole; an attribute where such a rule allows it and none denies it. What is hidden
 * is absent: an item through a lens is an item like any other, so that filters, orders, sums and differences taken of it tell
 * nothing of what the lens hides. Pure.
 */
import type { Item } from '../dictionary/showing.js';
import type { Filter, FilterNode } from '../query/filter.js';
import type { Readable } from '../query/path.js';
import { type Json, type JsonObject, setMember } from '../state/json.js';
import { ItemState, type Memo } from '../state/model.js';
import { type BoundRule, narrowingOf } from './bound-rule.js';

/** The rules of one layer that are about the items. */
export interface LensLayer {
  /** What a token leaves: it is asked about items as policy shows them, so that who makes one can't ask about what is hidden. */
  readonly isOfToken: boolean;
  readonly allows: readonly BoundRule[];
  readonly denies: readonly BoundRule[];
}

/** Which attributes one layer shows of an item. */
type Mask = (name: string) => boolean;

const ALL: Mask = () => true;

/** What a lens sees of a state. Remembered in the state: items are mostly looked at through the same lens several times in a row. */
interface Look extends Memo {
  readonly by: Lens;
  /** Undefined where the item isn't seen. */
  readonly seen: ItemState | undefined;
  /** Of the item's attributes, whether it has them or not. */
  readonly shows: Mask;
}

const NONE: Mask = () => false;

export class Lens {
  /** Equal for lenses that show the same. */
  readonly id: string;
  /** Nothing is shown of any item, or everything of all. */
  readonly kind: 'nothing' | 'part' | 'everything';
  /** All items that are seen meet it, as they are stored; undefined where no filter can say so. */
  readonly narrowing: FilterNode | undefined;
  readonly #layers: readonly LensLayer[];
  readonly #policy: readonly LensLayer[];
  readonly #tokens: readonly LensLayer[];

  constructor(layers: readonly LensLayer[]) {
    this.#layers = layers.filter((layer) => !isOpen(layer));
    this.id = JSON.stringify(
      this.#layers.map(({ allows, denies, isOfToken }) => [textsOf(allows), textsOf(denies), isOfToken]),
    );
    this.#policy = this.#layers.filter(({ isOfToken }) => !isOfToken);
    this.#tokens = this.#layers.filter(({ isOfToken }) => isOfToken);
    this.kind = this.#layers.some(isClosed) ? 'nothing' : this.#layers.length === 0 ? 'everything' : 'part';
    this.narrowing = this.#narrowing();
  }

  /** The item as it is seen; undefined where it isn't. */
  see(key: string, state: ItemState): ItemState | undefined {
    if (this.kind !== 'part') return this.kind === 'everything' ? state : undefined;
    return this.#lookAt(key, state).seen;
  }

  /** The same for who shows the item to others, with what is computed of it. */
  item(key: string, stored: ItemState): Item | undefined {
    const state = this.see(key, stored);
    if (!state || this.kind === 'everything') return state && { key, state };
    return { key, state, shows: (name) => this.shows(key, stored, name) };
  }

  /** Whether the attribute is shown of the item, whether it has it or not. */
  shows(key: string, state: ItemState, name: string): boolean {
    if (this.kind !== 'part') return this.kind === 'everything';
    return this.#lookAt(key, state).shows(name);
  }

  /** Whether the attribute is shown of every item that is seen. */
  isSteady(name: string): boolean {
    return this.#layers.every(
      ({ allows, denies }) =>
        allows.every(({ attributes }) => !attributes || attributes.has(name)) &&
        denies.every(({ attributes }) => !attributes?.has(name)),
    );
  }

  #lookAt(key: string, state: ItemState): Look {
    const { memo } = state;
    if (memo?.by === this) return memo as Look;
    const shows = this.#maskOf(key, state);
    const look: Look = { by: this, seen: shows && masked(state, shows), shows: shows ?? NONE };
    state.memo = look;
    return look;
  }

  /** What all layers together show of the item; undefined where it isn't seen. */
  #maskOf(key: string, { revision, attributes }: ItemState): Mask | undefined {
    const item: Readable = { key, revision, attributes };
    const policy = maskOfLayers(this.#policy, item);
    if (!policy || this.#tokens.length === 0) return policy;
    const tokens = maskOfLayers(this.#tokens, { ...item, attributes: shownOf(attributes, policy) });
    return tokens && both(policy, tokens);
  }

  #narrowing(): FilterNode | undefined {
    const policy = narrowingOfLayers(this.#policy);
    const asked = this.#tokens.length > 0 ? narrowingOfLayers(this.#tokens) : undefined;
    const tokens = asked && loosened(asked, new Lens(this.#policy));
    return policy && tokens ? { kind: 'all', parts: [policy, tokens] } : (policy ?? tokens);
  }
}

function both(a: Mask, b: Mask): Mask {
  if (a === ALL) return b;
  return b === ALL ? a : (name) => a(name) && b(name);
}

/** The state with what the mask shows of it; the same where that is all. */
function masked(state: ItemState, shows: Mask): ItemState {
  const { attributes, revision, createdRevision } = state;
  const shown = shownOf(attributes, shows);
  return shown === attributes ? state : new ItemState(undefined, revision, createdRevision, shown);
}

/** What the mask shows of the attributes; the same where that is all. */
function shownOf(attributes: JsonObject, shows: Mask): JsonObject {
  if (shows === ALL) return attributes;
  const shown: JsonObject = {};
  let isWhole = true;
  for (const name of Object.keys(attributes)) {
    if (shows(name)) setMember(shown, name, attributes[name] as Json);
    else isWhole = false;
  }
  return isWhole ? attributes : shown;
}

/** A subject that nothing binds sees through this one. */
export const clear = new Lens([]);

function isOpen({ allows, denies }: LensLayer): boolean {
  return denies.length === 0 && allows.some(isWhole);
}

function isClosed({ allows, denies }: LensLayer): boolean {
  return allows.length === 0 || denies.some(isWhole);
}

/** Whether the rule is about all items and attributes. */
function isWhole({ matchesKey, attributes, where }: BoundRule): boolean {
  return !matchesKey && !attributes && !where;
}

function textsOf(rules: readonly BoundRule[]): string[] {
  return [...new Set(rules.map(({ text }) => text))].sort();
}

/** Whether the rule is about the item as it is. */
export function isOf({ matchesKey, where }: BoundRule, item: Readable): boolean {
  return (matchesKey?.(item.key) ?? true) && (where?.matches(item) ?? true);
}

/** What all layers show of the item; undefined where one doesn't show the item. */
function maskOfLayers(layers: readonly LensLayer[], item: Readable): Mask | undefined {
  let all = ALL;
  for (const layer of layers) {
    const mask = maskOf(layer, item);
    if (!mask) return undefined;
    all = both(all, mask);
  }
  return all;
}

function maskOf({ allows, denies }: LensLayer, item: Readable): Mask | undefined {
  const shown = attributesOf(allows, item);
  if (!shown) return undefined;
  const hidden = attributesOf(denies, item);
  if (hidden === 'all') return undefined;
  if (shown === 'all') return hidden ? (name) => !hidden.has(name) : ALL;
  return hidden ? (name) => shown.has(name) && !hidden.has(name) : (name) => shown.has(name);
}

/** The attributes that the rules which are about the item are about, together; undefined where none is. */
function attributesOf(rules: readonly BoundRule[], item: Readable): ReadonlySet<string> | 'all' | undefined {
  let names: ReadonlySet<string> | undefined;
  for (const rule of rules) {
    if (!isOf(rule, item)) continue;
    if (!rule.attributes) return 'all';
    names = names ? new Set([...names, ...rule.attributes]) : rule.attributes;
  }
  return names;
}

/** A branch for each rule that allows, of each layer. */
function narrowingOfLayers(layers: readonly LensLayer[]): FilterNode | undefined {
  const parts: FilterNode[] = [];
  for (const { allows } of layers) {
    const branches = allows.map(narrowingOf);
    if (branches.includes(undefined)) continue;
    const [first] = branches;
    parts.push(branches.length === 1 ? (first as FilterNode) : { kind: 'any', parts: branches as FilterNode[] });
  }
  return parts.length > 1 ? { kind: 'all', parts } : parts[0];
}

/**
 * A filter of which all items that a filter finds through the lens are found as they are stored, to look for them with. What can't
 * be said of stored items is left out: an attribute that is hidden of some items is absent there to who asks.
 */
export function searchFilter(lens: Lens, filter: Filter | undefined): Filter | undefined {
  if (lens.kind === 'everything') return filter;
  const asked = filter && loosened(filter.root, lens);
  const parts = [lens.narrowing, asked].filter((part) => part !== undefined);
  const [first] = parts;
  if (!first) return undefined;
  return { root: parts.length > 1 ? { kind: 'all', parts } : first, text: filter?.text ?? '' };
}

function loosened(node: FilterNode, lens: Lens): FilterNode | undefined {
  switch (node.kind) {
    case 'test': {
      const { path, operator, operand } = node;
      const isKept =
        path.of !== 'attribute' || lens.isSteady(path.tokens[0] as string) || operator !== 'exists' || operand === true;
      return isKept ? node : undefined;
    }
    case 'all': {
      const parts = node.parts.map((part) => loosened(part, lens)).filter((part) => part !== undefined);
      return parts.length === 0 ? undefined : { kind: 'all', parts };
    }
    case 'any': {
      const parts = node.parts.map((part) => loosened(part, lens));
      return parts.includes(undefined) ? undefined : { kind: 'any', parts: parts as FilterNode[] };
    }
    case 'not':
      return isSteady(node.part, lens) ? node : undefined;
  }
}

function isSteady(node: FilterNode, lens: Lens): boolean {
  switch (node.kind) {
    case 'test':
      return node.path.of !== 'attribute' || lens.isSteady(node.path.tokens[0] as string);
    case 'not':
      return isSteady(node.part, lens);
    default:
      return node.parts.every((part) => isSteady(part, lens));
  }
}
