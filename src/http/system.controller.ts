/** What operators and tools ask: version and limits, health, metrics, the contract. */
import { Controller, Inject } from '@nestjs/common';
import { z } from 'zod';
import { Engine } from '../engine/engine.js';
import { Problem } from '../engine/errors.js';
import { limits } from '../engine/limits.js';
import type { Subject } from '../engine/subject.js';
import { send } from './answers.js';
import { type Call, Route } from './route.js';
import { jsonObject } from './schemas.js';

/** What the process tells of itself; provided by wiring. */
export abstract class SystemFacts {
  abstract readonly version: string;
  /** The OpenAPI document's text. */
  abstract readonly contract: () => string;
  abstract readonly metrics: () => Promise<{ contentType: string; text: string }>;
  /** What the process does: `all`, `api` or `worker`. */
  abstract readonly role: string;
  /** Whether Redis is reached; undefined where there is none to be. */
  abstract readonly redis: () => boolean | undefined;
  /** True once the process has been asked to stop. */
  abstract readonly stopping: boolean;
}

const READY_MS = 2000;
const health = z.object({ status: z.string(), reason: z.string().optional() }).meta({ id: 'Health' });
const readiness = z
  .object({
    status: z.string().meta({ description: '`ready`.' }),
    role: z.string().meta({ description: 'What this process does: `all`, `api` or `worker`.' }),
    database: z.string().meta({ description: '`up`.' }),
    redis: z.string().optional().meta({
      description:
        '`up` or `down`. While Redis is down everything is answered, events of other nodes come a little later, and what is done in the background waits.',
    }),
  })
  .meta({ id: 'Readiness' });
const number = z.int().meta({ type: 'integer', format: 'int64' });
const about = z
  .object({
    name: z.string(),
    version: z.string(),
    apiVersion: z.string(),
    features: z.array(z.string()),
    limits: z
      .object(Object.fromEntries([...Object.keys(limits), 'scanItemsMax'].map((limit) => [limit, number])))
      .meta({ id: 'Limits' }),
  })
  .meta({ id: 'About' });

const contractDocument = z
  .object({ openapi: z.string(), info: jsonObject, paths: jsonObject, components: jsonObject })
  .meta({ id: 'Contract', description: 'An OpenAPI document.' });

const FEATURES = [
  'state',
  'batch',
  'idempotency',
  'changes',
  'attach',
  'query',
  'dictionary',
  'scripts',
  'transfer',
  'history',
  'sessions',
  'locks',
  'usage',
  'login',
  'apiKeys',
  'tokenExchange',
  'dpop',
  'encryption',
];

@Controller()
export class SystemController {
  constructor(
    @Inject(Engine) private readonly engine: Engine,
    @Inject(SystemFacts) private readonly facts: SystemFacts,
  ) {}

  @Route({
    method: 'GET',
    path: '/v1',
    operationId: 'getAbout',
    tag: 'system',
    summary: 'Read the version, limits and features',
    public: true,
    answers: { 200: { description: 'About this server.', schema: about } },
  })
  about(call: Call): void {
    const { scanItemsMax } = this.engine.options;
    const body = {
      name: 'stargus',
      version: this.facts.version,
      apiVersion: 'v1',
      features: FEATURES,
      limits: { ...limits, scanItemsMax },
    };
    send(call, { status: 200, headers: {}, body: JSON.stringify(body) });
  }

  @Route({
    method: 'GET',
    path: '/healthz',
    operationId: 'getHealth',
    tag: 'system',
    summary: 'Check that the process is alive',
    public: true,
    answers: { 200: { description: 'It lives.', schema: health } },
  })
  live(call: Call): void {
    send(call, { status: 200, headers: { 'cache-control': 'no-store' }, body: '{"status":"ok"}' });
  }

  @Route({
    method: 'GET',
    path: '/readyz',
    operationId: 'getReadiness',
    tag: 'system',
    summary: 'Check that the server can take requests',
    description:
      'Answers 503 `unavailable` while the server is stopping or its database doesn’t answer. Without Redis it goes on, and says so.',
    public: true,
    answers: { 200: { description: 'It can.', schema: readiness } },
  })
  async ready(call: Call): Promise<void> {
    if (this.facts.stopping) throw new Problem('unavailable', 'The server is stopping.');
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(
        () => reject(new Problem('unavailable', `The database has not answered within ${READY_MS} ms.`)),
        READY_MS,
      );
    });
    try {
      await Promise.race([this.engine.store.now(), late]);
    } finally {
      clearTimeout(timer);
    }
    const redis = this.facts.redis();
    const body = {
      status: 'ready',
      role: this.facts.role,
      database: 'up',
      ...(redis !== undefined && { redis: redis ? 'up' : 'down' }),
    };
    send(call, { status: 200, headers: { 'cache-control': 'no-store' }, body: JSON.stringify(body) });
  }

  @Route({
    method: 'GET',
    path: '/metrics',
    operationId: 'getMetrics',
    tag: 'system',
    summary: 'Read the metrics in Prometheus’s format',
    description: 'For the operator, and for API keys that the operator made for no account and narrowed to nothing.',
    answers: { 200: { description: 'Metrics.', contentType: 'text/plain' } },
  })
  async metrics({ reply, subject }: Call): Promise<void> {
    if (!mayReadMetrics(subject))
      throw new Problem(
        'forbidden',
        'Metrics are for the operator, and for API keys of the operator’s that act as no account and aren’t narrowed.',
      );
    const { contentType, text } = await this.facts.metrics();
    reply.header('content-type', contentType).header('cache-control', 'no-store').send(text);
  }

  @Route({
    method: 'GET',
    path: '/v1/openapi.json',
    operationId: 'getContract',
    tag: 'system',
    summary: 'Read this contract as OpenAPI',
    public: true,
    answers: { 200: { description: 'An OpenAPI 3.0 document.', schema: contractDocument } },
  })
  contract(call: Call): void {
    send(call, { status: 200, headers: { 'cache-control': 'no-cache' }, body: this.facts.contract() });
  }
}

/** They tell of everybody: how many write and watch, how many are refused. Only the operator makes keys that are subjects of their own. */
function mayReadMetrics({ id, isUnbound, restrictions }: Subject): boolean {
  return restrictions.length === 0 && (isUnbound || id.startsWith('apikey:'));
}
