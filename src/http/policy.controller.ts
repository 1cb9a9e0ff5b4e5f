/** What policy says, over HTTP. Policies themselves are items of the collection `_policies`. */
import { Controller, Inject } from '@nestjs/common';
import type { z } from 'zod';
import type { Decision } from '../engine/access/entitlement.js';
import { Engine } from '../engine/engine.js';
import type { JsonObject } from '../engine/state/json.js';
import { checkItemKey, checkName } from '../engine/state/names.js';
import type { Reading } from '../engine/state/reader.js';
import { awaitMinRevision, poolHeaders, send } from './answers.js';
import * as schema from './policy.schema.js';
import { type Call, Route } from './route.js';

const POLICY = '/v1/pools/:pool/policy';

@Controller()
export class PolicyController {
  constructor(@Inject(Engine) private readonly engine: Engine) {}

  @Route({
    method: 'GET',
    path: `${POLICY}/effective`,
    operationId: 'getEffectivePolicy',
    tag: 'policy',
    summary: 'Read what you may do in a pool',
    description:
      'Rules in the form in which CASL takes them, to be asked about an object with the item’s attributes and its key as `@key`. They are a hint for an interface; what the server decides is the truth.',
    headers: ['Stargus-Min-Revision'],
    answers: { 200: { description: 'The rules that are for you.', schema: schema.effectivePolicy } },
  })
  async effective(call: Call): Promise<void> {
    const pool = await this.#pool(call);
    const { rules, restrictions, ...reading } = await this.engine.explaining.effective(pool, call.subject);
    answer(call, reading, { subject: call.subject.id, rules, restrictions });
  }

  @Route({
    method: 'POST',
    path: `${POLICY}/check`,
    operationId: 'checkPolicy',
    reads: true,
    tag: 'policy',
    summary: 'Ask whether you may do something',
    description: 'Nothing is done. An item that you don’t see is judged as if it weren’t there.',
    body: { schema: schema.checksBody },
    headers: ['Stargus-Min-Revision'],
    answers: { 200: { description: 'A decision for each check, in their order.', schema: schema.checkAnswer } },
  })
  async check(call: Call<unknown, z.output<typeof schema.checksBody>>): Promise<void> {
    const pool = await this.#pool(call);
    const checks = call.body.checks.map(checked);
    const { decisions, ...reading } = await this.engine.explaining.check(pool, checks, call.subject);
    answer(call, reading, { results: decisions.map(tell) });
  }

  @Route({
    method: 'POST',
    path: `${POLICY}/explain`,
    operationId: 'explainPolicy',
    reads: true,
    tag: 'policy',
    summary: 'Ask who may do something, and by which rule',
    description: 'For who administers the pool.',
    body: { schema: schema.explainBody },
    headers: ['Stargus-Min-Revision'],
    answers: {
      200: { description: 'A decision for each that policies name, and for all others.', schema: schema.explanation },
    },
  })
  async explain(call: Call<unknown, z.output<typeof schema.explainBody>>): Promise<void> {
    const pool = await this.#pool(call);
    const { subjects, hosts, anyone, ...reading } = await this.engine.explaining.explain(
      pool,
      checked(call.body),
      call.subject,
    );
    answer(call, reading, {
      subjects: subjects.map(({ subject, decision }) => ({ subject, ...tell(decision) })),
      hosts: hosts.map(({ host, decision }) => ({ host, ...tell(decision) })),
      anyone: tell(anyone),
    });
  }

  @Route({
    method: 'POST',
    path: `${POLICY}/preview`,
    operationId: 'previewPolicy',
    reads: true,
    tag: 'policy',
    summary: 'Ask what other policies would change for those who watch now',
    description: 'Nothing is changed. For who administers the pool.',
    body: { schema: schema.previewBody },
    headers: ['Stargus-Min-Revision'],
    answers: { 200: { description: 'What open watchers would gain and lose.', schema: schema.preview } },
  })
  async preview(call: Call<unknown, z.output<typeof schema.previewBody>>): Promise<void> {
    const pool = await this.#pool(call);
    const policies = call.body.policies as Record<string, JsonObject | null>;
    const { gains, ...reading } = await this.engine.explaining.preview(pool, policies, call.subject);
    answer(call, reading, { watchers: gains });
  }

  async #pool(call: Call): Promise<string> {
    const pool = checkName('pool', call.params.pool as string);
    await awaitMinRevision(call, this.engine.reader, pool);
    return pool;
  }
}

function checked({ collection, key, ...check }: schema.Check): schema.Check {
  if (!(check.action === 'admin' && collection === '*')) checkName('collection', collection);
  return { ...check, collection, ...(key !== undefined && { key: checkItemKey(key) }) };
}

function tell({ allow, by, because }: Decision): object {
  return { allow, ...(by?.policy !== undefined && { rule: `${by.policy}/rules/${by.rule}` }), because };
}

function answer(call: Call, { replica, revision }: Reading, members: object): void {
  const headers = poolHeaders(replica.epoch, revision);
  const body = JSON.stringify({ ...members, revision, cursor: headers['stargus-cursor'] });
  send(call, { status: 200, headers, body });
}
