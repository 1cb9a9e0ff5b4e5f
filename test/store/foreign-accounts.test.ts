/**
 * Accounts elsewhere, on every database: what is read of their documents, what is pinned when, and that nobody who takes over
 * the site of an account gets the account. The site is a real one at https; each `node` is one process's view of it.
 */
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type DocumentReader, ForeignAccounts } from '../../src/engine/access/foreign-accounts.js';
import { RemoteDocuments } from '../../src/platform/remote-documents.js';
import { openDatabase } from '../../src/store/data-source.js';
import type { Database } from '../../src/store/dialect.js';
import { SqlIdentityStore } from '../../src/store/identities.js';
import { type Members, newKey, rotation, type TestKey } from '../support/keys.js';
import { createDatabase, databases } from '../support/server.js';
import { openSite, type Site } from '../support/site.js';

const HOST = 'alice.test';
const MINUTE = 60_000;

describe.each(databases)('foreign accounts on $name', ({ name: databaseName }) => {
  let database: Database;
  let site: Site;
  let accounts = 0;
  let account: string;
  let path: string;
  let a: TestKey;
  let b: TestKey;
  let c: TestKey;
  let evil: TestKey;
  const clock = { ms: 1_000_000, now: () => clock.ms };

  beforeAll(async () => {
    database = await openDatabase({ url: await createDatabase(databaseName), migrate: true });
    site = await openSite([HOST]);
    [a, b, c, evil] = await Promise.all([newKey(), newKey('ES256'), newKey('PS256'), newKey()]);
    return () => database.close();
  });
  beforeEach(() => {
    path = `/account-${++accounts}`;
    account = `${site.origin(HOST)}${path}`;
    site.asked.length = 0;
  });

  function node(reader?: DocumentReader) {
    const documents = new RemoteDocuments({
      isPrivateAllowed: true,
      bytesMax: 64 * 1024,
      timeoutMs: 3000,
      redirectsMax: 3,
      ca: site.ca,
      resolve: async () => [{ address: '127.0.0.1', family: 4 }],
    });
    const warned: string[] = [];
    const options = { isPrivateAllowed: false, warn: (message: string) => void warned.push(message) };
    const foreign = new ForeignAccounts(new SqlIdentityStore(database), reader ?? documents, clock, options);
    return Object.assign(foreign, { warned });
  }

  /** Lets the account publish these keys. */
  function publish(keys: readonly TestKey[], rotations?: readonly unknown[], more: Members = {}): void {
    const jwks = keys.map(({ jwk, kid }) => ({ ...jwk, kid, use: 'sig' }));
    site.pages.set(`${path}/jwks.json`, JSON.stringify({ keys: jwks, rotations, ...more }));
  }

  const pinsOf = async (of = account) =>
    (await node().pins({ after: undefined, limit: 100, account: of })).map(({ kid, source }) => [kid, source]).sort();
  const sorted = (...pins: [TestKey, string][]) => pins.map(([key, source]) => [key.kid, source]).sort();
  /** What a node that has read nothing yet says of the key, to who has shown that they hold it. */
  const asked = async (key: TestKey, at = node()) => {
    const judged = await at.keyOf(account, key.kid);
    const kept = await at.settle(account, key.kid);
    expect(kept).toEqual(judged);
    return kept;
  };
  const refused = (key: TestKey, message: RegExp, at = node()) =>
    expect(asked(key, at)).rejects.toMatchObject({ code: 'unauthenticated', detail: expect.stringMatching(message) });
  const CHANGED = /publishes keys that this server has not seen before .*rotation.*operator/;

  it('are pinned with all their keys when they are met', async () => {
    publish([a, b, c]);
    expect(await asked(b)).toEqual({ jwk: b.jwk, kid: b.kid, algorithm: 'ES256' });
    expect(await pinsOf()).toEqual(sorted([a, 'first'], [b, 'first'], [c, 'first']));
    for (const key of [a, c]) expect(await asked(key)).toMatchObject({ kid: key.kid });
    expect(await asked(evil)).toBeUndefined();
    expect(site.asked.filter((each) => each === `${path}/jwks.json`)).toHaveLength(4);
  });

  it('are not pinned by who only names one of their keys, nor do their pins change so', async () => {
    publish([a]);
    expect(await node().keyOf(account, a.kid)).toMatchObject({ kid: a.kid });
    expect(await pinsOf()).toEqual([]);
    await asked(a);
    publish([a, b], [await rotation(a, account, b.jwk)]);
    expect(await node().keyOf(account, b.kid)).toMatchObject({ kid: b.kid });
    publish([b], [await rotation(a, account, b.jwk)]);
    expect(await node().keyOf(account, b.kid)).toMatchObject({ kid: b.kid });
    expect(await node().keyOf(account, a.kid)).toBeUndefined();
    expect(await pinsOf()).toEqual(sorted([a, 'first']));
    await asked(b);
    expect(await pinsOf()).toEqual(sorted([b, 'rotation']));
  });

  it('are told by a DID document where there is no JWK set', async () => {
    const did = `did:web:${HOST}%3A${site.port}:${path.slice(1)}`;
    const method = (key: TestKey, id: string) => ({
      id,
      type: 'JsonWebKey2020',
      controller: did,
      publicKeyJwk: key.jwk,
    });
    const document = {
      id: did,
      verificationMethod: [method(a, `${did}#a`), method(b, '#b'), method(evil, `${did}#other-use`)],
      authentication: [`${did}#a`, `${did}#b`, method(c, '#c')],
      assertionMethod: [`${did}#other-use`],
    };
    site.pages.set(`${path}/did.json`, JSON.stringify(document));
    for (const key of [a, b, c]) expect(await asked(key)).toMatchObject({ kid: key.kid });
    expect(await asked(evil)).toBeUndefined();
    expect(await pinsOf()).toEqual(sorted([a, 'first'], [b, 'first'], [c, 'first']));
    expect(new Set(site.asked)).toEqual(new Set([`${path}/jwks.json`, `${path}/did.json`]));
    // A JWK set goes before it, once there is one.
    publish([a]);
    expect(await asked(b)).toBeUndefined();
  });

  it('may be the site itself', async () => {
    account = site.origin(HOST);
    const document = { id: `did:web:${HOST}%3A${site.port}`, verificationMethod: [], authentication: [] as unknown[] };
    document.authentication.push({ id: '#a', publicKeyJwk: a.jwk });
    site.pages.set('/.well-known/did.json', JSON.stringify(document));
    expect(await asked(a)).toMatchObject({ kid: a.kid });
    expect(site.asked).toEqual(['/jwks.json', '/.well-known/did.json']);
  });

  describe('that take another key', () => {
    beforeEach(async () => {
      publish([a]);
      await asked(a);
    });

    it('without a word of the old one are refused it, and keep the old one', async () => {
      publish([a, evil]);
      const at = node();
      await refused(evil, CHANGED, at);
      expect(at.warned).toEqual(['an account publishes a key that is not pinned']);
      expect(await asked(a, at)).toMatchObject({ kid: a.kid });
      publish([evil]);
      await refused(evil, CHANGED);
      expect(await asked(a)).toBeUndefined();
      expect(await pinsOf()).toEqual(sorted([a, 'first']));
      // Once the site is its owner's again, nothing is lost.
      publish([a]);
      expect(await asked(a)).toMatchObject({ kid: a.kid });
    });

    it('by a rotation have it, and the old one brings in no more', async () => {
      publish([b], [await rotation(a, account, b.jwk)]);
      expect(await asked(b)).toMatchObject({ kid: b.kid });
      expect(await pinsOf()).toEqual(sorted([b, 'rotation']));
      publish([b, evil], [await rotation(a, account, b.jwk), await rotation(a, account, evil.jwk)]);
      await refused(evil, CHANGED);
      publish([a, b]);
      await refused(a, CHANGED);
      expect(await pinsOf()).toEqual(sorted([b, 'rotation']));
    });

    it('beside the old one have both', async () => {
      publish([a, b], [await rotation(a, account, b.jwk)]);
      for (const key of [a, b]) expect(await asked(key)).toMatchObject({ kid: key.kid });
      expect(await pinsOf()).toEqual(sorted([a, 'first'], [b, 'rotation']));
    });

    it('over keys that were never seen have the last one, in whatever order it is told', async () => {
      const steps = [await rotation(b, account, c.jwk), await rotation(a, account, b.jwk)];
      publish([c], steps);
      expect(await asked(c)).toMatchObject({ kid: c.kid });
      expect(await pinsOf()).toEqual(sorted([c, 'rotation']));
    });

    it('and let a pinned one go have it go for good', async () => {
      publish([a, b], [await rotation(a, account, b.jwk)]);
      await asked(b);
      publish([a]);
      expect(await asked(b)).toBeUndefined();
      expect(await pinsOf()).toEqual(sorted([a, 'first']));
      publish([a, evil], [await rotation(b, account, evil.jwk)]);
      await refused(evil, CHANGED);
    });

    type Make = () => Promise<unknown>;
    it.each<[string, Make]>([
      ['by a stranger', () => rotation(evil, account, evil.jwk)],
      ['by a stranger under the old key’s name', () => rotation({ ...evil, kid: a.kid }, account, evil.jwk)],
      ['of another account', () => rotation(a, `${account}x`, evil.jwk)],
      ['to another key', () => rotation(a, account, b.jwk)],
      ['to a private key', () => rotation(a, account, { ...evil.jwk, d: 'AAAA' })],
      ['to a symmetric key', () => rotation(a, account, { kty: 'oct', k: 'AAAA' })],
      ['to no key', () => rotation(a, account, evil.jwk, { jwk: undefined })],
      ['with its tail cut off', async () => (await rotation(a, account, evil.jwk)).slice(0, -4)],
      [
        'with other claims under the signature',
        async () => {
          const [head, , tail] = (await rotation(a, account, b.jwk)).split('.');
          return [head, (await rotation(evil, account, evil.jwk)).split('.')[1], tail].join('.');
        },
      ],
      ['that is no JWS', async () => 'x'],
      ['that is no text', async () => ({ jwk: evil.jwk })],
      [
        'that is a proof',
        async () => {
          const { proof } = await import('../support/keys.js');
          const deed = { account, audience: account, act: 'addKey', about: evil.kid };
          return proof(a, deed, { claims: { jwk: evil.jwk } });
        },
      ],
      ['among a hundred others', async () => rotation(evil, account, evil.jwk)],
    ])('by a rotation %s are refused it', async (says, make) => {
      const bad = await make();
      publish([a, evil], Array(says.includes('hundred') ? 100 : 1).fill(bad));
      await refused(evil, CHANGED);
      expect(await pinsOf()).toEqual(sorted([a, 'first']));
      // In good order it is taken.
      publish([a, evil], [bad, await rotation(a, account, evil.jwk)]);
      expect(await asked(evil)).toMatchObject({ kid: evil.kid });
    });

    it('by the operator’s word have it at once, at nodes too that remember the document', async () => {
      publish([b]);
      const remembering = node();
      await refused(b, CHANGED, remembering);
      const { pin, isNew } = await node().approve(account, b.kid);
      expect([pin.kid, pin.source, isNew]).toEqual([b.kid, 'operator', true]);
      expect(await asked(b, remembering)).toMatchObject({ kid: b.kid });
      expect(await pinsOf()).toEqual(sorted([b, 'operator']));
      expect((await node().approve(account, b.kid)).isNew).toBe(false);
      await expect(node().approve(account, a.kid)).rejects.toMatchObject({ code: 'invalid' });
    });

    it('are as new once the operator has forgotten them', async () => {
      publish([b]);
      expect(await node().unpin(account, b.kid)).toEqual({ existed: false });
      expect(await node().unpin(account, a.kid)).toEqual({ existed: true });
      expect(await asked(b)).toMatchObject({ kid: b.kid });
      expect(await pinsOf()).toEqual(sorted([b, 'first']));
    });
  });

  it('that the operator knows beforehand don’t trust what they publish first', async () => {
    publish([a, evil]);
    await node().approve(account, a.kid);
    await refused(evil, CHANGED);
    expect(await pinsOf()).toEqual(sorted([a, 'operator']));
  });

  it('that two nodes meet at once, each at another site, are those of one of them', async () => {
    const jwks = (key: TestKey) => JSON.stringify({ keys: [key.jwk] });
    const at = [a, evil].map((key) => node({ read: async () => jwks(key) }));
    const outcomes = await Promise.allSettled([a, evil].map((key, i) => asked(key, at[i])));
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    const winner = outcomes[0]?.status === 'fulfilled' ? a : evil;
    expect(await pinsOf()).toEqual(sorted([winner, 'first']));
  });

  const many = (count: number) => Array.from({ length: count }, () => newKey());
  it.each<[string, () => unknown | Promise<unknown>, RegExp]>([
    ['no JSON', () => 'x', /not JSON/],
    ['a list', () => [], /no JSON object/],
    ['no keys', () => ({}), /no list `keys`/],
    ['keys that are no list', () => ({ keys: {} }), /no list `keys`/],
    ['a private key', async () => ({ keys: [a.jwk, { ...b.jwk, d: 'AAAA' }] }), /private key/],
    [
      'a private key of another kind',
      () => ({ keys: [a.jwk, { kty: 'OKP', crv: 'X25519', x: 'AAAA', d: 'AAAA' }] }),
      /private key/,
    ],
    ['a shared secret', () => ({ keys: [a.jwk, { kty: 'oct', k: 'AAAA' }] }), /private key/],
    [
      'more than twenty keys',
      async () => ({ keys: [a, ...(await Promise.all(many(20)))].map(({ jwk }) => jwk) }),
      /more than 20/,
    ],
    ['more than a hundred entries', () => ({ keys: [a.jwk, ...Array(100).fill({ kty: 'x' })] }), /more than 100/],
    ['more than 64 KiB', () => ({ keys: [a.jwk], filler: 'x'.repeat(64 * 1024) }), /larger than/],
  ])('that publish %s are refused', async (_says, make, message) => {
    const document = await make();
    site.pages.set(`${path}/jwks.json`, typeof document === 'string' ? document : JSON.stringify(document));
    await refused(a, message);
    expect(await pinsOf()).toEqual([]);
  });

  it.each<[string, (did: string) => object, RegExp | undefined]>([
    [
      'of somebody else',
      () => ({ id: 'did:web:bob.example', authentication: [{ publicKeyJwk: a.jwk }] }),
      /somebody else/,
    ],
    ['without an id', () => ({ authentication: [{ publicKeyJwk: a.jwk }] }), /somebody else/],
    ['whose key is for nothing', (id) => ({ id, verificationMethod: [{ id: '#a', publicKeyJwk: a.jwk }] }), undefined],
    [
      'whose key is for something else',
      (id) => ({ id, verificationMethod: [{ id: '#a', publicKeyJwk: a.jwk }], keyAgreement: ['#a'] }),
      undefined,
    ],
    [
      'with a private key in any use',
      (id) => ({
        id,
        authentication: [{ publicKeyJwk: a.jwk }],
        verificationMethod: [{ id: '#x', publicKeyJwk: { ...b.jwk, d: 'AAAA' } }],
      }),
      /private key/,
    ],
  ])('with a DID document %s are refused', async (_says, make, message) => {
    const document = make(`did:web:${HOST}%3A${site.port}:${path.slice(1)}`);
    site.pages.set(`${path}/did.json`, JSON.stringify(document));
    if (message) await refused(a, message);
    else expect(await asked(a)).toBeUndefined();
    expect(await pinsOf()).toEqual([]);
  });

  it('pass over keys of other kinds and uses', async () => {
    const others = [
      { kty: 'OKP', crv: 'X25519', x: 'AAAA' },
      { ...b.jwk, use: 'enc' },
      { kty: 'EC', crv: 'P-521' },
      'x',
      null,
      1,
    ];
    site.pages.set(`${path}/jwks.json`, JSON.stringify({ keys: [...others, a.jwk] }));
    expect(await asked(a)).toMatchObject({ kid: a.kid });
    expect(await asked(b)).toBeUndefined();
  });

  it('are told why they can’t be read', async () => {
    await refused(a, /publishes no keys: there is neither .*jwks\.json nor .*did\.json/);
    site.pages.set(`${path}/jwks.json`, (_request, response) => void response.writeHead(500).end());
    await refused(a, /can’t be read: .*status 500/);
    // Nor is the other document tried then: it may be older.
    site.pages.set(`${path}/did.json`, '{}');
    await refused(a, /status 500/);
  });

  it.each([
    ['http://alice.test/me', /https/],
    ['https://alice.test/me/', /normal form, https:\/\/alice\.test\/me\./],
    ['https://u@alice.test/me', /user name/],
    ['https://alice.test/me?x', /query/],
    ['alice', /no URL/],
    ['', /no URL/],
    [`https://alice.test/${'x'.repeat(300)}`, /longer/],
  ])('have no URL such as %s', async (url, message) => {
    account = url;
    await refused(a, message);
    await expect(node().approve(url, a.kid)).rejects.toMatchObject({ code: 'invalid' });
    expect(site.asked).toEqual([]);
  });

  describe('are read', () => {
    const readings = () => site.asked.filter((each) => each === `${path}/jwks.json`).length;

    it('once for all who ask at the same time, and again after five minutes', async () => {
      publish([a]);
      const at = node();
      await Promise.all(Array.from({ length: 20 }, () => asked(a, at)));
      expect(readings()).toBe(1);
      clock.ms += 5 * MINUTE - 1;
      await asked(a, at);
      expect(readings()).toBe(1);
      publish([b], [await rotation(a, account, b.jwk)]);
      clock.ms += 1;
      expect(await asked(a, at)).toBeUndefined();
      expect(readings()).toBe(2);
    });

    it('again after half a minute for a key that was not there', async () => {
      publish([a]);
      const at = node();
      await asked(a, at);
      publish([a, b], [await rotation(a, account, b.jwk)]);
      expect(await asked(b, at)).toBeUndefined();
      expect(readings()).toBe(1);
      clock.ms += MINUTE / 2;
      expect(await asked(b, at)).toMatchObject({ kid: b.kid });
      expect(readings()).toBe(2);
    });

    it('not again for half a minute when they could not be', async () => {
      const at = node();
      await refused(a, /no keys/, at);
      publish([a]);
      await refused(a, /no keys/, at);
      expect(readings()).toBe(1);
      clock.ms += MINUTE / 2;
      expect(await asked(a, at)).toMatchObject({ kid: a.kid });
    });

    it('at most 32 at a time', async () => {
      let release: (text: string) => void = () => undefined;
      const held = new Promise<string>((resolve) => {
        release = resolve;
      });
      let reading = 0;
      const slow = node({
        read: () => {
          reading++;
          return held;
        },
      });
      const outcomes = Promise.allSettled(Array.from({ length: 40 }, (_, i) => slow.keyOf(`${account}-${i}`, a.kid)));
      await new Promise(setImmediate);
      expect(reading).toBe(32);
      release(JSON.stringify({ keys: [a.jwk] }));
      const refusals = (await outcomes).filter((each) => each.status === 'rejected');
      expect(refusals.map(({ reason }) => reason.code)).toEqual(Array(8).fill('unavailable'));
    });
  });
});
