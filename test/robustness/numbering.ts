/**
 * A client that numbers its batches and may forget everything at any moment but its name: it resumes its session, goes on from
 * `lastSequence` and the memento, and repeats what wasn't answered, at once, doubled, or not at all. Each batch adds one to a
 * counter of its own and one to a counter of all, so each number that was used up must be in both once.
 */
import { type Answer, type Client, pause } from './client.js';

interface Session {
  readonly session: string;
  readonly epoch: number;
}

export const NUMBERED = 'numbered';

export class NumberingClient {
  /** Batches that weren't answered when they were first sent. */
  unanswered = 0;
  /** Resumptions that found a batch applied which had not been answered. */
  found = 0;
  resumptions = 0;
  /** The highest number that was answered. */
  #answered = 0;
  /** The highest number that was sent. */
  #sent = 0;
  readonly #answers = new Map<number, string>();
  readonly #left: Promise<unknown>[] = [];

  constructor(
    private readonly client: Client,
    private readonly pool: string,
    private readonly name: string,
    private readonly ttlMs: number,
  ) {}

  /** Goes on until it is over, and answers the last number that was used up. */
  async run(isOver: () => boolean): Promise<number> {
    while (!isOver()) {
      const session = await this.#resume();
      for (let next = this.#answered + 1; !isOver(); next++) if (!(await this.#deliver(session, next))) break;
    }
    await this.#resume();
    await Promise.all(this.#left);
    return this.#answered;
  }

  /** Asks until it is answered: then all that was sent before has come through, or never will. */
  async #resume(): Promise<Session> {
    for (const deadline = Date.now() + 30_000; Date.now() < deadline; ) {
      const answer = await this.#call(`PUT /v1/pools/${this.pool}/sessions/${this.name}`, { ttlMs: this.ttlMs });
      if (!answer) continue;
      if (answer.status >= 300) throw new Error(`${this.name} was not resumed: ${JSON.stringify(answer.body)}`);
      await this.#checkResumed(answer.body);
      return { session: answer.body.session, epoch: answer.body.epoch };
    }
    throw new Error(`${this.name} was not answered for 30 s`);
  }

  async #checkResumed({ lastSequence, memento }: { lastSequence: number; memento?: object }): Promise<void> {
    const told = `${this.name} was resumed with ${lastSequence} and ${JSON.stringify(memento)}`;
    if (lastSequence < this.#answered || lastSequence > this.#sent)
      throw new Error(`${told}, and ${this.#answered} was answered, ${this.#sent} sent`);
    const note = lastSequence === 0 ? undefined : JSON.stringify({ done: lastSequence });
    if (JSON.stringify(memento) !== note) throw new Error(told);
    const read = await this.#call(`GET /v1/pools/${this.pool}/collections/${NUMBERED}/items/${this.name}`);
    const count = read?.status === 404 ? 0 : read?.body.attributes.n;
    if (read && count !== lastSequence) throw new Error(`${told}, and its counter is ${count}`);
    if (lastSequence > this.#answered) this.found++;
    this.resumptions++;
    this.#answered = lastSequence;
    this.#sent = lastSequence;
  }

  /** False: the client has lost its session, or its wits, and is to begin anew. */
  async #deliver(session: Session, sequence: number): Promise<boolean> {
    this.#sent = sequence;
    const send = () => this.#send(session, sequence);
    const chance = Math.random();
    if (chance < 0.05) {
      // It is gone before the answer; the request goes its way.
      this.#left.push(send());
      return false;
    }
    const answers = await Promise.all(chance < 0.2 ? [send(), send(), send()] : [send()]);
    let isTaken = answers.some((answer) => answer === 'taken');
    if (!isTaken && !answers.includes('fenced')) this.unanswered++;
    while (!isTaken && !answers.includes('fenced') && Math.random() < 0.8) {
      const again = await send();
      if (again === 'fenced') return false;
      isTaken = again === 'taken';
    }
    if (isTaken) this.#answered = sequence;
    return isTaken && chance < 0.97;
  }

  async #send(session: Session, sequence: number): Promise<'taken' | 'fenced' | undefined> {
    const add = (key: string) => ({ op: 'increment', collection: NUMBERED, key, attribute: 'n', by: 1 });
    const ops = [add(this.name), add('all'), { op: 'memento', value: { done: sequence } }];
    const answer = await this.#call(`POST /v1/pools/${this.pool}/batch`, { session: { ...session, sequence }, ops });
    if (!answer) return undefined;
    if (answer.body.code === 'sessionFenced') return 'fenced';
    const [own] = answer.body.results ?? [];
    if (answer.status !== 200 || own.value !== sequence)
      throw new Error(`${this.name} ${sequence}: ${answer.status} ${JSON.stringify(answer.body)}`);
    const told = JSON.stringify(answer.body);
    if ((this.#answers.get(sequence) ?? told) !== told)
      throw new Error(`${this.name} ${sequence} was answered ${this.#answers.get(sequence)}, then ${told}`);
    this.#answers.set(sequence, told);
    return 'taken';
  }

  /** Undefined: it wasn't answered, or by an answer that leaves open what came of it. */
  async #call(line: string, body?: object): Promise<Answer | undefined> {
    const answer = await this.client.call(line, body).catch(() => undefined);
    if (answer && answer.status < 500) return answer;
    await pause(20);
    return undefined;
  }
}
