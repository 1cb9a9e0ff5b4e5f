/** The server's own keys over its restarts: kept, encrypted once there is a secret, and not to be had under another one. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { openDatabase } from '../../src/store/data-source.js';
import { SqlLogins } from '../../src/store/logins.js';
import { Account, AccountTable, startLoginServer } from '../support/logins.js';
import { Scenario } from '../support/scenario.js';
import { createDatabase, databases } from '../support/server.js';

const PROGRAM = path.resolve(import.meta.dirname, '../../dist/server/main.js');
const SECRET = 'secret-of-the-operator-0123456789';

describe.each(databases)('the server’s keys on $name', ({ name }) => {
  it('are kept, are encrypted as soon as there is a secret, and need that one', async () => {
    const databaseUrl = await createDatabase(name);
    const accounts = new AccountTable();
    const env = { STARGUS_PUBLIC_URL: 'https://stargus.example' };
    const kidOf = (token: string) => JSON.parse(Buffer.from(token.split('.')[0] as string, 'base64url').toString()).kid;
    const start = async (secret?: string) =>
      new Scenario(
        await startLoginServer(accounts, name, {
          databaseUrl,
          env: { ...env, ...(secret && { STARGUS_SECRET: secret }) },
        }),
      );
    const published = async (scenario: Scenario): Promise<string[]> =>
      (await scenario.calls(['GET /.well-known/jwks.json'])).body.keys.map(({ kid }: { kid: string }) => kid);
    const me = (scenario: Scenario, token: string) =>
      scenario.calls(['GET /v1/auth/me', undefined, { authorization: `Bearer ${token}` }]);
    const stored = async () => {
      const database = await openDatabase({ url: databaseUrl, migrate: false });
      const keys = await new SqlLogins(database).signingKeys();
      await database.close();
      return keys;
    };

    const first = await start();
    const { accessToken } = (await new Account(accounts).login(first)).body;
    expect(await published(first)).toEqual([kidOf(accessToken)]);
    await first.server.stop();
    expect((await stored()).map(({ privateJwk }) => privateJwk[0])).toEqual(['{']);

    const again = await start();
    expect(await published(again)).toEqual([kidOf(accessToken)]);
    await me(again, accessToken);
    await again.server.stop();

    const sealed = await start(SECRET);
    const keys = await published(sealed);
    expect(keys).toHaveLength(2);
    expect(keys[1]).toBe(kidOf(accessToken));
    // What was signed before is still known; what is signed now is by the new key.
    await me(sealed, accessToken);
    const next = (await new Account(accounts).login(sealed)).body.accessToken;
    expect(kidOf(next)).toBe(keys[0]);
    await sealed.server.stop();
    const rows = await stored();
    expect(rows.at(-1)?.privateJwk).toMatch(/^sealed:[\w-]+$/);

    const same = await start(SECRET);
    expect(await published(same)).toEqual(keys);
    await me(same, next);
    await same.server.stop();

    for (const other of [undefined, 'another-secret-of-the-operator-01']) {
      const { status, stderr } = spawnSync(process.execPath, [PROGRAM], {
        env: {
          ...{ PATH: process.env.PATH, STARGUS_DATABASE_URL: databaseUrl, STARGUS_PORT: '0' },
          ...(other && { STARGUS_SECRET: other }),
        },
        encoding: 'utf8',
        timeout: 20_000,
      });
      expect([status, stderr]).toEqual([1, expect.stringMatching(/STARGUS_SECRET is not the one/)]);
      if (other) expect(stderr).not.toContain(other);
    }
  });
});
