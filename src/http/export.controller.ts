/** Exports over HTTP: the items of a pool at one revision, as lines of JSON. */
import { Controller, Inject } from '@nestjs/common';
import type { z } from 'zod';
import { Engine } from '../engine/engine.js';
import { Problem } from '../engine/errors.js';
import { checkName } from '../engine/state/names.js';
import type { ExportPage } from '../engine/transfer/export.js';
import { awaitMinRevision, itemHead, poolHeaders } from './answers.js';
import { ClientGone, NDJSON_TYPE, NdjsonAnswer } from './ndjson.js';
import { type Call, Route } from './route.js';
import * as schema from './transfer.schema.js';

@Controller()
export class ExportController {
  constructor(@Inject(Engine) private readonly engine: Engine) {}

  @Route({
    method: 'GET',
    path: '/v1/pools/:pool/export',
    operationId: 'exportItems',
    tag: 'transfer',
    summary: 'Read all items of a pool at one revision',
    description:
      'A line for each item, `{collection, key, revision, createdRevision, attributes}`, collection by collection, each in the order of its keys. ' +
      'All are of the revision that `Stargus-Revision` names, whatever is written meanwhile; changes after it follow from `Stargus-Cursor`. ' +
      'When that state can no longer be told, the connection is cut: an answer that ends in order is whole.',
    query: schema.exportQuery,
    headers: ['Stargus-Min-Revision'],
    answers: {
      200: {
        description: 'One item a line, in the form of POST …/import.',
        contentType: NDJSON_TYPE,
        headers: ['Content-Disposition'],
      },
    },
  })
  async run(call: Call<z.output<typeof schema.exportQuery>>): Promise<void> {
    const { request, reply, query } = call;
    const pool = checkName('pool', call.params.pool as string);
    if (query.collection !== undefined) checkName('collection', query.collection);
    await awaitMinRevision(call, this.engine.reader, pool);
    const { replica, revision, pages } = await this.engine.export.open(pool, {
      ...query,
      subject: call.subject,
      system: query.system ?? false,
    });
    const headers = {
      ...poolHeaders(replica.epoch, revision),
      'content-disposition': `attachment; filename="${pool}-${revision}.ndjson"`,
    };
    if (request.method === 'HEAD') {
      reply.headers(headers).header('content-type', NDJSON_TYPE).header('cache-control', 'no-store').send();
      return;
    }
    // What can be refused is refused before the head is sent.
    const first = await pages.next();
    const answer = new NdjsonAnswer(reply, headers);
    try {
      for (let page = first; !page.done; page = await pages.next()) {
        answer.write(linesOf(page.value));
        await answer.taken();
      }
      answer.end();
    } catch (error) {
      answer.cut();
      // Who asked sees the cut; what the server couldn't help is no fault of its own.
      if (!(error instanceof ClientGone || error instanceof Problem)) throw error;
    } finally {
      await pages.return(undefined);
    }
  }
}

function linesOf({ collection, items }: ExportPage): string {
  return items.map(({ key, state }) => `${itemHead({ collection, key }, state)}}\n`).join('');
}
