/**
 * A scenario of sdks/conformance/scenarios: steps that are done one after the other, by the client's driver, at the server itself, or by the
 * proxy between them, each with what must come of it. What the members of a step mean is told in sdks/conformance/README.md.
 */
import { createHmac, generateKeyPairSync, randomBytes, sign as signBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Server } from '../support/server.js';
import { asOperator, makeAccount, OPERATOR_KEY } from './accounts.js';
import type { CuttingProxy, Heard, Rule } from './cutting-proxy.js';
import type { Answer, Driver } from './driver.js';

// biome-ignore lint/suspicious/noExplicitAny: JSON, whatever the scenario says
type Json = any;

export interface Scenario {
  readonly name: string;
  /** `own`: a server that this scenario may restart. `required`: one that wants to know who asks. Otherwise one is shared. */
  readonly server?: 'own' | 'required';
  /** `files`: looks at a cache's file. `exit`: ends the driver by force. `connections`: more than browsers open to one place. Clients without these leave it out. */
  readonly needs?: readonly ('files' | 'exit' | 'passphrase' | 'keyFile' | 'connections')[];
  readonly steps: readonly Json[];
}

export interface Stage {
  readonly proxy: CuttingProxy;
  readonly folder: string;
  readonly server: Server;
  restart(how: 'stop' | 'kill'): Promise<void>;
  driver(): Driver;
  /** Begins another driver, which does what follows. */
  again(): void;
}

const WITHIN_MS = 20_000;
/** Three of these are more than one event of a stream holds, as a snapshot and as a commit. */
const FILLER = 'filler '.repeat(28_000);

export async function play(scenario: Scenario, stage: Stage): Promise<void> {
  const pool = `p${randomBytes(6).toString('hex')}`;
  const known: Record<string, Json> = {
    pool,
    url: stage.proxy.url,
    folder: stage.folder,
    filler: FILLER,
    operatorKey: OPERATOR_KEY,
  };
  const begun = new Map<string, Promise<Answer>>();
  for (const [index, written] of scenario.steps.entries()) {
    const step = filled(written, known);
    try {
      await take(step, stage, known, begun);
    } catch (error) {
      throw new Error(`Step ${index + 1}, ${JSON.stringify(written)}: ${(error as Error).message}`);
    }
  }
}

async function take(step: Json, stage: Stage, known: Record<string, Json>, begun: Map<string, Promise<Answer>>) {
  if (step.until) return until(step, stage, known);
  if (step.await) return judge(await (begun.get(step.await) as Promise<Answer>), step, known);
  if (step.do) {
    const answered = stage.driver().ask(commandOf(step, known));
    if (step.begin) begun.set(step.begin, answered);
    else judge(await answered, step, known);
    return;
  }
  if (step.server) return atServer(step, stage, known);
  if (step.operator) return atServer({ ...step, server: step.operator, headers: asOperator }, stage, known);
  if (step.account) return account(step, stage, known);
  if (step.revoke) return revoke(stage);
  if (step.sign) return sign(step, known);
  if (step.proxy) return atProxy(step.proxy, stage.proxy);
  if (step.heard) return requests(step, stage.proxy);
  if (step.restart) return stage.restart(step.restart);
  if (step.driver === 'exit') {
    await stage.driver().ask({ do: 'exit' });
    stage.again();
    return;
  }
  if (step.driver === 'another') return stage.again();
  if (step.file) return atFile(step, stage);
  if (step.pauseMs) return sleep(step.pauseMs);
  throw new Error('There is no such step.');
}

function commandOf(step: Json, known: Record<string, Json>): Record<string, unknown> {
  const { begin, expect, fails, save, ...command } = step;
  // The server and the pool of the scenario, unless it names others.
  return command.do === 'connect' ? { url: known.url, pool: known.pool, ...command } : command;
}

/** Commands that answer what has come since they were asked last. */
const TAKES = ['heard', 'denied', 'problems'];

/** Asks again and again until the answer, or what the answers are together, is as expected. */
async function until(step: Json, stage: Stage, known: Record<string, Json>): Promise<void> {
  const { until: asked, expect, fails, save } = step;
  const gathered: Record<string, Json[]> = {};
  const ask = async () => {
    if (!TAKES.includes(asked.do)) return take({ ...asked, expect, fails, save }, stage, known, new Map());
    const answer = await stage.driver().ask(commandOf(asked, known));
    for (const [name, more] of Object.entries((answer.value ?? {}) as Record<string, Json[]>))
      gathered[name] = [...(gathered[name] ?? []), ...more];
    return judge(answer.ok ? { ...answer, value: gathered } : answer, step, known);
  };
  for (const end = Date.now() + (step.withinMs ?? WITHIN_MS); ; await sleep(20)) {
    try {
      return await ask();
    } catch (error) {
      if (Date.now() > end) throw error;
    }
  }
}

function judge(answer: Answer, { expect, fails, save }: Json, known: Record<string, Json>): void {
  if (fails !== undefined) {
    if (answer.ok)
      throw new Error(`It was to fail with ${JSON.stringify(fails)} and came to ${JSON.stringify(answer.value)}`);
    const wanted = typeof fails === 'string' ? { code: fails } : fails;
    const fault = difference(wanted, answer.error, 'error');
    if (fault) throw new Error(`${fault} (${JSON.stringify(answer.error)})`);
    return;
  }
  if (!answer.ok) throw new Error(`It failed: ${JSON.stringify(answer.error)}`);
  if (expect !== undefined) {
    const fault = difference(expect, answer.value, 'value');
    if (fault) throw new Error(`${fault} (all of it: ${JSON.stringify(answer.value)?.slice(0, 3000)})`);
  }
  for (const [name, place] of Object.entries(save ?? {}))
    known[name] = (place as string).split('.').reduce((at, member) => at?.[member], answer.value);
}

/** Straight to the server, past the proxy. */
async function atServer(step: Json, stage: Stage, known: Record<string, Json>): Promise<void> {
  const [method, where] = step.server.split(' ');
  const address = where.startsWith('/v1') ? where : `/v1/pools/${known.pool}${where}`;
  const body = step.body === undefined ? undefined : JSON.stringify(step.body);
  const headers = { ...(body !== undefined && { 'content-type': 'application/json' }), ...step.headers };
  for (let nth = 0; nth < (step.repeat ?? 1); nth++) {
    const response = await fetch(`${stage.server.url}${address.replaceAll('#', String(nth))}`, {
      method,
      headers,
      body,
    });
    const value = await response.json().catch(() => undefined);
    const wanted = step.status ?? 'good';
    if (wanted === 'good' ? !response.ok : response.status !== wanted)
      throw new Error(`The server answered ${response.status}: ${JSON.stringify(value)}`);
    judge({ ok: true, value }, step, known);
  }
}

async function account(step: Json, stage: Stage, known: Record<string, Json>): Promise<void> {
  const { account: name, enroll, passphrase, recovery, rules } = step;
  known[`${name}Recovery`] = await makeAccount({
    name,
    enroll,
    passphrase,
    recovery,
    origin: stage.proxy.url,
    server: stage.server.url,
    folder: stage.folder,
  });
  if (!rules) return;
  const policy = {
    server: 'PUT /collections/_policies/items/people',
    body: { attributes: { rules } },
    headers: asOperator,
  };
  await atServer(policy, stage, known);
}

/** The token that was sent last, and with it the whole login. */
async function revoke(stage: Stage): Promise<void> {
  const sent = stage.proxy.heard.findLast(({ headers }) => headers.authorization !== undefined)?.headers.authorization;
  const token = sent?.replace(/^\w+ /, '');
  const body = JSON.stringify({ token });
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(`${stage.server.url}/v1/auth/revoke`, { method: 'POST', headers, body });
  const answer = (await response.json()) as Json;
  if (answer.revoked !== true) throw new Error(`Nothing was revoked: ${JSON.stringify(answer)}`);
}

/** Headers as a notifier sends them, by Standard Webhooks 1.0: with a shared secret, or with a new key whose public half is saved as `<name>Key`. */
function sign(
  { sign: name, secret, key, id, body, ageS = 0, before, after, capitals }: Json,
  known: Record<string, Json>,
): void {
  const timestamp = String(Math.floor(Date.now() / 1000) - ageS);
  const signed = Buffer.from(`${id}.${timestamp}.${body}`);
  let signature: string;
  if (key === 'ed25519') {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const { x = '' } = publicKey.export({ format: 'jwk' });
    known[`${name}Key`] = `whpk_${Buffer.from(x, 'base64url').toString('base64')}`;
    signature = `v1a,${signBytes(null, signed, privateKey).toString('base64')}`;
  } else {
    const bytes = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
    signature = `v1,${createHmac('sha256', bytes).update(signed).digest('base64')}`;
  }
  const headers = {
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': [before, signature, after].filter(Boolean).join(' '),
  };
  const cased = Object.entries(headers).map(([header, value]) => [capitals ? header.toUpperCase() : header, value]);
  known[name] = Object.fromEntries(cased);
}

function atProxy(action: Json, proxy: CuttingProxy): void {
  if (action.rules) proxy.rules(action.rules as Rule[]);
  if (action.refuse !== undefined) proxy.refuse(action.refuse);
  if (action.cut) proxy.cut();
}

/**
 * What the proxy was asked: how often, and with which headers; `same` names headers that have one value in all of them, `differs` such that
 * have as many as there are requests; `gapMinMs` is between the last two; the last one `resumes` from a cursor, or from that one.
 */
function requests(step: Json, proxy: CuttingProxy): void {
  const found = proxy.heard.filter(({ request }) => new RegExp(step.heard).test(request));
  const said = JSON.stringify(proxy.heard.map(({ request }) => request));
  if (step.count !== undefined && found.length !== step.count)
    throw new Error(`There were ${found.length} such requests instead of ${step.count}: ${said}`);
  if (step.countMin !== undefined && found.length < step.countMin)
    throw new Error(`There were only ${found.length} such requests: ${said}`);
  for (const [sign, header] of [
    ...(step.same ?? []).map((name: string) => ['same', name]),
    ...(step.differs ?? []).map((name: string) => ['differs', name]),
  ]) {
    const values = new Set(found.map(({ headers }) => headers[header]));
    const isRight = sign === 'same' ? values.size === 1 && !values.has(undefined) : values.size === found.length;
    if (!isRight) throw new Error(`${header} is ${JSON.stringify([...values])}`);
  }
  if (step.gapMinMs !== undefined) {
    const gapMs = (found.at(-1)?.atMs ?? 0) - (found.at(-2)?.atMs ?? 0);
    if (gapMs < step.gapMinMs) throw new Error(`The last one came ${gapMs} ms after the one before.`);
  }
  if (step.resumes !== undefined) {
    const { request, headers } = found.at(-1) as Heard;
    const cursor = headers['last-event-id'] || /[?&]since=([\w-]+)/.exec(request)?.[1] || '';
    if (typeof step.resumes === 'string' ? cursor !== step.resumes : Boolean(cursor) !== step.resumes)
      throw new Error(`It came with the cursor '${cursor}': ${request}`);
  }
  if (step.without) {
    const bad = found.find(({ request }) => new RegExp(step.without).test(request));
    if (bad) throw new Error(`It was asked for ${bad.request}`);
  }
}

function atFile(step: Json, { folder }: Stage): void {
  const file = path.join(folder, step.file);
  if (step.exists !== undefined && existsSync(file) !== step.exists)
    throw new Error(`${file} ${step.exists ? 'is not' : 'is'} there`);
  if (step.mode !== undefined && (statSync(file).mode & 0o777).toString(8) !== step.mode)
    throw new Error(`${file} has the mode ${(statSync(file).mode & 0o777).toString(8)}`);
  if (step.contains !== undefined && !readFileSync(file).includes(step.contains))
    throw new Error(`${file} has no ${step.contains}`);
  if (step.text !== undefined) writeFileSync(file, step.text);
  if (step.truncate !== undefined) truncateSync(file, Math.floor(statSync(file).size * step.truncate));
  if (step.replace) {
    // In place, so that the rest of the file stays what it was.
    const [from, to] = step.replace as [string, string];
    const at = readFileSync(file).indexOf(from);
    if (at < 0) throw new Error(`${file} has no ${from}`);
    const handle = openSync(file, 'r+');
    writeSync(handle, to, at);
    closeSync(handle);
  }
}

/** `$name` is what was saved under it, alone or as `${name}` within a text. */
function filled(value: Json, known: Record<string, Json>): Json {
  if (typeof value === 'string') {
    const alone = /^\$(\w+)$/.exec(value)?.[1];
    if (alone !== undefined && alone in known) return known[alone];
    return value.replaceAll(/\$\{(\w+)\}/g, (_, name: string) => String(known[name]));
  }
  if (Array.isArray(value)) return value.map((one) => filled(one, known));
  if (value !== null && typeof value === 'object')
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, filled(one, known)]));
  return value;
}

/**
 * Where what came differs from what was wanted, or undefined. Of an object the members that are wanted must be there, others may; with
 * `$exact` no others may, with `$size` it has so many. A list has what is wanted, in that order; with `$some` these are among others. `$any` is anything that is there, `$none` what isn't.
 */
function difference(wanted: Json, came: Json, where: string): string | undefined {
  if (wanted === '$any') return came === undefined ? `${where} is missing` : undefined;
  if (wanted === '$none') return came === undefined ? undefined : `${where} is there: ${JSON.stringify(came)}`;
  if (Array.isArray(wanted)) {
    if (!Array.isArray(came) || came.length !== wanted.length)
      return `${where} is ${JSON.stringify(came)} instead of ${JSON.stringify(wanted)}`;
    return first(wanted.map((one, index) => difference(one, came[index], `${where}[${index}]`)));
  }
  if (wanted === null || typeof wanted !== 'object')
    return Object.is(wanted, came)
      ? undefined
      : `${where} is ${JSON.stringify(came)} instead of ${JSON.stringify(wanted)}`;
  if (came === null || typeof came !== 'object')
    return `${where} is ${JSON.stringify(came)} instead of ${JSON.stringify(wanted)}`;
  if ('$size' in wanted) {
    const size = Object.keys(came).length;
    return size === wanted.$size ? undefined : `${where} has ${size} members`;
  }
  if ('$some' in wanted)
    return first(
      (wanted.$some as Json[]).map((one) =>
        came.some((each: Json) => difference(one, each, '') === undefined)
          ? undefined
          : `${where} has no ${JSON.stringify(one)}`,
      ),
    );
  if ('$exact' in wanted) {
    const others = Object.keys(came).filter((name) => !(name in wanted.$exact));
    if (others.length > 0) return `${where} also has ${others.join(', ')}`;
    return difference(wanted.$exact, came, where);
  }
  return first(Object.entries(wanted).map(([name, one]) => difference(one, came[name], `${where}.${name}`)));
}

function first(faults: (string | undefined)[]): string | undefined {
  return faults.find((fault) => fault !== undefined);
}
