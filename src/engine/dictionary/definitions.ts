/** The compiled definitions of this node's collections, kept by the text of their entries: compiling is dear, using is cheap. */
import { Problem } from '../errors.js';
import { entryRef } from '../state/collections.js';
import type { ItemRef, ItemState } from '../state/model.js';
import { compileDefinition, type Definition, emptyDefinition } from './definition.js';

/** What knows items without asking: a replica. */
interface Remembering {
  remembered(ref: ItemRef): { readonly state: ItemState | undefined } | undefined;
}

/** Definitions that are kept; the oldest goes first. */
const KEPT = 500;
const EMPTY = '{}';

export class Definitions {
  readonly #byState = new WeakMap<ItemState, Definition>();
  readonly #byText = new Map<string, Definition>();

  /** The definition that an item of `_dictionary` is. Throws `invalid` where the entry is faulty. */
  of(entry: ItemState | undefined): Definition {
    if (!entry) return emptyDefinition;
    let definition = this.#byState.get(entry);
    if (!definition) {
      definition = this.#compiled(entry);
      this.#byState.set(entry, definition);
    }
    return definition;
  }

  /** The same, for those who only read: an entry that was sound once and isn't any more, after a new version, says nothing. */
  lenient(entry: ItemState | undefined): Definition {
    try {
      return this.of(entry);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      return emptyDefinition;
    }
  }

  /** What the replica remembers of a collection's definition, for those who only read; undefined where it doesn't. */
  known(replica: Remembering, collection: string): Definition | undefined {
    const remembered = replica.remembered(entryRef(collection));
    return remembered && this.lenient(remembered.state);
  }

  #compiled(entry: ItemState): Definition {
    const text = entry.json;
    if (text === EMPTY) return emptyDefinition;
    let definition = this.#byText.get(text);
    if (definition) return definition;
    definition = compileDefinition(entry.attributes);
    this.#byText.set(text, definition);
    const [oldest] = this.#byText.keys();
    if (this.#byText.size > KEPT) this.#byText.delete(oldest as string);
    return definition;
  }
}
