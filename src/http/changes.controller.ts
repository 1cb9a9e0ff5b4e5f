/** The change log over HTTP: pages, the live stream of changes, and attachments to a collection. */

import { Controller, Inject } from '@nestjs/common';
import type { z } from 'zod';
import { Engine } from '../engine/engine.js';
import { limits } from '../engine/limits.js';
import { formatCursor } from '../engine/state/cursor.js';
import { checkName } from '../engine/state/names.js';
import { ensurePool } from '../engine/state/pool-commands.js';
import { isFree } from '../engine/subject.js';
import { cursorOf, type StreamSubject } from '../engine/watch/watching.js';
import { awaitMinRevision, poolHeaders, send } from './answers.js';
import { askerOf } from './asker.js';
import * as schema from './changes.schema.js';
import { type Call, Route } from './route.js';
import { serveStream, startOf } from './sse.js';
import { checkView } from './views.js';

type StreamQuery = z.output<typeof schema.streamQuery>;

@Controller()
export class ChangesController {
  constructor(@Inject(Engine) private readonly engine: Engine) {}

  @Route({
    method: 'GET',
    path: '/v1/pools/:pool/changes',
    operationId: 'listChanges',
    tag: 'changes',
    summary: 'Read the change log',
    description:
      'Begins at the start of what is retained, or after `since`; go on with the `cursor` of the answer. A cursor that is too old is 410 `cursorExpired`. With `waitMs` the answer waits until there is something for the view. With `where` items come and go as they begin and cease to match: `add` with reason `entered`, `delete` with reason `left`.',
    query: schema.changesQuery,
    headers: ['Stargus-Min-Revision'],
    answers: { 200: { description: 'A page of commits.', schema: schema.changesPage } },
  })
  async list(call: Call<z.output<typeof schema.changesQuery>>): Promise<void> {
    const pool = checkName('pool', call.params.pool as string);
    const { since, limit = limits.changesPageCommitsDefault, waitMs = 0, ...view } = call.query;
    await awaitMinRevision(call, this.engine.reader, pool);
    const asker = askerOf(call);
    const { subject } = call;
    const page = await this.engine.watching.changes(
      pool,
      { view: checkView(view), since, limit, waitMs, subject, isRevoked: () => call.isRevoked(subject) },
      asker,
    );
    const { epoch } = page.replica;
    const commits = page.commits.map(({ commit: { revision, time, subject }, changes }) => {
      const head = JSON.stringify({
        revision,
        cursor: formatCursor(epoch, revision),
        time: new Date(time).toISOString(),
        subject,
      });
      return `${head.slice(0, -1)},"changes":[${changes.join(',')}]}`;
    });
    const body = `{"commits":[${commits.join(',')}],"cursor":"${cursorOf(page)}","upToDate":${page.upToDate}}`;
    send(call, { status: 200, headers: poolHeaders(epoch, page.replica.revision), body });
  }

  @Route({
    method: 'GET',
    path: '/v1/pools/:pool/changes/stream',
    operationId: 'streamChanges',
    tag: 'changes',
    summary: 'Be told of changes as they happen',
    description:
      'Events: `hello`, then `changes` for each commit, `bookmark` when the pool moved and nothing was for you, `reset` when the history between is gone, `problem`, and `bye` before the stream ends. Resumes after `Last-Event-ID`, which beats `since`; without both it begins now. With `where` items come and go as they begin and cease to match.',
    query: schema.streamQuery,
    headers: ['Last-Event-ID', 'Stargus-Min-Revision'],
    streaming: true,
    answers: { 200: schema.events },
  })
  async stream(call: Call<StreamQuery>): Promise<void> {
    const { since, bookmarkMs, ...view } = call.query;
    return this.#stream(call, { since, bookmarkMs }, { kind: 'feed', view: checkView(view) });
  }

  @Route({
    method: 'GET',
    path: '/v1/pools/:pool/collections/:collection/attach',
    operationId: 'attachCollection',
    tag: 'changes',
    summary: 'Be told the state of a collection, then every change',
    description:
      'Events: `hello`, `snapshot` (in parts), `live` when it is complete, then `changes` for each commit in order, without gap or double; `bookmark` when the pool moved and nothing was for you, `reset` when a new snapshot follows, `problem`, and `bye` before the stream ends. Resumes after `Last-Event-ID` or `since` with only what was missed. With `where` the state is that of the items that match, and they come and go as they begin and cease to. With `locks` so do the locks that lie on what is attached.',
    query: schema.attachQuery,
    headers: ['Last-Event-ID', 'Stargus-Min-Revision'],
    streaming: true,
    answers: { 200: schema.events },
  })
  async attach(call: Call<z.output<typeof schema.attachQuery>>): Promise<void> {
    const { since, bookmarkMs, locks = false, ...rest } = call.query;
    const collection = call.params.collection as string;
    const view = { ...checkView({ ...rest, collection }), collection };
    return this.#stream(call, { since, bookmarkMs }, { kind: 'attach', view, locks });
  }

  async #stream(
    call: Call,
    { since, bookmarkMs = limits.bookmarkMsDefault }: Pick<StreamQuery, 'since' | 'bookmarkMs'>,
    of: StreamSubject,
  ): Promise<void> {
    const pool = checkName('pool', call.params.pool as string);
    await awaitMinRevision(call, this.engine.reader, pool);
    const start = startOf(call, since);
    // Who comes back with a cursor wants the pool that it knew: a deleted one isn't made anew by those who watched it.
    const isResuming = Boolean(start.lastEventId) || !(since === undefined || since === 'start' || since === 'now');
    if (this.engine.options.createPools && !isResuming && isFree(call.subject)) await this.#ensurePool(call, pool);
    const opening = await this.engine.watching.open(pool, { ...of, subject: call.subject, bookmarkMs, start });
    const release = await this.#holdLease(call, pool);
    try {
      await serveStream(call, opening);
    } finally {
      release?.();
    }
  }

  /** A session that the request names lives for as long as its stream is open. */
  async #holdLease({ writer }: Call, pool: string): Promise<(() => void) | undefined> {
    if (!writer?.session) return undefined;
    const { session, poolId } = await this.engine.leases.find(pool, writer.session.session);
    return this.engine.leases.hold(poolId, { ...session, epoch: writer.session.epoch });
  }

  /** Who watches first and writes then finds the pool as if it had been there: where writes make pools, so does watching. */
  async #ensurePool(call: Call, pool: string): Promise<void> {
    if (pool.startsWith('_') || (await this.engine.replicas.find(pool))) return;
    await this.engine.committer.submit(pool, ensurePool(call));
  }
}
