/** Guarded envelopes over HTTP: put under guard, and given out to who knows a way to open them. */
import { Controller, Inject } from '@nestjs/common';
import type { z } from 'zod';
import { fault } from '../engine/access/grant.js';
import { GuardedEnvelopes } from '../engine/access/guarded-envelopes.js';
import { PublicUrl } from '../engine/access/public-url.js';
import { Engine } from '../engine/engine.js';
import { send } from './answers.js';
import { Gate } from './gate.js';
import * as schema from './identities.schema.js';
import { proofOf } from './proof.js';
import { type Call, Route } from './route.js';

const ENVELOPE_PATH = '/v1/identities/:account/envelope';
const NO_STORE = { 'cache-control': 'no-store' };

@Controller()
export class EnvelopesController {
  constructor(
    @Inject(GuardedEnvelopes) private readonly envelopes: GuardedEnvelopes,
    @Inject(PublicUrl) private readonly publicUrl: PublicUrl,
    @Inject(Engine) private readonly engine: Engine,
    @Inject(Gate) private readonly gate: Gate,
  ) {}

  @Route({
    method: 'PUT',
    path: ENVELOPE_PATH,
    operationId: 'putEnvelope',
    tag: 'identities',
    summary: 'Put the account’s private key under guard, in an envelope',
    description:
      'Replaces the one before. By a proof, `putEnvelope`, signed by a key of the account, or by the operator; no token of the account is enough. The server never sees what opens the envelope.',
    body: { schema: schema.envelopeBody, bytesMax: 64 * 1024 },
    proves: true,
    answers: { 200: { description: 'It is under guard.', schema: schema.guardedEnvelope } },
  })
  async put(call: Call<unknown, z.output<typeof schema.envelopeBody>>): Promise<void> {
    const name = call.params.account as string;
    const { envelope, ways, proof } = call.body;
    const verifiers = Object.fromEntries(ways.map(({ way, verifier }) => [way, verifier]));
    if (Object.keys(verifiers).length < ways.length) throw fault('/ways', 'has a way twice.');
    await this.envelopes.put(name, { text: envelope, verifiers }, { subject: call.subject, proof });
    const body = JSON.stringify({ account: this.publicUrl.accountOf(name), ways: ways.map(({ way }) => way) });
    send(call, { status: 200, headers: NO_STORE, body });
  }

  @Route({
    method: 'GET',
    path: ENVELOPE_PATH,
    operationId: 'getEnvelopeWays',
    tag: 'identities',
    summary: 'Read how the keys that unlock an envelope are derived',
    description: 'Of every way that there is, for every name, so that nobody learns whether there is an envelope.',
    public: true,
    rate: 'unlock',
    answers: { 200: { description: 'The ways.', schema: schema.envelopeWays } },
  })
  async ways(call: Call): Promise<void> {
    const name = call.params.account as string;
    const ways = await this.envelopes.derivations(name);
    const body = JSON.stringify({ account: this.publicUrl.accountOf(name), ways });
    send(call, { status: 200, headers: NO_STORE, body });
  }

  @Route({
    method: 'DELETE',
    path: ENVELOPE_PATH,
    operationId: 'deleteEnvelope',
    tag: 'identities',
    summary: 'Take the envelope from guard',
    description: 'By a proof, `deleteEnvelope`, in Stargus-Proof, or by the operator.',
    proves: true,
    headers: ['Stargus-Proof'],
    answers: { 200: { description: 'No envelope of the account is under guard now.', schema: schema.deletedEnvelope } },
  })
  async remove(call: Call): Promise<void> {
    const name = call.params.account as string;
    const { existed } = await this.envelopes.delete(name, { subject: call.subject, proof: proofOf(call) });
    const body = JSON.stringify({ account: this.publicUrl.accountOf(name), existed });
    send(call, { status: 200, headers: NO_STORE, body });
  }

  @Route({
    method: 'POST',
    path: `${ENVELOPE_PATH}/unlock`,
    operationId: 'unlockEnvelope',
    tag: 'identities',
    summary: 'Get the envelope, by proof of a secret that opens it',
    description:
      'Wrong proofs are counted; after a few, each makes the next wait longer: 429 `tooManyRequests` with Retry-After.',
    public: true,
    rate: 'unlock',
    body: { schema: schema.unlockBody, bytesMax: 4 * 1024 },
    answers: { 200: { description: 'The envelope.', schema: schema.unlockedEnvelope } },
  })
  async unlock(call: Call<unknown, z.output<typeof schema.unlockBody>>): Promise<void> {
    const name = call.params.account as string;
    const { way, proof } = call.body;
    const subject = this.publicUrl.accountOf(name);
    this.gate.nameAccount(call.request, subject);
    const envelope = await this.envelopes.unlock(name, way, proof);
    this.engine.audit.note({ kind: 'unlock', subject, address: this.gate.addressOf(call.request), detail: way });
    const body = JSON.stringify({ account: this.publicUrl.accountOf(name), envelope });
    send(call, { status: 200, headers: NO_STORE, body });
  }
}
