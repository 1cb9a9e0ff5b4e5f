/** A receiver of webhooks of its own for a test, on this machine: keeps what it is sent, and answers as the test says. */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect } from 'vitest';

export interface Received {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test asserts the shape.
  readonly event: any;
}

/** What is done with an event: a status, or whatever. */
type Answer = number | ((request: IncomingMessage, response: ServerResponse, received: Received) => void);

const closing: (() => void)[] = [];
afterAll(() => {
  for (const close of closing.splice(0)) close();
});

export class Receiver {
  readonly received: Received[] = [];
  /** How the next ones are answered, one after the other; then by `answer`. */
  readonly answers: Answer[] = [];
  answer: Answer = 204;

  private constructor(
    readonly server: Server,
    readonly url: string,
  ) {}

  static async open(): Promise<Receiver> {
    let receiver: Receiver | undefined;
    const server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => receiver?.take(request, response, Buffer.concat(chunks).toString('utf8')));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    closing.push(() => {
      server.close();
      server.closeAllConnections();
    });
    receiver = new Receiver(server, `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook/${randomUUID()}`);
    return receiver;
  }

  private take(request: IncomingMessage, response: ServerResponse, body: string): void {
    // Ports are given out again: what is meant for another that had it before is none of ours.
    if (!this.url.endsWith(request.url ?? '')) return void response.writeHead(404).end();
    const received: Received = {
      headers: request.headers as Record<string, string>,
      body,
      event: JSON.parse(body),
    };
    this.received.push(received);
    const answer = this.answers.shift() ?? this.answer;
    if (typeof answer === 'number') response.writeHead(answer).end();
    else answer(request, response, received);
  }

  /** The ids of what was sent, in order. */
  get ids(): string[] {
    return this.received.map(({ event }) => event.id);
  }

  /** The keys of the changes that were sent, in order, with what became of them. */
  get told(): string[] {
    return this.received.flatMap(({ event }) =>
      (event.data.changes ?? []).map(({ op, key }: { op: string; key: string }) => `${op} ${key}`),
    );
  }

  /** Waits until so many events have come; a few moments more, in which no other may, when `exactly`. */
  async waitFor(count: number, exactly = false): Promise<readonly Received[]> {
    await until(() => this.received.length >= count, `${count} events; ${JSON.stringify(this.ids)}`);
    if (exactly) {
      await sleep(150);
      expect(this.ids).toHaveLength(count);
    }
    return this.received;
  }
}

/** Waits until something holds. */
export async function until(holds: () => boolean | Promise<boolean>, what: string, ms = 20_000): Promise<void> {
  const deadline = Date.now() + ms;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`Waited ${ms} ms in vain for ${what}`);
    await sleep(20);
  }
}
