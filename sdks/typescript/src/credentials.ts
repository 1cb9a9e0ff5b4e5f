/**
 * Who asks: a key that stays, or a login whose tokens are renewed by themselves. A token is renewed when nine tenths of its time are over, and once
 * when a request is answered 401; those who come meanwhile wait for the new one, which is asked for once.
 */
import { AccountKey, type Challenge } from './account-key.js';
import { derivationOf, deriveKeys, openEnvelope, type Way } from './envelope.js';
import { ProblemError, StargusError } from './errors.js';
import { digestOf, OneTimeKey } from './one-time-key.js';
import { type Answer, type Authorizer, type Call, Pipeline } from './pipeline.js';
import type { KeyFile } from './platform.js';
import { renewAt, ServerTime } from './token-life.js';
import type { Transport } from './transport.js';

/** How one logs in. */
export type Login =
  | { /** Or the operator's key. */ readonly apiKey: string }
  | { /** Any access token that one already has. It isn't renewed. */ readonly token: string }
  | ({
      /** As `stargus-server identity create` writes it; in Node also the file's path. */ readonly keyFile:
        | KeyFile
        | string;
    } & LoginOptions)
  | ({ readonly account: string; readonly passphrase: string } & LoginOptions)
  | ({ readonly account: string; readonly recoveryCode: string } & LoginOptions);

export interface LoginOptions {
  /** Binds the tokens to a key pair that is made for this login; the account's own key isn't kept. */
  readonly oneTimeKey?: boolean;
}

export interface CredentialsContext {
  readKeyFile(file: string): Promise<KeyFile>;
  /** For the server that guards an envelope, where it is another one. */
  transport(): Transport;
  readonly audience: string | undefined;
}

interface Tokens {
  readonly access: string;
  /** Digest of the access token, where it is bound. */
  readonly digest: string | undefined;
  readonly refresh: string | undefined;
  /** On the client's clock. */
  readonly renewAt: number;
}

const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';

export class Credentials implements Authorizer {
  /** As the server calls who asks. */
  subject = '';
  readonly #pipeline: Pipeline;
  readonly #audience: string;
  /** What is sent where nothing is renewed. */
  readonly #fixed: Readonly<Record<string, string>> | undefined;
  readonly #oneTimeKey: OneTimeKey | undefined;
  #key: AccountKey | undefined;
  #tokens: Tokens | undefined;
  #time: ServerTime | undefined;
  #publicUrl: string;
  #renewing: Promise<void> | undefined;
  /** Nothing can be done any more. */
  #failed: StargusError | undefined;

  private constructor(
    pipeline: Pipeline,
    audience: string | undefined,
    how: { fixed?: Readonly<Record<string, string>>; key?: AccountKey; oneTimeKey?: OneTimeKey },
  ) {
    this.#pipeline = pipeline;
    this.#audience = (audience ?? new URL(pipeline.url).origin).replace(/\/+$/, '');
    this.#publicUrl = this.#audience;
    this.#fixed = how.fixed;
    this.#key = how.key;
    this.#oneTimeKey = how.oneTimeKey;
  }

  /** Logs in. @throws StargusError `loginFailed`, and what a request fails with */
  static async begin(pipeline: Pipeline, login: Login, context: CredentialsContext): Promise<Credentials> {
    let credentials: Credentials;
    if ('apiKey' in login || 'token' in login) {
      const secret = 'apiKey' in login ? login.apiKey : login.token;
      if (!/^[\x21-\x7e]+$/.test(secret)) throw new StargusError('loginFailed', 'That is no API key and no token.');
      credentials = new Credentials(pipeline, context.audience, { fixed: { authorization: `Bearer ${secret}` } });
    } else {
      const key = await AccountKey.from(await keyOf(pipeline, login, context));
      const oneTimeKey = login.oneTimeKey ? await OneTimeKey.make() : undefined;
      credentials = new Credentials(pipeline, context.audience, { key, ...(oneTimeKey && { oneTimeKey }) });
      await credentials.#login(key);
      if (oneTimeKey) credentials.#key = undefined;
    }
    credentials.subject = await credentials.#askWho();
    return credentials;
  }

  headersFor(
    method: string,
    path: string,
  ): Readonly<Record<string, string>> | Promise<Readonly<Record<string, string>>> {
    if (this.#fixed) return this.#fixed;
    const tokens = this.#tokens;
    if (this.#failed) throw this.#failed;
    if (!tokens || this.#renewing || this.#pipeline.clock.now() >= tokens.renewAt)
      return this.renew().then(() => this.#headers(method, path));
    return this.#headers(method, path);
  }

  async refused(headers: Readonly<Record<string, string>>): Promise<boolean> {
    if (this.#fixed) return false;
    // Others were refused as well, and it was renewed for them meanwhile.
    if (headers.authorization === this.#authorization) await this.renew();
    return true;
  }

  /** Gets another token; once for all who ask meanwhile. @throws StargusError `loginFailed` */
  renew(): Promise<void> {
    if (this.#fixed) return Promise.resolve();
    this.#renewing ??= this.#renew().finally(() => {
      this.#renewing = undefined;
    });
    return this.#renewing;
  }

  /** A token that is good now; undefined where it is bound to a key. */
  async token(): Promise<string | undefined> {
    if (this.#oneTimeKey) return undefined;
    const headers = await this.headersFor('GET', '/v1');
    return headers.authorization?.slice('Bearer '.length);
  }

  get #authorization(): string {
    return `${this.#oneTimeKey ? 'DPoP' : 'Bearer'} ${this.#tokens?.access ?? ''}`;
  }

  #headers(method: string, path: string): Readonly<Record<string, string>> | Promise<Readonly<Record<string, string>>> {
    const authorization = this.#authorization;
    if (!this.#oneTimeKey) return { authorization };
    return this.#proof(method, path, this.#tokens?.digest).then((dpop) => ({ authorization, dpop }));
  }

  #proof(method: string, path: string, digest?: string): Promise<string> {
    const time = this.#time as ServerTime;
    const iat = time.seconds(this.#pipeline.clock.now());
    return (this.#oneTimeKey as OneTimeKey).proof(method, this.#publicUrl + path, iat, digest);
  }

  async #renew(): Promise<void> {
    if (this.#failed) throw this.#failed;
    const refresh = this.#tokens?.refresh;
    if (refresh !== undefined) {
      try {
        await this.#ask({ grantType: 'refresh_token', refreshToken: refresh });
        return;
      } catch (error) {
        // With the account's key one logs in anew, also where it isn't known whether the refresh token was used up.
        if (!this.#key || isPassing(error))
          throw error instanceof ProblemError && !error.retryable ? this.#fail(error) : error;
      }
    }
    if (!this.#key) throw this.#fail(undefined);
    try {
      await this.#login(this.#key);
    } catch (error) {
      if (error instanceof StargusError && error.code === 'loginFailed') this.#failed = error;
      throw error;
    }
  }

  #fail(cause: ProblemError | undefined): StargusError {
    this.#failed = new StargusError(
      'loginFailed',
      `The login is over and can't begin anew by itself${cause ? `: ${cause.detail}` : ''}. Log in again.`,
      { cause },
    );
    return this.#failed;
  }

  async #login(key: AccountKey): Promise<void> {
    try {
      const { json, header } = await this.#pipeline.request({
        method: 'POST',
        path: '/v1/auth/challenges',
        body: {},
        isAnonymous: true,
      });
      const challenge = json as Challenge;
      const { clock } = this.#pipeline;
      this.#time = new ServerTime(header('date'), clock.now(), clock.wall());
      this.#publicUrl = challenge.audience.replace(/\/+$/, '');
      // Who only passes on what another server asks must not get a login there.
      if (this.#publicUrl !== this.#audience)
        throw new StargusError(
          'loginFailed',
          `The server calls itself ${this.#publicUrl}, and it was reached as ${this.#audience}. Connect to the URL by which it goes, or give that as audience if you trust who told you.`,
        );
      const assertion = await key.assertion(challenge, this.#time.seconds(clock.now()), this.#oneTimeKey?.thumbprint);
      await this.#ask({ grantType: JWT_BEARER, assertion });
    } catch (error) {
      throw loginFailure(error);
    }
  }

  /** Asks for tokens. */
  async #ask(body: Record<string, unknown>): Promise<void> {
    const askedAt = this.#pipeline.clock.now();
    const path = '/v1/auth/token';
    const call: Call = {
      method: 'POST',
      path,
      body,
      isAnonymous: true,
      ...(this.#oneTimeKey && { headers: { dpop: await this.#proof('POST', path) } }),
    };
    const { json } = await this.#pipeline.request(call);
    const { accessToken, refreshToken, expiresInMs } = json as {
      accessToken: string;
      refreshToken?: string;
      expiresInMs: number;
    };
    this.#tokens = {
      access: accessToken,
      digest: this.#oneTimeKey && (await digestOf(accessToken)),
      refresh: refreshToken,
      renewAt: renewAt(askedAt, expiresInMs),
    };
  }

  async #askWho(): Promise<string> {
    const path = '/v1/auth/me';
    let answer: Answer;
    try {
      answer = await this.#pipeline.request({
        method: 'GET',
        path,
        headers: await this.headersFor('GET', path),
        isAnonymous: true,
      });
    } catch (error) {
      throw loginFailure(error);
    }
    return String((answer.json as { subject?: unknown }).subject);
  }
}

/** It may go better a moment later. */
function isPassing(error: unknown): boolean {
  return error instanceof ProblemError && error.retryable;
}

function loginFailure(error: unknown): unknown {
  if (!(error instanceof ProblemError) || error.retryable) return error;
  return new StargusError('loginFailed', `The login was refused: ${error.detail}`, { cause: error });
}

export type KeyLogin = Extract<Login, LoginOptions & ({ keyFile: unknown } | { account: string })>;

export async function keyOf(pipeline: Pipeline, login: KeyLogin, context: CredentialsContext): Promise<KeyFile> {
  if ('keyFile' in login) return typeof login.keyFile === 'string' ? context.readKeyFile(login.keyFile) : login.keyFile;
  const way: Way = 'passphrase' in login ? 'passphrase' : 'recovery';
  const secret = 'passphrase' in login ? login.passphrase : login.recoveryCode;
  const { account } = login;
  const [, server, name] = /^(https?:\/\/.+)\/id\/([^/]+)$/.exec(account) ?? [];
  if (server === undefined || name === undefined)
    throw new StargusError(
      'loginFailed',
      `${account} is no account that a Stargus server guards an envelope of: …/id/<name>.`,
    );
  const guard =
    server === pipeline.url
      ? pipeline
      : new Pipeline({
          transport: context.transport(),
          url: server,
          requestTimeoutMs: 30_000,
          retryForMs: 10_000,
          clock: pipeline.clock,
        });
  try {
    const path = `/v1/identities/${encodeURIComponent(name)}/envelope`;
    const { json } = await guard.request({ method: 'GET', path, isAnonymous: true });
    const { ways } = json as { ways?: { way: string; kdf: unknown }[] };
    const kdf = ways?.find((each) => each.way === way)?.kdf;
    const { opening, proof } = await deriveKeys(account, way, secret, derivationOf(kdf));
    const unlocked = await guard.request({
      method: 'POST',
      path: `${path}/unlock`,
      body: { way, proof },
      isAnonymous: true,
    });
    return await openEnvelope((unlocked.json as { envelope?: unknown }).envelope, account, way, opening);
  } catch (error) {
    throw loginFailure(error);
  } finally {
    if (guard !== pipeline) guard.disconnect();
  }
}
