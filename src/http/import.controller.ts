/** Imports over HTTP: lines of items in, lines about what became of them out, both while it runs. */
import { Controller, Inject } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { v7 as uuidv7 } from 'uuid';
import type { z } from 'zod';
import { Engine } from '../engine/engine.js';
import { formatCursor } from '../engine/state/cursor.js';
import { checkOwnName } from '../engine/state/names.js';
import type { ImportEvent } from '../engine/transfer/import.js';
import { poolHeaders } from './answers.js';
import { BodySource } from './body-source.js';
import { ClientGone, NDJSON_TYPE, NdjsonAnswer } from './ndjson.js';
import { problemDocument } from './problem.js';
import { type Call, Route } from './route.js';
import * as schema from './transfer.schema.js';

@Controller()
export class ImportController {
  constructor(@Inject(Engine) private readonly engine: Engine) {}

  @Route({
    method: 'POST',
    path: '/v1/pools/:pool/import',
    operationId: 'importItems',
    tag: 'transfer',
    summary: 'Write many items, line by line',
    description:
      'Each line is an item `{collection, key?, attributes}` that replaces all attributes; each is judged for itself. ' +
      'The answer is written while the import runs and is 200 even where every line is refused: progress `{line, applied, unchanged, refused, revision}`, ' +
      'everything up to `line` being durable; `{line, collection?, key?, problem}` for each refused line, `{line, collection, key, warnings}` for one ' +
      'that was taken against the dictionary in the mode `warn`; and a last line with `done`. ' +
      'After an interruption go on with `skip` = the last `line` that was told. Read the answer while you send.',
    query: schema.importQuery,
    body: { schema: schema.importBody, stream: NDJSON_TYPE },
    answers: { 200: { description: 'What became of the lines, one JSON object a line.', contentType: NDJSON_TYPE } },
  })
  async run(call: Call<z.output<typeof schema.importQuery>>): Promise<void> {
    const { request, reply, subject, query, writer } = call;
    const pool = checkOwnName('pool', call.params.pool as string);
    const opening = await this.engine.import.open(pool, { subject, writer, skip: query.skip ?? 0, newKey: uuidv7 });
    const source = new BodySource(request, reply);
    const answer = new NdjsonAnswer(reply, poolHeaders(opening.epoch, opening.revision));
    try {
      for await (const event of opening.run(source)) {
        // Who reads only in the end loses progress, which the next tells better, but no refusal or warning: those wait to be taken.
        if (event.kind === 'progress' && answer.isBehind) continue;
        answer.write(`${JSON.stringify(toLine(event, opening.epoch, request))}\n`);
        if (event.kind === 'refused' || event.kind === 'warned') await answer.taken();
      }
      answer.end();
    } catch (error) {
      answer.cut();
      if (!(error instanceof ClientGone)) throw error;
    } finally {
      source.drop();
    }
  }
}

function toLine(event: ImportEvent, epoch: string, request: FastifyRequest): object {
  switch (event.kind) {
    case 'progress':
    case 'warned': {
      const { kind, ...told } = event;
      return told;
    }
    case 'refused': {
      const { kind, problem, ...refused } = event;
      return { ...refused, problem: problemDocument(request, problem) };
    }
    case 'done': {
      const { kind, ...counts } = event;
      return { done: true, ...counts, cursor: formatCursor(epoch, counts.revision) };
    }
    case 'failed':
      return { done: false, line: event.line, problem: problemDocument(request, event.problem) };
  }
}
