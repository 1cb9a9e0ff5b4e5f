/** Pins over HTTP: which keys of foreign accounts this server takes. All of it is the operator's. */
import { Controller, Inject } from '@nestjs/common';
import type { z } from 'zod';
import { ForeignAccounts } from '../engine/access/foreign-accounts.js';
import type { StoredPin } from '../engine/access/identity-store.js';
import { checkOperator } from '../engine/access/operator.js';
import type { AuditKind } from '../engine/audit/audit-notes.js';
import { Engine } from '../engine/engine.js';
import { limits } from '../engine/limits.js';
import { send } from './answers.js';
import { Gate } from './gate.js';
import * as schema from './identities.schema.js';
import { nameToken, readPageToken } from './page-token.js';
import { type Call, Route } from './route.js';

const PINS_PATH = '/v1/pins';
const NO_STORE = { 'cache-control': 'no-store' };

@Controller()
export class PinsController {
  constructor(
    @Inject(ForeignAccounts) private readonly accounts: ForeignAccounts,
    @Inject(Engine) private readonly engine: Engine,
    @Inject(Gate) private readonly gate: Gate,
  ) {}

  @Route({
    method: 'GET',
    path: PINS_PATH,
    operationId: 'listPins',
    tag: 'identities',
    summary: 'List the keys of foreign accounts that this server takes',
    description: 'In the order of accounts. The operator’s alone.',
    query: schema.pinListQuery,
    answers: { 200: { description: 'A page of pins.', schema: schema.pinPage } },
  })
  async list(call: Call<z.output<typeof schema.pinListQuery>>): Promise<void> {
    checkOperator(call.subject, 'Reading pins');
    const { account, limit = limits.pageItemsDefault, pageToken } = call.query;
    const query = ['pins', account ?? null];
    const place = readPageToken(pageToken, query)?.key.split(' ');
    const after = place && { account: place[0] as string, kid: place[1] ?? '' };
    const pins = await this.accounts.pins({ after, limit: limit + 1, account });
    const shown = pins.slice(0, limit);
    const last = pins.length > limit ? shown.at(-1) : undefined;
    const nextPageToken = last && nameToken(query, `${last.account} ${last.kid}`);
    send(call, { status: 200, headers: NO_STORE, body: JSON.stringify({ pins: shown.map(shownPin), nextPageToken }) });
  }

  @Route({
    method: 'POST',
    path: PINS_PATH,
    operationId: 'createPin',
    tag: 'identities',
    summary: 'Take a key that a foreign account publishes now',
    description:
      'For an account that was never met, or one whose keys have changed without a rotation: compare the thumbprint with its owner by another way first. The document is read anew. The operator’s alone.',
    body: { schema: schema.pinBody, bytesMax: 4 * 1024 },
    answers: {
      200: { description: 'It was pinned already.', schema: schema.pin },
      201: { description: 'Pinned.', schema: schema.pin },
    },
  })
  async approve(call: Call<unknown, z.output<typeof schema.pinBody>>): Promise<void> {
    checkOperator(call.subject, 'Approving keys');
    const { pin, isNew } = await this.accounts.approve(call.body.account, call.body.kid);
    if (isNew) this.#note(call, 'approved', pin.account, pin.kid);
    const location = `${PINS_PATH}?account=${encodeURIComponent(pin.account)}`;
    const headers: Record<string, string> = isNew ? { location, ...NO_STORE } : NO_STORE;
    send(call, { status: isNew ? 201 : 200, headers, body: JSON.stringify(shownPin(pin)) });
  }

  @Route({
    method: 'DELETE',
    path: PINS_PATH,
    operationId: 'deletePin',
    tag: 'identities',
    summary: 'Take a key of a foreign account no longer',
    description:
      'Once an account has no pin left it is as if it had never been met: what it publishes then is taken. The operator’s alone.',
    query: schema.pinQuery,
    answers: { 200: { description: 'The key is not pinned now.', schema: schema.deletedPin } },
  })
  async remove(call: Call<z.output<typeof schema.pinQuery>>): Promise<void> {
    checkOperator(call.subject, 'Taking pins away');
    const { account, kid } = call.query;
    const { existed } = await this.accounts.unpin(account, kid);
    if (existed) this.#note(call, 'revoked', account, kid);
    send(call, { status: 200, headers: NO_STORE, body: JSON.stringify({ account, kid, existed }) });
  }

  #note({ request, subject }: Call<unknown, unknown>, kind: AuditKind, account: string, kid: string): void {
    const address = this.gate.addressOf(request);
    this.engine.audit.note({ kind, subject: account, address, detail: `${kid} by ${subject.id}` });
  }
}

function shownPin({ account, kid, algorithm, source, addedAt }: StoredPin): object {
  return { account, kid, algorithm, source, pinnedAt: new Date(addedAt).toISOString() };
}
