/**
 * What the leak test knows: the true history of a pool, which it reads from the log with the operator's eyes, the policy at each
 * revision, and what each subject may see by it. Values of `secret` and `long` are words that occur once: whoever is sent one must have
 * been allowed to see it at some time, by whatever way it came.
 */
import type { Answer, Attributes, Client, Item, Json, LoggedCommit } from './client.js';
import { type PolicyItem, type PolicyRule, rulesFor, shows, visible } from './entitled.js';
import { matches } from './filtering.js';

export type State = ReadonlyMap<string, Item>;

const WORD = /word-\d+-\d+/g;

export class World {
  /** By revision, from 0 on. */
  readonly #states: State[] = [new Map()];
  readonly #rules = new Map<string, PolicyRule[]>();
  #cursor = 'start';
  #words = 0;
  /** Words that a subject may know, by subject. */
  readonly #known = new Map<string, Set<string>>();

  constructor(
    private readonly operator: Client,
    readonly pool: string,
    private readonly headers: Record<string, string>,
    private readonly subjects: readonly string[],
  ) {
    for (const subject of subjects) this.#known.set(subject, new Set());
  }

  get revision(): number {
    return this.#states.length - 1;
  }

  /** A value that has never been. */
  word(seed: number): string {
    return `word-${seed}-${this.#words++}`;
  }

  /** The subject wrote it, and so knows it. */
  told(subject: string, sent: unknown): void {
    for (const [word] of JSON.stringify(sent ?? null).matchAll(WORD)) this.#known.get(subject)?.add(word);
  }

  /** Reads what was committed since. */
  async learn(): Promise<void> {
    const own = await this.#commits('');
    const policies = await this.#commits('&collection=_policies');
    const byRevision = new Map<number, LoggedCommit['changes']>();
    for (const { revision, changes } of [...own.commits, ...policies.commits])
      byRevision.set(revision, [...(byRevision.get(revision) ?? []), ...changes]);
    const reached = Number(own.cursor.split('-')[1]);
    this.#cursor = own.cursor;
    for (let revision = this.revision + 1; revision <= reached; revision++) {
      const state = new Map(this.#states[revision - 1]);
      for (const { op, collection, key, attributes } of byRevision.get(revision) ?? []) {
        const id = `${collection}/${key}`;
        const createdRevision = state.get(id)?.createdRevision ?? revision;
        if (op === 'delete') state.delete(id);
        else state.set(id, { collection, key, revision, createdRevision, attributes });
      }
      this.#states.push(state);
      for (const subject of this.subjects) this.#learnWords(subject, revision);
    }
  }

  #commits(query: string) {
    return this.operator
      .ok(
        `GET /v1/pools/${this.pool}/changes?since=${this.#cursor}&limit=1000&values=full${query}`,
        undefined,
        this.headers,
      )
      .then(({ body }) => body as { commits: LoggedCommit[]; cursor: string });
  }

  #learnWords(subject: string, revision: number): void {
    for (const action of ['read', 'watch'])
      for (const item of this.seen(subject, action, revision).values()) this.told(subject, item.attributes);
  }

  state(revision: number): State {
    const state = this.#states[revision];
    if (!state) throw new Error(`revision ${revision} is not known, but ${this.revision}`);
    return state;
  }

  /** The last revision up to this one that changed a policy. */
  policySince(revision: number): number {
    const of = (at: number) =>
      JSON.stringify(
        [...this.state(at).values()]
          .filter(({ collection }) => collection === '_policies')
          .map(({ key, revision: last }) => [key, last]),
      );
    let since = revision;
    while (since > 0 && of(since - 1) === of(revision)) since--;
    return since;
  }

  rules(subject: string, revision: number): PolicyRule[] {
    const policies = [...this.state(revision).values()].filter(({ collection }) => collection === '_policies');
    const id = `${subject} ${JSON.stringify(policies.map(({ key, revision: at }) => [key, at]))}`;
    let rules = this.#rules.get(id);
    if (!rules) {
      rules = rulesFor(
        policies.map(({ attributes }) => attributes as unknown as PolicyItem),
        subject,
      );
      this.#rules.set(id, rules);
    }
    return rules;
  }

  /** Items of the application that the subject sees, by `collection/key`. */
  seen(subject: string, action: string, revision: number): Map<string, Item> {
    const rules = this.rules(subject, revision);
    const seen = new Map<string, Item>();
    for (const [id, item] of this.state(revision)) {
      const told = item.collection.startsWith('_') ? undefined : visible(item, action, rules);
      if (told) seen.set(id, told);
    }
    return seen;
  }

  /** Whether some rule lets the subject do that to something of the collection. */
  mayEver(subject: string, action: string, collection: string, revision: number): boolean {
    const rules = this.rules(subject, revision).filter(
      (rule) => rule.actions.includes(action) && isFor(rule, collection),
    );
    // Who is denied everything there is told so.
    const isClosed = rules.some(
      ({ effect, keys, attributes, where }) => effect === 'deny' && !keys && !attributes && !where,
    );
    const reads = action === 'read' || action === 'watch';
    return rules.some(({ effect }) => effect === 'allow') && !(reads && isClosed);
  }

  /** Whether the subject may make of an item what it would be. */
  mayWrite(
    subject: string,
    revision: number,
    before: Item | undefined,
    after: Item | undefined,
    names: readonly string[],
  ): boolean {
    const action = before ? (after ? 'write' : 'delete') : 'create';
    const item = (before ?? after) as Item;
    const fitting = this.rules(subject, revision).filter(
      (rule) =>
        rule.actions.includes(action) &&
        isFor(rule, item.collection) &&
        item.key.startsWith(rule.keys?.prefix ?? '') &&
        (!rule.where || matches(rule.where, item)) &&
        (!rule.where || rule.effect === 'deny' || !after || matches(rule.where, after)),
    );
    const touched = after ? names : [];
    const denies = fitting.filter(({ effect }) => effect === 'deny');
    if (denies.some(({ attributes }) => !attributes || touched.some((name) => attributes.includes(name)))) return false;
    const allows = fitting.filter(({ effect, attributes }) => effect === 'allow' && (after || !attributes));
    return (
      allows.length > 0 &&
      touched.every((name) => allows.some(({ attributes }) => !attributes || attributes.includes(name)))
    );
  }

  shows(subject: string, action: string, revision: number, item: Item, name: string): boolean {
    return shows(item, name, action, this.rules(subject, revision));
  }

  /** Nothing of what was sent may be a word that the subject was never allowed to see. */
  checkWords(subject: string, what: string, sent: string): void {
    for (const [word] of sent.matchAll(WORD))
      if (!this.#known.get(subject)?.has(word))
        throw new Error(`${subject} is sent ${word} by ${what}: ${sent.slice(0, 500)}`);
  }

  checkAnswer(subject: string, line: string, { headers, body }: Answer): void {
    this.checkWords(subject, line, JSON.stringify([headers, body]));
  }
}

function isFor({ collections }: PolicyRule, collection: string): boolean {
  return collections.some((name) => name === collection || (name === '*' && !collection.startsWith('_')));
}

/** Equal for equal items, whatever the order of their attributes. */
export function textOf(items: Iterable<Pick<Item, 'collection' | 'key' | 'attributes'>>): string {
  return JSON.stringify(
    Array.from(items, ({ collection, key, attributes }) => [`${collection}/${key}`, sorted(attributes)]),
  );
}

function sorted(attributes: Attributes): [string, Json][] {
  return Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : 1));
}
