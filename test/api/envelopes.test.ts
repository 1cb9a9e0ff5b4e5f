/** Guarded envelopes: who may put one, who gets it, what everybody else learns (nothing), and what guessing costs. */
import { beforeAll, describe, expect, it } from 'vitest';
import { derive, open, parseDerivation, type Sealed, seal, type Way } from '../../src/engine/access/envelope.js';
import { digestOf, newKey, proof, type TestKey } from '../support/keys.js';
import { login } from '../support/people.js';
import { expectProblem, pointersOf, Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

const OPERATOR_KEY = 'operator-key-of-these-tests-0000';
const operator = { authorization: `Bearer ${OPERATOR_KEY}` };
const closed = { STARGUS_AUTH: 'required', STARGUS_OPERATOR_KEY: OPERATOR_KEY };
/** What guesses cost at an account is told here; how often an address may ask at all, elsewhere. */
const env = { ...closed, STARGUS_RATE_UNLOCK: '0' };
const PASSPHRASE = 'six random words or more';
const RECOVERY = 'ABCD-EFGH-JKMN';
const WRONG = 'A'.repeat(43);

describe.each(databases)('guarded envelopes on $name', ({ name: database }) => {
  let server: Server;
  let scenario: Scenario;
  let accounts = 0;
  beforeAll(async () => {
    server = await startServer({ database, env });
    scenario = new Scenario(server);
  });

  const pathOf = (name: string) => `/v1/identities/${name}/envelope`;
  const urlOf = (name: string) => `${server.url}/id/${name}`;
  const bodyOf = ({ text, verifiers }: Sealed) => ({
    envelope: text,
    ways: Object.entries(verifiers).map(([way, verifier]) => ({ way, verifier })),
  });

  async function account(): Promise<{ name: string; key: TestKey }> {
    const name = `owner-${++accounts}`;
    const key = await newKey();
    await scenario.calls([`PUT /v1/identities/${name}/keys/${key.kid}`, { jwk: key.jwk }, operator]);
    return { name, key };
  }

  const sealFor = (
    name: string,
    secrets: Partial<Record<Way, string>> = { passphrase: PASSPHRASE, recovery: RECOVERY },
  ) => seal(urlOf(name), { kty: 'OKP', d: `of ${name}` }, secrets);

  async function guarded() {
    const { name, key } = await account();
    const sealed = await sealFor(name);
    await scenario.calls([`PUT ${pathOf(name)}`, bodyOf(sealed), operator]);
    return { name, key, sealed };
  }

  async function proofFor(name: string, way: Way, secret: string) {
    const { body } = await scenario.call(`GET ${pathOf(name)}`);
    const { kdf } = body.ways.find((each: { way: string }) => each.way === way);
    return derive(urlOf(name), way, secret, parseDerivation(kdf));
  }

  const unlock = (name: string, way: string, proven: string, on = scenario) =>
    on.call(`POST ${pathOf(name)}/unlock`, { way, proof: proven });

  it.each([
    ['passphrase', PASSPHRASE],
    ['recovery', RECOVERY],
  ] as const)('open at another computer by the %s', async (way, secret) => {
    const { name, sealed } = await guarded();
    const { proof: proven, opening } = await proofFor(name, way, secret);
    const answer = await unlock(name, way, proven);
    expect([answer.status, answer.body]).toEqual([200, { account: urlOf(name), envelope: sealed.text }]);
    expect(answer.headers['cache-control']).toBe('no-store');
    expect(await open(answer.body.envelope, urlOf(name), way, opening)).toEqual({ kty: 'OKP', d: `of ${name}` });
  });

  it('are put by a proof of the account’s key, and replaced by one', async () => {
    const { name, key } = await account();
    const deed = { account: urlOf(name), audience: server.url, act: 'putEnvelope' };
    for (const secret of ['the first passphrase', 'the second passphrase']) {
      const sealed = await sealFor(name, { passphrase: secret });
      const about = digestOf(sealed.text, sealed.verifiers);
      const body = { ...bodyOf(sealed), proof: await proof(key, { ...deed, about }) };
      const put = await scenario.call(`PUT ${pathOf(name)}`, body);
      expect([put.status, put.body]).toEqual([200, { account: urlOf(name), ways: ['passphrase'] }]);
      expect((await unlock(name, 'passphrase', (await proofFor(name, 'passphrase', secret)).proof)).status).toBe(200);
    }
    const old = await proofFor(name, 'passphrase', 'the first passphrase');
    expectProblem(await unlock(name, 'passphrase', old.proof), 401, 'unauthenticated');
    const about = name;
    const removing = await proof(key, { ...deed, act: 'deleteEnvelope', about });
    const gone = await scenario.call(`DELETE ${pathOf(name)}`, undefined, { 'stargus-proof': removing });
    expect([gone.status, gone.body]).toEqual([200, { account: urlOf(name), existed: true }]);
    const last = await proofFor(name, 'passphrase', 'the second passphrase');
    expectProblem(await unlock(name, 'passphrase', last.proof), 401, 'unauthenticated');
    expect((await scenario.call(`DELETE ${pathOf(name)}`, undefined, operator)).body.existed).toBe(false);
  });

  it('go with their account, and don’t come back with its name', async () => {
    const { name, key } = await guarded();
    const { proof: proven } = await proofFor(name, 'passphrase', PASSPHRASE);
    await scenario.calls([`DELETE /v1/identities/${name}/keys/${key.kid}`, undefined, operator]);
    await scenario.calls([`PUT /v1/identities/${name}/keys/${key.kid}`, { jwk: key.jwk }, operator]);
    expectProblem(await unlock(name, 'passphrase', proven), 401, 'unauthenticated');
  });

  describe('are not taken', () => {
    type Body = { envelope: string; ways: { way: string; verifier: string }[]; proof?: string };
    const rows: [string, (body: Body) => unknown, number, string, string?][] = [
      ['without an envelope', ({ ways }) => ({ ways }), 400, 'badRequest', '/envelope'],
      ['as an object', (body) => ({ ...body, envelope: JSON.parse(body.envelope) }), 400, 'badRequest', '/envelope'],
      ['without ways', ({ envelope }) => ({ envelope }), 400, 'badRequest', '/ways'],
      ['with no way', (body) => ({ ...body, ways: [] }), 400, 'badRequest', '/ways'],
      [
        'with an unknown way',
        (body) => ({ ...body, ways: [{ way: 'magic', verifier: WRONG }] }),
        400,
        'badRequest',
        '/ways/0/way',
      ],
      [
        'with a short verifier',
        (body) => ({ ...body, ways: [{ way: 'passphrase', verifier: 'AAAA' }] }),
        400,
        'badRequest',
        '/ways/0/verifier',
      ],
      ['with an unknown member', (body) => ({ ...body, passphrase: 'x' }), 400, 'badRequest', '/passphrase'],
      [
        'with a secret beside a verifier',
        (body) => ({ ...body, ways: [{ ...body.ways[0], secret: 'x' }] }),
        400,
        'badRequest',
        '/ways/0/secret',
      ],
      ['with a way twice', (body) => ({ ...body, ways: [body.ways[0], body.ways[0]] }), 422, 'invalid', '/ways'],
      ['without the verifier of a way', (body) => ({ ...body, ways: body.ways.slice(1) }), 422, 'invalid', '/ways'],
      ['that are no JWE', (body) => ({ ...body, envelope: '{}' }), 422, 'invalid', '/envelope'],
      [
        'that are too large',
        (body) => ({ ...body, envelope: `${body.envelope}${' '.repeat(16 * 1024)}` }),
        422,
        'invalid',
        '/envelope',
      ],
      [
        'that cost more than others',
        (body) => ({ ...body, envelope: body.envelope.replace('"passes":3', '"passes":4') }),
        422,
        'invalid',
        '/envelope',
      ],
      [
        'that cost less',
        (body) => ({ ...body, envelope: body.envelope.replace('"passes":3', '"passes":1') }),
        422,
        'invalid',
        '/envelope',
      ],
      [
        'that exhaust memory',
        (body) => ({ ...body, envelope: body.envelope.replaceAll('65536', '16777216') }),
        422,
        'invalid',
        '/envelope',
      ],
    ];
    let once: Promise<{ name: string; sealed: Sealed }> | undefined;
    it.each(rows)('%s', async (_says, alter, status, code, pointer) => {
      once ??= account().then(async ({ name }) => ({ name, sealed: await sealFor(name) }));
      const { name, sealed } = await once;
      const answer = await scenario.call(`PUT ${pathOf(name)}`, alter(bodyOf(sealed)), operator);
      expectProblem(answer, status, code);
      expect(pointersOf(answer)).toContain(pointer);
    });

    it('of another account', async () => {
      const [{ name }, other] = [await account(), await account()];
      const answer = await scenario.call(`PUT ${pathOf(name)}`, bodyOf(await sealFor(other.name)), operator);
      expectProblem(answer, 422, 'invalid');
    });

    it('from who isn’t its owner', async () => {
      const [{ name, key }, other] = [await account(), await account()];
      const sealed = await sealFor(name);
      const body = bodyOf(sealed);
      const about = digestOf(sealed.text, sealed.verifiers);
      const deed = { account: urlOf(name), audience: server.url, act: 'putEnvelope', about };
      expectProblem(await scenario.call(`PUT ${pathOf(name)}`, body), 401, 'unauthenticated');
      // Nor from who has a token or an API key of its owner's: those can be stolen, and come and go.
      const { accessToken } = await login(scenario, urlOf(name), key);
      const headers = { authorization: `Bearer ${accessToken}` };
      const { secret } = (await scenario.calls(['POST /v1/auth/keys', { name: 'k' }, headers])).body;
      for (const authorization of [headers.authorization, `Bearer ${secret}`]) {
        expectProblem(await scenario.call(`PUT ${pathOf(name)}`, body, { authorization }), 403, 'forbidden');
        expectProblem(await scenario.call(`DELETE ${pathOf(name)}`, undefined, { authorization }), 403, 'forbidden');
      }
      for (const bad of [
        await proof(other.key, deed),
        await proof(key, { ...deed, act: 'addKey' }),
        await proof(key, { ...deed, about: digestOf(`${sealed.text} `, sealed.verifiers) }),
        await proof(key, { ...deed, about: digestOf(sealed.text, { ...sealed.verifiers, passphrase: WRONG }) }),
      ])
        expectProblem(await scenario.call(`PUT ${pathOf(name)}`, { ...body, proof: bad }), 401, 'unauthenticated');
      const { proof: proven } = await proofFor(name, 'passphrase', PASSPHRASE);
      expectProblem(await unlock(name, 'passphrase', proven), 401, 'unauthenticated');
      expect((await scenario.call(`PUT ${pathOf(name)}`, { ...body, proof: await proof(key, deed) })).status).toBe(200);
    });

    it('for an account that isn’t there', async () => {
      const answer = await scenario.call(
        `PUT ${pathOf('nobody-here')}`,
        bodyOf(await sealFor('nobody-here')),
        operator,
      );
      expectProblem(answer, 404, 'notFound');
    });
  });

  it('can’t be told from none', async () => {
    const [{ name }, bare] = [await guarded(), await account()];
    const partial = await account();
    await scenario.calls([
      `PUT ${pathOf(partial.name)}`,
      bodyOf(await sealFor(partial.name, { passphrase: 'x' })),
      operator,
    ]);
    const shapes = [];
    for (const each of [name, bare.name, partial.name, 'never-there']) {
      const first = await scenario.call(`GET ${pathOf(each)}`);
      const second = await scenario.call(`GET ${pathOf(each)}`);
      expect(second.body).toEqual(first.body);
      const salts = first.body.ways.map(({ kdf }: { kdf: { salt: string } }) => kdf.salt);
      expect(new Set(salts).size).toBe(2);
      shapes.push(
        JSON.stringify({ status: first.status, body: first.body })
          .replaceAll(each, '')
          .replaceAll(/"[\w-]{22}"/g, 'salt'),
      );
      const answer = await unlock(each, 'passphrase', WRONG);
      expectProblem(answer, 401, 'unauthenticated');
      const { requestId: _id, ...told } = answer.body;
      shapes.push(JSON.stringify(told));
    }
    expect(new Set(shapes).size).toBe(2);
    expect(shapes[0]).toContain('salt');
    const all = await Promise.all(
      [name, bare.name, 'never-there', 'nor-here'].map((each) => scenario.call(`GET ${pathOf(each)}`)),
    );
    const salts = all.flatMap(({ body }) => body.ways.map(({ kdf }: { kdf: { salt: string } }) => kdf.salt));
    expect(new Set(salts).size).toBe(8);
  });

  it.each([
    ['without a proof', { way: 'passphrase' }, '/proof'],
    ['with a short proof', { way: 'passphrase', proof: 'AAAA' }, '/proof'],
    ['with the passphrase', { way: 'passphrase', proof: PASSPHRASE }, '/proof'],
    ['by an unknown way', { way: 'magic', proof: WRONG }, '/way'],
    ['by a way that every object has', { way: '__proto__', proof: WRONG }, '/way'],
    ['with an unknown member', { way: 'passphrase', proof: WRONG, x: 1 }, '/x'],
  ])('don’t open %s', async (_says, body, pointer) => {
    const { name } = await account();
    const answer = await scenario.call(`POST ${pathOf(name)}/unlock`, body);
    expectProblem(answer, 400, 'badRequest');
    expect(pointersOf(answer)).toEqual([pointer]);
  });

  it('make each guess wait longer, for the right one too, whether or not there is an envelope', async () => {
    const { name } = await guarded();
    const { proof: proven } = await proofFor(name, 'passphrase', PASSPHRASE);
    for (const each of [name, 'guessed-and-not-there']) {
      for (let i = 0; i < 5; i++) expectProblem(await unlock(each, 'passphrase', WRONG), 401, 'unauthenticated');
      // Then a second, then two: enough to ask once more before it is over.
      let waitS = 0;
      for (let guesses = 5; waitS < 2; guesses++) {
        expect(guesses).toBeLessThan(20);
        const answer = await unlock(each, 'passphrase', WRONG);
        if (answer.status === 401) continue;
        expectProblem(answer, 429, 'tooManyRequests');
        waitS = Number(answer.headers['retry-after']);
        if (waitS < 2) await new Promise((done) => setTimeout(done, waitS * 1000));
      }
      expectProblem(await unlock(each, 'passphrase', proven), 429, 'tooManyRequests');
    }
    // The other way stays open to the owner.
    const other = await proofFor(name, 'recovery', RECOVERY);
    expect((await unlock(name, 'recovery', other.proof)).status).toBe(200);
    // After the time that it was told to wait, the right one is right.
    const deadline = Date.now() + 20_000;
    let status = 429;
    while (status === 429 && Date.now() < deadline) {
      const answer = await unlock(name, 'passphrase', proven);
      status = answer.status;
      if (status === 429) await new Promise((done) => setTimeout(done, Number(answer.headers['retry-after']) * 1000));
    }
    expect(status).toBe(200);
    // It wiped nothing out: the next wrong one has to be waited for again.
    expect((await unlock(name, 'passphrase', WRONG)).status).toBe(401);
    expect((await unlock(name, 'passphrase', proven)).status).toBe(429);
  });

  it('count guesses that come at once, at whatever node', async () => {
    const { name } = await guarded();
    const { proof: proven } = await proofFor(name, 'passphrase', PASSPHRASE);
    const nodes = [scenario];
    if (database === 'mariadb')
      nodes.push(new Scenario(await startServer({ database, databaseUrl: server.databaseUrl, env })));
    const node = (i: number) => nodes[i % nodes.length] as Scenario;
    const answers = await Promise.all(Array.from({ length: 30 }, (_, i) => unlock(name, 'passphrase', WRONG, node(i))));
    const counted = answers.filter(({ status }) => status === 401).length;
    expect(counted).toBeGreaterThanOrEqual(5);
    // Five are free; each after that had a second or more to wait, which few of thirty can have done.
    expect(counted).toBeLessThan(10);
    expect(answers.every(({ status }) => status === 401 || status === 429)).toBe(true);
    for (const each of nodes) expect((await unlock(name, 'passphrase', proven, each)).status).toBe(429);
  });
});
