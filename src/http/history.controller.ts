/** An item's history over HTTP. */
import { Controller, Inject } from '@nestjs/common';
import type { z } from 'zod';
import { Engine } from '../engine/engine.js';
import { limits } from '../engine/limits.js';
import { formatCursor } from '../engine/state/cursor.js';
import { pickMembers } from '../engine/state/json.js';
import type { HistoryEntry } from '../engine/watch/history.js';
import { awaitMinRevision, poolHeaders, send } from './answers.js';
import * as schema from './history.schema.js';
import { ITEM, readPlace } from './item-calls.js';
import { nameToken, readPageToken } from './page-token.js';
import { type Call, Route } from './route.js';

@Controller()
export class HistoryController {
  constructor(@Inject(Engine) private readonly engine: Engine) {}

  @Route({
    method: 'GET',
    path: `${ITEM}/history`,
    operationId: 'listHistory',
    tag: 'items',
    summary: 'Read an item’s changes, newest first',
    description:
      'Those inside the retained log, also of an item that is deleted. The log is examined for them, and one request examines ' +
      'only so much: a page may have few changes or none and still not be the last. Go on with `nextPageToken` while there is one.',
    query: schema.historyQuery,
    headers: ['Stargus-Min-Revision'],
    answers: { 200: { description: 'A page of changes.', schema: schema.historyPage } },
  })
  async list(call: Call<z.output<typeof schema.historyQuery>>): Promise<void> {
    const { pool, collection, key: itemKey } = readPlace(call);
    const key = itemKey as string;
    const { limit = limits.historyPageDefault, since, pageToken } = call.query;
    await awaitMinRevision(call, this.engine.reader, pool);
    // A page token is a place in one life of the pool.
    const { epoch } = await this.engine.reader.current(pool);
    const query = ['history', pool, epoch, collection, key, since];
    const token = readPageToken(pageToken, query)?.key;
    const upTo = token === undefined ? undefined : Number(token);
    const page = await this.engine.history.page(pool, { subject: call.subject, collection, key, limit, since, upTo });
    const headers = poolHeaders(page.replica.epoch, page.revision);
    const changes = page.entries.map((entry) => tell(entry, page.replica.epoch)).join(',');
    const next = page.upTo === undefined ? '' : `,"nextPageToken":"${nameToken(query, String(page.upTo))}"`;
    send(call, {
      status: 200,
      headers,
      body: `{"changes":[${changes}],"revision":${page.revision},"cursor":"${headers['stargus-cursor']}"${next}}`,
    });
  }
}

function tell({ revision, time, subject, change }: HistoryEntry, epoch: string): string {
  const { op, collection, key, changed, removed, before, after, reason } = change;
  const head = { revision, cursor: formatCursor(epoch, revision), time: new Date(time).toISOString(), subject };
  const text = JSON.stringify({ ...head, op, collection, key, changed, removed, reason });
  const previous = JSON.stringify(pickMembers(before, changed));
  return `${text.slice(0, -1)},"attributes":${after?.json ?? '{}'},"previous":${previous}}`;
}
