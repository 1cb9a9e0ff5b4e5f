/** Queries over HTTP: by parameters, and by a body with POST or QUERY (RFC 10008). */
import { Controller, Inject } from '@nestjs/common';
import type { z } from 'zod';
import type { Lens } from '../engine/access/lens.js';
import { type Item, Showing } from '../engine/dictionary/showing.js';
import { Engine } from '../engine/engine.js';
import { Problem } from '../engine/errors.js';
import { limits } from '../engine/limits.js';
import type { Expanded } from '../engine/query/expand.js';
import { type Filter, parseFilter, parseFilterText } from '../engine/query/filter.js';
import type { Found } from '../engine/query/ordering.js';
import type { Plan } from '../engine/query/plan.js';
import type { QueryAnswer } from '../engine/query/querying.js';
import { parseAggregates, parseOrder, parsePaths, projectionOf } from '../engine/query/request.js';
import { type JsonObject, setMember } from '../engine/state/json.js';
import { rangeOf } from '../engine/state/key-order.js';
import type { Reading } from '../engine/state/reader.js';
import { awaitMinRevision, itemHead, poolHeaders, send } from './answers.js';
import { ITEMS, readPlace } from './item-calls.js';
import { newPageToken, readPageToken } from './page-token.js';
import * as schema from './queries.schema.js';
import { type Call, Route } from './route.js';

type QueryBody = z.output<typeof schema.queryBody>;

/** A query, from wherever it came. */
interface Asked extends Omit<QueryBody, 'where'> {
  readonly filter: Filter | undefined;
  /** What the pointers of faults begin with: nothing for a body, `?` for parameters. */
  readonly place: '' | '?';
}

@Controller()
export class QueriesController {
  constructor(@Inject(Engine) private readonly engine: Engine) {}

  @Route({
    method: 'GET',
    path: ITEMS,
    operationId: 'listItems',
    tag: 'items',
    summary: 'List or query items',
    description:
      'In the order of their keys, unless `order` says otherwise; keys order by their bytes, `start` is inclusive, `end` exclusive. `nextPageToken`, and the Link header, lead to the next page: no item comes twice, and none is skipped that was there throughout.',
    query: schema.listQuery,
    headers: ['Stargus-Min-Revision'],
    answers: { 200: { description: 'A page of items.', schema: schema.itemPage } },
  })
  list(call: Call<z.output<typeof schema.listQuery>>): Promise<void> {
    const { where, ...query } = call.query;
    return this.#page(call, {
      ...query,
      filter: where === undefined ? undefined : parseFilterText(where, '?where'),
      place: '?',
    });
  }

  @Route({
    method: 'POST',
    path: '/v1/pools/:pool/collections/:collection/query',
    operationId: 'queryItems',
    reads: true,
    tag: 'items',
    summary: 'Query items, or aggregate over them',
    description:
      'What `listItems` takes as parameters, and `aggregates`: numbers over all items that match, together or by `groupBy` in groups, instead of items. A query that no index serves looks at each item, up to a bound (422 `scanLimit`).',
    body: { schema: schema.queryBody, optional: true },
    headers: ['Stargus-Min-Revision'],
    answers: { 200: { description: 'A page of items, or aggregates.', schema: schema.queryAnswer } },
  })
  query(call: Call<unknown, QueryBody>): Promise<void> {
    return this.#ask(call);
  }

  @Route({
    method: 'QUERY',
    path: ITEMS,
    operationId: 'queryItemsSafely',
    tag: 'items',
    summary: 'The same as queryItems, as a safe method',
    body: { schema: schema.queryBody, optional: true },
    headers: ['Stargus-Min-Revision'],
    answers: { 200: { description: 'A page of items, or aggregates.', schema: schema.queryAnswer } },
  })
  querySafely(call: Call<unknown, QueryBody>): Promise<void> {
    return this.#ask(call);
  }

  #ask(call: Call<unknown, QueryBody>): Promise<void> {
    const { where, ...query } = call.body;
    const filter = where === undefined ? undefined : parseFilter(where, '/where');
    const asked: Asked = { ...query, filter, place: '' };
    return asked.aggregates ? this.#aggregate(call, asked) : this.#page(call, asked);
  }

  async #page(call: Call, asked: Asked): Promise<void> {
    const { pool, collection } = readPlace(call);
    const { filter, prefix, start, end, limit = limits.pageItemsDefault, pageToken, count, explain, place } = asked;
    if (asked.groupBy) throw refused('/groupBy', 'needs `aggregates`: it groups what they are taken of.');
    const order = parseOrder(asked.order ?? [], at(place, 'order'));
    const projection = asked.fields && projectionOf(asked.fields, at(place, 'fields'));
    const bound = [pool, collection, filter?.text, prefix, start, end, asked.order, asked.fields];
    const after = readPageToken(pageToken, bound, at(place, 'pageToken'));
    await awaitMinRevision(call, this.engine.reader, pool);
    const answer = await this.engine.querying.query(pool, collection, {
      filter,
      range: rangeOf({ prefix, start, end }),
      order,
      limit,
      after,
      count: count === 'exact',
      isLeft: leftBy(call),
      subject: call.subject,
      expand: asked.expand && { names: asked.expand, pointer: at(place, 'expand') },
    });
    const showing = new Showing();
    // What is shown as it is stored waits for nothing.
    const { definition, lens } = answer;
    const read = definition.onRead ? await showing.all(itemsOf(answer.items, lens), definition) : answer.items;
    const items = read.map(({ key, state }) => `${itemHead({ collection, key }, state, projection)}}`);
    const token = answer.next && newPageToken(bound, answer.next);
    const headers = headersOf(answer);
    if (token !== undefined && place === '?') headers.link = `<${nextUrl(call.request.url, token)}>; rel="next"`;
    const rest = restOf(answer, {
      nextPageToken: token,
      count: answer.count,
      expanded: answer.expanded && (await expandedMembers(answer.expanded, showing)),
      plan: explain ? planOf(answer) : undefined,
    });
    send(call, { status: 200, headers, body: `{"items":[${items.join(',')}],${rest}` });
  }

  async #aggregate(call: Call, asked: Asked): Promise<void> {
    const { pool, collection } = readPlace(call);
    for (const name of ['order', 'fields', 'limit', 'pageToken', 'count', 'expand'] as const) {
      if (asked[name] !== undefined) throw refused(`/${name}`, 'is of items; with `aggregates` none are answered.');
    }
    const { filter, prefix, start, end, explain } = asked;
    const aggregates = parseAggregates(asked.aggregates ?? {}, '/aggregates');
    const groupBy = parsePaths(asked.groupBy ?? [], '/groupBy', limits.groupByMax);
    await awaitMinRevision(call, this.engine.reader, pool);
    const range = rangeOf({ prefix, start, end });
    const query = { filter, range, aggregates, groupBy, isLeft: leftBy(call), subject: call.subject };
    const answer = await this.engine.querying.aggregate(pool, collection, query);
    const { total, groups } = answer;
    const rest = restOf(answer, { aggregates: total, groups, plan: explain ? planOf(answer) : undefined });
    send(call, { status: 200, headers: headersOf(answer), body: `{${rest}` });
  }
}

/** What was found, to be shown with what is computed of it. */
function* itemsOf(found: readonly Found[], lens: Lens): Generator<Item> {
  for (const { key, stored } of found) yield lens.item(key, stored) as Item;
}

/** Refuses who may not know how many items were looked at. */
function planOf({ plan }: { readonly plan: Plan | undefined }): Plan {
  if (plan) return plan;
  throw new Problem(
    'forbidden',
    '`explain` tells how many items were looked at, also of those that you may not see; it takes the right to read all of the collection.',
  );
}

/** Whether the client has gone, at any moment that one asks. */
function leftBy({ request }: Call): () => boolean {
  return () => request.raw.socket.destroyed;
}

async function expandedMembers(expanded: Expanded, showing: Showing): Promise<JsonObject> {
  const members: JsonObject = {};
  for (const [collection, { definition, items }] of expanded) {
    const read = definition.onRead ? await showing.all(items.values(), definition) : items.values();
    const byKey: JsonObject = {};
    for (const { key, state } of read) {
      const { revision, createdRevision, attributes } = state;
      setMember(byKey, key, { collection, key, revision, createdRevision, attributes });
    }
    members[collection] = byKey;
  }
  return members;
}

function headersOf({ replica, revision }: Reading): Record<string, string> {
  return poolHeaders(replica.epoch, revision);
}

/** The members after the items, with the closing brace. */
function restOf({ replica, revision }: Reading | QueryAnswer, members: object): string {
  return JSON.stringify({ revision, cursor: `${replica.epoch}-${revision}`, ...members }).slice(1);
}

function at(place: '' | '?', member: string): string {
  return place === '?' ? `?${member}` : `/${member}`;
}

function refused(pointer: string, detail: string): Problem {
  return new Problem('badRequest', `${pointer} ${detail}`, { errors: [{ pointer, code: 'badRequest', detail }] });
}

/** The same request with another page token. */
function nextUrl(url: string, token: string): string {
  const [path, query] = url.split(/\?(.*)/s);
  const parameters = new URLSearchParams(query);
  parameters.set('pageToken', token);
  return `${path}?${parameters}`;
}
