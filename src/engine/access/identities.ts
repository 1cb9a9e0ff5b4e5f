/** Where logging in finds the keys of an account: of one that is hosted here in the database, of a foreign one at its URL. */
import { checkOwnName } from '../state/names.js';
import type { ForeignAccounts } from './foreign-accounts.js';
import type { HostedAccounts } from './hosted-accounts.js';
import type { AccountKey, KeySource } from './keys.js';
import { THUMBPRINT } from './public-key.js';
import type { PublicUrl } from './public-url.js';

export class Identities implements KeySource {
  constructor(
    private readonly hosted: HostedAccounts,
    private readonly foreign: ForeignAccounts,
    private readonly publicUrl: PublicUrl,
  ) {}

  keyOf(account: string, kid: string): Promise<AccountKey | undefined> {
    return this.#find(account, kid, () => this.foreign.keyOf(account, kid));
  }

  settle(account: string, kid: string): Promise<AccountKey | undefined> {
    return this.#find(account, kid, () => this.foreign.settle(account, kid));
  }

  async #find(
    account: string,
    kid: string,
    elsewhere: () => Promise<AccountKey | undefined>,
  ): Promise<AccountKey | undefined> {
    if (!THUMBPRINT.test(kid)) return undefined;
    const name = this.publicUrl.nameOf(account);
    if (name === undefined) return elsewhere();
    if (!isOwnName(name)) return undefined;
    return (await this.hosted.keys(name)).find((key) => key.kid === kid);
  }
}

function isOwnName(name: string): boolean {
  try {
    checkOwnName('account', name);
    return true;
  } catch {
    return false;
  }
}
