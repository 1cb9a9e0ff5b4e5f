/**
 * `stargus-server identity …` as a person or a script runs it: the built program as a process of its own, against a real server and a
 * real site. Each `computer` is a folder for the keys of one.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server as HttpServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { compactVerify, decodeProtectedHeader, importJWK } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ForeignAccounts } from '../../src/engine/access/foreign-accounts.js';
import { RemoteDocuments } from '../../src/platform/remote-documents.js';
import { openDatabase } from '../../src/store/data-source.js';
import { SqlIdentityStore } from '../../src/store/identities.js';
import { environmentOfUser } from '../support/environment.js';
import { type Run, runCommand } from '../support/program.js';
import { Scenario } from '../support/scenario.js';
import { createDatabase, type Server, startServer } from '../support/server.js';
import { openSite, type Site } from '../support/site.js';

const PROGRAM = path.resolve(import.meta.dirname, '../../dist/server/main.js');
const OPERATOR_KEY = 'operator-key-of-these-tests-0000';
const PASSPHRASE = 'correct horse battery staple';
const operator = { STARGUS_OPERATOR_KEY: OPERATOR_KEY };
const passphrase = { STARGUS_PASSPHRASE: PASSPHRASE };

const folders: string[] = [];
const servers: HttpServer[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  for (const server of servers) server.close();
});

function newFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'stargus-identity-'));
  folders.push(folder);
  return folder;
}

class Computer {
  readonly folder = newFolder();

  run(line: string, env: Record<string, string> = {}, input = ''): Promise<Run> {
    return runCommand(process.execPath, [PROGRAM, 'identity', ...line.split(' ')], {
      env: { ...environmentOfUser(), XDG_CONFIG_HOME: this.folder, ...env },
      cwd: this.folder,
      input,
    });
  }

  /** Runs a command that must succeed, and answers what it says as JSON. */
  async json(line: string, env: Record<string, string> = {}, input = '') {
    const { code, out, err } = await this.run(`${line} --json`, env, input);
    expect(code, `${line}: ${err}`).toBe(0);
    return JSON.parse(out);
  }

  get keys(): string {
    return path.join(this.folder, 'stargus');
  }

  key(name: string) {
    return JSON.parse(readFileSync(path.join(this.keys, name), 'utf8')).jwk;
  }

  /** The one key that is there. */
  get onlyKey() {
    const [file, ...others] = readdirSync(this.keys).filter((name) => name.endsWith('.key.json'));
    expect(others).toEqual([]);
    return this.key(file as string);
  }
}

let server: Server;
let scenario: Scenario;
let accounts = 0;
beforeAll(async () => {
  server = await startServer({ database: 'sqlite', env: { STARGUS_AUTH: 'required', ...operator } });
  scenario = new Scenario(server);
});

const newAccount = () => `${server.url}/id/person-${++accounts}`;
const kidsOf = async (account: string) =>
  ((await scenario.call(`GET ${new URL(account).pathname}/jwks.json`)).body.keys ?? []).map(
    ({ kid }: { kid: string }) => kid,
  );

describe('an account at a server', () => {
  it('that has another name than the server says is not enrolled by halves', async () => {
    const home = new Computer();
    const { port } = new URL(server.url);
    const account = `http://localhost:${port}/id/newcomer`;
    await home.json(`create --account ${account}`, passphrase);
    for (const command of ['enroll', 'login']) {
      const { code, err } = await home.run(`${command} --account ${account}`, operator);
      expect(code).toBe(1);
      expect(err).toContain(`This server is ${server.url}; the account is ${account}`);
      expect(err).toContain(`${server.url}/id/newcomer`);
    }
    expect(await kidsOf(`${server.url}/id/newcomer`)).toEqual([]);
  });

  it('is reached over plain http on this computer only', async () => {
    const home = new Computer();
    const account = newAccount();
    await home.json(`create --account ${account}`, passphrase);
    for (const [command, url] of [
      ['enroll', 'http://stargus.example'],
      ['login', 'http://192.0.2.1:8080'],
    ]) {
      const { code, err } = await home.run(`${command} --account ${account} --server ${url}`, operator);
      expect([code, err]).toEqual([2, expect.stringContaining('must begin with https://')]);
    }
  });

  it('logs in with words for a person beside the token, and the way there is in the help', async () => {
    const home = new Computer();
    const account = newAccount();
    await home.json(`create --account ${account}`, passphrase);
    await home.json(`enroll --account ${account}`, operator);
    const { out, err } = await home.run(`login --account ${account}`);
    expect(out).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/);
    expect(err).toContain('docs/POLICY.md');
    const help = (await home.run('--help')).out;
    for (const command of ['create', 'enroll', 'login'])
      expect(help).toContain(`identity ${command} --account http://127.0.0.1:8080/id/alice`);
    expect(help).toContain('npm run -s stargus -- identity');
  });

  it.each(['EdDSA', 'ES256', 'PS256'])('is made with %s, enrolled, and unlocked at other computers', async (alg) => {
    const account = newAccount();
    const home = new Computer();
    const made = await home.json(`create --account ${account} --alg ${alg}`, passphrase);
    expect(made).toMatchObject({
      account,
      jwk: expect.any(Object),
      recoveryCode: expect.stringMatching(/^[0-9A-Z-]{29}$/),
    });
    expect(Object.keys(made.jwk).sort()).toEqual(
      { EdDSA: ['crv', 'kty', 'x'], ES256: ['crv', 'kty', 'x', 'y'], PS256: ['e', 'kty', 'n'] }[alg],
    );
    for (const file of readdirSync(home.keys)) expect(statSync(path.join(home.keys, file)).mode & 0o777).toBe(0o600);
    expect(statSync(home.keys).mode & 0o777).toBe(0o700);
    expect(await kidsOf(account)).toEqual([]);

    const enrolled = await home.json(`enroll --account ${account}`, operator);
    expect(enrolled).toEqual({ account, kid: made.kid, isNew: true, envelope: true });
    expect(await kidsOf(account)).toEqual([made.kid]);
    // Again, as after an answer that was lost; nothing is left to send.
    expect(await home.json(`enroll --account ${account}`)).toMatchObject({ isNew: false, envelope: false });

    const away = new Computer();
    await away.json(`unlock --account ${account}`, {}, `${PASSPHRASE}\n`);
    expect(away.onlyKey).toEqual(home.onlyKey);
    const elsewhere = new Computer();
    const typed = made.recoveryCode.toLowerCase().replaceAll('-', ' ').replaceAll('0', 'o').replaceAll('1', 'l');
    await elsewhere.json(`unlock --account ${account} --recovery`, { STARGUS_RECOVERY_CODE: typed });
    expect(elsewhere.onlyKey).toEqual(home.onlyKey);
  });

  it('tells a person what was done and what comes next', async () => {
    const account = newAccount();
    const home = new Computer();
    const made = await home.run(`create --account ${account}`, passphrase);
    expect(made).toMatchObject({ code: 0, err: '' });
    expect(made.out).toMatch(/Recovery code, shown this once:\n\n {4}[0-9A-Z-]{29}\n/);
    expect(made.out).toContain(`stargus-server identity enroll --account ${account}`);
    expect(made.out).not.toContain(home.onlyKey.d);
    const enrolled = await home.run(`enroll --account ${account}`, operator);
    expect(enrolled.out).toMatch(/has the key .{43}\nThe envelope is under guard/);
  });

  it('changes its key, by the word of the old one', async () => {
    const account = newAccount();
    const home = new Computer();
    const { kid } = await home.json(`create --account ${account}`, passphrase);
    await home.json(`enroll --account ${account}`, operator);
    const old = home.onlyKey;
    const rotated = await home.json(`rotate --account ${account} --alg ES256`, {
      STARGUS_PASSPHRASE: 'another passphrase',
    });
    expect(rotated).toMatchObject({ account, formerKid: kid });
    expect(rotated.kid).not.toBe(kid);
    expect(await kidsOf(account)).toEqual([rotated.kid]);
    expect(home.onlyKey.crv).toBe('P-256');
    const [file] = readdirSync(home.keys).filter((name) => name.endsWith('.old'));
    expect(home.key(file as string)).toEqual(old);

    const away = new Computer();
    const former = await away.run(`unlock --account ${account}`, passphrase);
    expect([former.code, existsSync(away.keys)]).toEqual([1, false]);
    await away.json(`unlock --account ${account}`, { STARGUS_PASSPHRASE: 'another passphrase' });
    expect(away.onlyKey).toEqual(home.onlyKey);

    const kept = await home.json(`rotate --account ${account} --keep-old --no-envelope`);
    expect((await kidsOf(account)).sort()).toEqual([rotated.kid, kept.kid].sort());
    const gone = await new Computer().run(`unlock --account ${account}`, { STARGUS_PASSPHRASE: 'another passphrase' });
    expect(gone.code).toBe(1);
  });

  it('changes its key though the command was stopped half way', async () => {
    const account = newAccount();
    const home = new Computer();
    await home.json(`create --account ${account} --no-envelope`);
    await home.json(`enroll --account ${account}`, operator);
    const before = home.onlyKey;
    const stopped = await home.run(`rotate --account ${account} --server http://127.0.0.1:1`, passphrase);
    expect(stopped.code).toBe(1);
    expect(stopped.err).toMatch(/doesn’t answer/);
    expect(home.onlyKey).toEqual(before);
    const [next] = readdirSync(home.keys).filter((name) => name.endsWith('.next'));
    const made = home.key(next as string);
    await home.json(`rotate --account ${account}`, passphrase);
    expect(home.onlyKey).toEqual(made);
    expect(await kidsOf(account)).toHaveLength(1);
    expect(readdirSync(home.keys).filter((name) => name.endsWith('.next'))).toEqual([]);
    const away = new Computer();
    await away.json(`unlock --account ${account}`, passphrase);
    expect(away.onlyKey).toEqual(made);
  });

  it('is enrolled by an operator who is somebody else, and takes keys of other computers', async () => {
    const account = newAccount();
    const [home, office, second] = [new Computer(), new Computer(), new Computer()];
    const { jwk, kid } = await home.json(`create --account ${account}`, passphrase);
    writeFileSync(path.join(office.folder, 'public.json'), JSON.stringify(jwk));
    expect(await office.json(`enroll --account ${account} --jwk public.json`, operator)).toMatchObject({
      kid,
      envelope: false,
    });
    // The envelope follows by its owner’s own word.
    expect(await home.json(`enroll --account ${account}`)).toMatchObject({ isNew: false, envelope: true });
    const other = await second.json(`create --account ${account} --no-envelope`);
    const by = path.join(home.keys, readdirSync(home.keys).find((name) => name.endsWith('.key.json')) as string);
    expect(await second.json(`enroll --account ${account} --by ${by}`)).toMatchObject({ kid: other.kid, isNew: true });
    expect((await kidsOf(account)).sort()).toEqual([kid, other.kid].sort());
  });
});

describe('an account on a static site', () => {
  let site: Site;
  let ca: string;
  beforeAll(async () => {
    site = await openSite(['localhost']);
    ca = path.join(newFolder(), 'ca.pem');
    writeFileSync(ca, site.ca);
  });

  /** Lets the site answer with the files of the folder. */
  function serve(folder: string): void {
    site.pages.clear();
    for (const file of readdirSync(folder, { recursive: true }) as string[])
      if (statSync(path.join(folder, file)).isFile())
        site.pages.set(`/${file}`, readFileSync(path.join(folder, file), 'utf8'));
  }

  async function reader() {
    const database = await openDatabase({ url: await createDatabase('sqlite'), migrate: true });
    const options = { isPrivateAllowed: true, bytesMax: 65536, timeoutMs: 3000, redirectsMax: 3, ca: site.ca };
    const store = new SqlIdentityStore(database);
    const node = () =>
      new ForeignAccounts(
        store,
        new RemoteDocuments(options),
        { now: () => 0 },
        { isPrivateAllowed: true, warn: () => undefined },
      );
    return { node, close: () => database.close() };
  }

  it.each([
    ['/me', ['me/did.json', 'me/envelope.jwe', 'me/jwks.json']],
    ['', ['.well-known/did.json', 'envelope.jwe', 'jwks.json']],
    ['/people/~ann', ['people/~ann/did.json', 'people/~ann/envelope.jwe', 'people/~ann/jwks.json']],
  ])('at %s is written, known, changed and opened', async (place, files) => {
    const account = `${site.origin('localhost')}${place}`;
    const [home, away] = [new Computer(), new Computer()];
    const root = newFolder();
    const filesIn = (): string[] =>
      (readdirSync(root, { recursive: true }) as string[])
        .filter((file) => statSync(path.join(root, file)).isFile())
        .sort();
    const first = await home.json(`create --account ${account} --site ${root}`, passphrase);
    expect(filesIn()).toEqual(files);
    serve(root);
    const { node, close } = await reader();
    try {
      expect(await node().keyOf(account, first.kid)).toMatchObject({ jwk: first.jwk });
      await away.json(`unlock --account ${account}`, { ...passphrase, NODE_EXTRA_CA_CERTS: ca });
      expect(away.onlyKey).toEqual(home.onlyKey);

      // Two changes, of which the server that knew the account sees only what they came to.
      await home.json(`rotate --account ${account} --site ${root}`, passphrase);
      const last = await home.json(`rotate --account ${account} --site ${root} --alg PS256`, passphrase);
      expect(filesIn()).toEqual(files);
      serve(root);
      expect(await node().keyOf(account, last.kid)).toMatchObject({ algorithm: 'PS256' });
      expect(await node().keyOf(account, first.kid)).toBeUndefined();
      // The same by did:web’s document alone.
      const jwks = [...site.pages.keys()].find((each) => each.endsWith('/jwks.json')) as string;
      site.pages.delete(jwks);
      expect(await node().keyOf(account, last.kid)).toMatchObject({ algorithm: 'PS256' });

      const again = new Computer();
      await again.json(`unlock --account ${account} --recovery`, {
        STARGUS_RECOVERY_CODE: last.recoveryCode,
        NODE_EXTRA_CA_CERTS: ca,
      });
      expect(again.onlyKey).toEqual(home.onlyKey);

      await home.json(`rotate --account ${account} --site ${root} --no-envelope --keep-old`);
      expect(filesIn()).toEqual(files.filter((file) => !file.endsWith('.jwe')));
    } finally {
      await close();
    }
  });

  it('keeps what else its documents say', async () => {
    const account = `${site.origin('localhost')}/more`;
    const home = new Computer();
    const root = newFolder();
    await home.json(`create --account ${account} --site ${root} --no-envelope`);
    const edit = (file: string, alter: (document: Record<string, unknown>) => void) => {
      const where = path.join(root, 'more', file);
      const document = JSON.parse(readFileSync(where, 'utf8'));
      alter(document);
      writeFileSync(where, JSON.stringify(document));
    };
    const other = { kty: 'OKP', crv: 'X25519', x: 'AAAA', kid: 'encryption' };
    edit('jwks.json', (jwks) => Object.assign(jwks, { keys: [other, ...(jwks.keys as object[])], note: 1 }));
    edit('did.json', (did) => Object.assign(did, { service: [{ id: '#x' }], keyAgreement: ['#e'] }));
    await home.json(`rotate --account ${account} --site ${root} --no-envelope`);
    const jwks = JSON.parse(readFileSync(path.join(root, 'more/jwks.json'), 'utf8'));
    expect([jwks.keys.length, jwks.keys[0], jwks.note]).toEqual([2, other, 1]);
    const did = JSON.parse(readFileSync(path.join(root, 'more/did.json'), 'utf8'));
    expect(did).toMatchObject({ service: [{ id: '#x' }], keyAgreement: ['#e'] });
    expect([did.verificationMethod.length, did.authentication.length]).toEqual([1, 1]);
  });
});

describe('logging in', () => {
  type Answers = Record<string, (body: Record<string, string>) => [status: number, body: object]>;

  /** A server that answers as it is told. */
  async function standIn(answers: Answers): Promise<string> {
    const http = createServer(async (request, response) => {
      const [status, body] = answers[`${request.method} ${request.url}`]?.(await bodyOf(request)) ?? [
        404,
        { detail: 'none' },
      ];
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    });
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
    servers.push(http);
    return `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  }

  it('signs for the server that was named, and prints its token', async () => {
    const home = new Computer();
    const account = newAccount();
    const { jwk, kid } = await home.json(`create --account ${account} --no-envelope`);
    const sent: Record<string, string>[] = [];
    const answer = { accessToken: 'token', tokenType: 'Bearer', expiresInMs: 600_000 };
    const at: string = await standIn({
      'POST /v1/auth/challenges': () => [201, { nonce: 'n-1', audience: at, expiresInMs: 120_000 }],
      'POST /v1/auth/token': (body) => {
        sent.push(body);
        return [200, answer];
      },
    });
    const { code, out, err } = await home.run(`login --account ${account} --server ${at}`);
    expect({ code, out, err }).toEqual({ code: 0, out: 'token\n', err: expect.stringContaining('docs/POLICY.md') });
    expect(await home.json(`login --account ${account} --server ${at}`)).toEqual(answer);
    const [{ grantType, assertion } = {}] = sent;
    expect(grantType).toBe('urn:ietf:params:oauth:grant-type:jwt-bearer');
    expect(decodeProtectedHeader(assertion as string)).toEqual({ typ: 'stargus-login+jwt', alg: 'EdDSA', kid });
    const { payload } = await compactVerify(assertion as string, await importJWK(jwk, 'EdDSA'));
    const claims = JSON.parse(Buffer.from(payload).toString());
    expect(claims).toEqual({
      iss: account,
      sub: account,
      aud: at,
      nonce: 'n-1',
      jti: expect.stringMatching(/^[0-9a-f-]{36}$/),
      iat: expect.any(Number),
      exp: claims.iat + 60,
    });
  });

  it('signs nothing for a server that says it is another', async () => {
    const home = new Computer();
    const account = newAccount();
    await home.json(`create --account ${account} --no-envelope`);
    const sent: unknown[] = [];
    const at = await standIn({
      'POST /v1/auth/challenges': () => [201, { nonce: 'n', audience: 'https://bank.example', expiresInMs: 1 }],
      'POST /v1/auth/token': (body) => {
        sent.push(body);
        return [200, { accessToken: 'token' }];
      },
    });
    const refused = await home.run(`login --account ${account} --server ${at}`);
    expect([refused.code, refused.out, sent]).toEqual([1, '', []]);
    expect(refused.err).toMatch(/says that it is https:\/\/bank\.example/);
    const known = await home.run(`login --account ${account} --server ${at} --audience https://bank.example`);
    expect([known.code, known.out]).toEqual([0, 'token\n']);
  });

  it('asks no passphrase of a person for a server that would make guessing cheap', async () => {
    const proofs: unknown[] = [];
    const kdf = { name: 'argon2id', memoryKiB: 8, passes: 1, parallelism: 1, salt: 'A'.repeat(22) };
    const at = await standIn({
      'GET /v1/identities/alice/envelope': () => [200, { ways: [{ way: 'passphrase', kdf }] }],
      'POST /v1/identities/alice/envelope/unlock': (body) => {
        proofs.push(body);
        return [200, { envelope: '{}' }];
      },
    });
    const { code, err } = await new Computer().run(`unlock --account ${at}/id/alice`, passphrase);
    expect([code, proofs]).toEqual([1, []]);
    expect(err).toMatch(/memoryKiB must be 65536 to 262144/);
  });
});

describe('a command', () => {
  it.each<[string, string, Record<string, string>, number, RegExp]>([
    ['without a name', '', {}, 2, /There is no command/],
    ['that isn’t there', 'destroy', {}, 2, /no command destroy/],
    ['that every object has', 'constructor', {}, 2, /no command constructor/],
    ['without an account', 'create', {}, 2, /--account is needed/],
    ['with an unknown option', 'create --account https://a.example --secret x', {}, 2, /--secret/],
    ['with a word too many', 'create https://a.example', {}, 2, /positional|Unexpected/],
    ['with an account that is no URL', 'create --account alice', {}, 2, /--account alice is no URL/],
    ['with an account over plain http', 'create --account http://a.example/me', {}, 2, /https/],
    [
      'with an account that isn’t normal',
      'create --account https://A.example/',
      {},
      2,
      /normal form, https:\/\/a\.example\./,
    ],
    [
      'with an unknown algorithm',
      'create --account https://a.example --alg HS256 --no-envelope',
      {},
      2,
      /EdDSA, ES256, PS256/,
    ],
    [
      'with a short passphrase',
      'create --account https://a.example',
      { STARGUS_PASSPHRASE: 'short' },
      1,
      /at least 12/,
    ],
    [
      'with an empty passphrase',
      'create --account https://a.example',
      { STARGUS_PASSPHRASE: '' },
      1,
      /STARGUS_PASSPHRASE/,
    ],
    ['without a passphrase', 'create --account https://a.example', {}, 1, /STARGUS_PASSPHRASE/],
    ['on a key that isn’t there', 'login --account https://a.example', {}, 1, /no file .* with the private key/],
    ['to enroll at who hosts nothing', 'enroll --account https://a.example/me', operator, 2, /ends? in \/id\/<name>/],
    ['to change a key without a site', 'rotate --account https://a.example/me --key k', {}, 1, /no file k/],
    [
      'at a server with a path',
      'enroll --account https://a.example/id/a --server https://a.example/x',
      {},
      2,
      /without a path/,
    ],
    ['at a server that doesn’t answer', 'unlock --account http://127.0.0.1:1/id/a', passphrase, 1, /doesn’t answer/],
    ['on a site that doesn’t answer', 'unlock --account https://127.0.0.1:1/me', passphrase, 1, /refuses connections/],
  ])('%s fails and says why', async (_says, line, env, code, message) => {
    const home = new Computer();
    const run = await home.run(line, env);
    expect(run).toMatchObject({ code, out: '' });
    expect(run.err).toMatch(message);
    expect(run.err).not.toMatch(/\n {4}at /);
    expect(existsSync(home.keys)).toBe(false);
  });

  it('without anything shows how it is used', async () => {
    const help = await new Computer().run('--help');
    expect(help).toMatchObject({ code: 0, err: '' });
    for (const name of ['create', 'enroll', 'unlock', 'rotate', 'login']) {
      expect(help.out).toContain(`  ${name}`);
      const own = await new Computer().run(`${name} --help`);
      expect([own.code, own.out.startsWith(`Usage: stargus-server identity ${name}`)]).toEqual([0, true]);
    }
  });

  it('overwrites no key', async () => {
    const home = new Computer();
    await home.json('create --account https://a.example/me --no-envelope');
    const before = home.onlyKey;
    for (const line of [
      'create --account https://a.example/me --no-envelope',
      'unlock --account https://a.example/me',
    ]) {
      const run = await home.run(line, passphrase);
      expect(run.code).toBe(1);
      expect(run.err).toMatch(/is there already and is not overwritten/);
      expect(home.onlyKey).toEqual(before);
    }
    await home.json('create --account https://a.example/me --no-envelope --force');
    expect(home.onlyKey).not.toEqual(before);
  });

  it('does nothing with a key of another account, or with what is none', async () => {
    const home = new Computer();
    const { files } = await home.json('create --account https://a.example/me --no-envelope');
    const other = await home.run(`login --account https://b.example/me --key ${files[0]}`);
    expect([other.code, other.err]).toEqual([1, expect.stringMatching(/is the key of https:\/\/a\.example\/me/)]);
    for (const [content, message] of [
      ['x', /not JSON/],
      ['{}', /names no account/],
      ['{"account":"https://a.example/me","jwk":{"kty":"oct","k":"AAAA"}}', /no private key/],
      ['{"account":"https://a.example/me","jwk":{"kty":"OKP","crv":"Ed25519","x":"AAAA"}}', /no private key/],
    ] as const) {
      writeFileSync(path.join(home.folder, 'bad.json'), content, { mode: 0o600 });
      const run = await home.run('login --account https://a.example/me --key bad.json');
      expect([run.code, run.out]).toEqual([1, '']);
      expect(run.err).toMatch(message);
    }
  });

  it('tells what the server says when it refuses', async () => {
    const account = newAccount();
    const home = new Computer();
    await home.json(`create --account ${account} --no-envelope`);
    const run = await home.run(`enroll --account ${account}`, { STARGUS_OPERATOR_KEY: 'not-the-operator-key-0000000' });
    expect([run.code, run.err]).toEqual([1, expect.stringMatching(/Enrolling the key was refused by .* with 401\. /)]);
    expect(await kidsOf(account)).toEqual([]);
    const wrong = await home.run(`unlock --account ${newAccount()}`, { STARGUS_PASSPHRASE: 'wrong wrong wrong' });
    expect([wrong.code, wrong.err]).toEqual([1, expect.stringMatching(/with 401\. The proof opens nothing/)]);
  });

  it('warns of a key that others can read', async () => {
    const home = new Computer();
    const { files } = await home.json('create --account http://127.0.0.1:1/id/a --no-envelope');
    const { chmodSync } = await import('node:fs');
    chmodSync(files[0], 0o644);
    const run = await home.run('login --account http://127.0.0.1:1/id/a');
    expect(run.err).toMatch(/warning: others on this computer can read/);
  });
});

async function bodyOf(request: IncomingMessage): Promise<Record<string, string>> {
  let text = '';
  for await (const chunk of request) text += chunk;
  return text === '' ? {} : JSON.parse(text);
}
