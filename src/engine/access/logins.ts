/**
 * Logins. One begins with an assertion, and gives an access token for some minutes and a refresh token, which is exchanged for
 * the next pair, once. A refresh token that comes twice has been stolen by one of the two who sent it: the whole login is revoked. A
 * login goes on only while its account has the key that began it.
 */
import { randomUUID } from 'node:crypto';
import { limits } from '../limits.js';
import type { JsonObject } from '../state/json.js';
import type { AccessTokens, IssuedToken } from './access-tokens.js';
import { checkAssertion } from './assertion.js';
import type { Challenges } from './challenges.js';
import { Channel } from './channel.js';
import type { Restriction } from './grant.js';
import { thumbprintOf } from './jwk.js';
import { refusal } from './jws.js';
import type { KeySource } from './keys.js';
import type { LoginStore, StoredLogin } from './login-store.js';
import type { PublicUrl } from './public-url.js';
import { narrowed } from './restriction.js';
import type { Revocations } from './revocations.js';
import { digestOf, newSecret, type Seal } from './secrets.js';

export class Logins {
  constructor(
    private readonly store: LoginStore,
    private readonly keys: KeySource,
    private readonly challenges: Challenges,
    private readonly tokens: AccessTokens,
    private readonly revocations: Revocations,
    private readonly url: PublicUrl,
    private readonly seal: Seal,
    private readonly now: () => number,
  ) {}

  /** Begins a login. `prover` is the thumbprint of the key that proved itself with the request, if one did. */
  async begin(
    assertion: string,
    restriction: Restriction | undefined,
    prover: string | undefined,
    channelKey: JsonObject | undefined,
  ): Promise<IssuedToken & { sessionKey?: string | undefined }> {
    // For its length: a token that no header holds would be good for nothing.
    narrowed([], restriction, '/authorizationDetails');
    const checked = await checkAssertion(assertion, this.keys, this.url.href, this.now());
    if (checked.thumbprint !== undefined && prover !== undefined && checked.thumbprint !== prover)
      throw refusal('The assertion names another key in cnf than the one that signed the proof.');
    // Signed, so that nobody between the two puts a key of his own there.
    if (checked.channelThumbprint !== (channelKey && (await thumbprintOf(channelKey as never))))
      throw refusal('The assertion must have in epk the thumbprint of encryptionKey, and only with one.');
    // Last, so that nobody's nonce is used up by what was no login.
    if (!(await this.challenges.take(checked.nonce)))
      throw refusal('The nonce was used, is over or was not given out here: ask for a new challenge.');
    const refreshToken = newRefreshToken();
    const id = randomUUID();
    const channel = channelKey && Channel.create(id);
    // Before anything is stored: a key that is no point of its curve is refused here.
    const sessionKey = channel && (await sealedTo(channel, channelKey));
    const login = await this.store.beginLogin(
      {
        id,
        subject: checked.account,
        kid: checked.kid,
        thumbprint: checked.thumbprint ?? prover,
        grants: restriction && JSON.stringify(restriction),
        contentKey: channel && this.seal.close(channel.secret()),
      },
      digestOf(refreshToken),
      limits.refreshTokenMs,
    );
    // The account may have lost the key meanwhile, and with it its logins; this one must not be left over.
    if (!(await this.keys.settle(checked.account, checked.kid))) {
      await this.revocations.revoke([id]);
      throw refusal('The account has no such key.');
    }
    return { ...(await this.#issue(login)), refreshToken, sessionKey };
  }

  /** The channel of a login that asked for one. */
  async channelOf(login: string): Promise<Channel> {
    const kept = await this.store.contentKeyOf(login);
    const secret = kept === undefined ? undefined : this.seal.open(kept);
    if (secret === undefined) throw refusal('The login of the token is over.');
    return Channel.parse(login, secret);
  }

  async refresh(refreshToken: string, prover: string | undefined): Promise<IssuedToken> {
    const over = () => refusal('The refresh token is not valid (any more): log in again.');
    const digest = digestOf(refreshToken);
    const login = isRefreshToken(refreshToken) ? await this.store.loginOf(digest) : undefined;
    if (!login) throw over();
    if (login.thumbprint !== undefined && login.thumbprint !== prover)
      throw refusal('The refresh token is bound to a key: send a proof of it (DPoP).');
    // A key source that can't answer refuses here, where the token is still good.
    if (!(await this.keys.settle(login.subject, login.kid))) {
      await this.revocations.revoke([login.id]);
      throw refusal('The account no longer has the key of this login.');
    }
    const next = newRefreshToken();
    const outcome = await this.store.rotate(digest, digestOf(next), limits.refreshTokenMs, limits.revocationMs);
    if (outcome === 'reused') {
      this.revocations.note([login.id]);
      throw refusal('The refresh token was used before. Its login is revoked, for somebody else may have its tokens.');
    }
    if (outcome === 'over') throw over();
    return { ...(await this.#issue(login)), refreshToken: next };
  }

  /** Revokes the login of a refresh token; answers whose it was, undefined where it is none. */
  async revoke(refreshToken: string): Promise<string | undefined> {
    const login = await this.store.loginOf(digestOf(refreshToken));
    if (login) await this.revocations.revoke([login.id]);
    return login?.subject;
  }

  /** Revokes all logins of an account. */
  async endAccount(account: string): Promise<void> {
    for (;;) {
      const ids = await this.store.loginsOf(account, limits.accountEndBatch);
      if (ids.length > 0) await this.revocations.revoke(ids);
      if (ids.length < limits.accountEndBatch) return;
    }
  }

  #issue(login: StoredLogin): Promise<IssuedToken> {
    const restriction = login.grants === undefined ? [] : [JSON.parse(login.grants) as Restriction];
    return this.tokens.issue(
      {
        subject: login.subject,
        login: login.id,
        lineage: [],
        authenticatedAt: login.authenticatedAt,
        restrictions: restriction,
        thumbprint: login.thumbprint,
        application: undefined,
        publisher: undefined,
        assistants: [],
        channel: login.contentKey === undefined ? undefined : login.id,
      },
      limits.accessTokenMs,
    );
  }
}

export function isRefreshToken(token: string): boolean {
  return token.startsWith('sgr_');
}

async function sealedTo(channel: Channel, publicKey: JsonObject): Promise<string> {
  try {
    return await channel.forClient(publicKey);
  } catch {
    throw refusal('encryptionKey is no key that can be encrypted to.');
  }
}

function newRefreshToken(): string {
  return `sgr_${newSecret()}`;
}
