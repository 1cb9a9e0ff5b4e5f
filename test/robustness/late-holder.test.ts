/**
 * The lost update of a holder whose lease ran out. Jepsen showed it of the locks of etcd 3.4.3: a client gets the lock, reads,
 * is paused for longer than its lease; another gets the lock, reads, writes; the first goes on and writes over it, believing
 * that it holds the lock. Told here as it ends in Stargus: refused with a proof, refused by the session's name; and, so that it
 * is seen what the proof is for, as it ends for a client that says nothing of its lock.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Answer, expectProblem, type Headers, Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

interface Client {
  readonly session: string;
  readonly epoch: number;
}

interface Lock {
  readonly lock: string;
  readonly fence: number;
}

describe.each(databases)('a holder that comes too late on $name', ({ name }) => {
  let server: Server;
  let scenario: Scenario;
  let first: Client;
  let second: Client;
  let late: Lock;
  beforeAll(async () => {
    server = await startServer({ database: name });
  });
  beforeEach(async () => {
    scenario = new Scenario(server);
    second = (await scenario.calls(['POST P/sessions', { name: 'second' }])).body;
    await scenario.fill({ account: { balance: 100 } });
    // Last, for its lease is short.
    first = (await scenario.calls(['POST P/sessions', { name: 'first', ttlMs: 1000 }])).body;
    late = await ask(first);
  });

  const as = ({ session, epoch }: Client): Headers => ({ 'stargus-session': `${session};epoch=${epoch}` });
  const proof = ({ lock, fence }: Lock): Headers => ({ 'stargus-lock': `${lock};fence=${fence}` });
  const scopes = [{ collection: 'things', key: 'account' }];
  const ask = async ({ session }: Client, waitMs = 0) =>
    (await scenario.calls(['POST P/locks', { session, mode: 'exclusive', scopes, waitMs }])).body;
  const put = (balance: number) => ({ attributes: { balance } });

  /** Both mean to add: the first 10, the second 5. The first reads, and nothing is heard of it until its lock is the second's. */
  const firstReadsAndStalls = async (): Promise<Lock> => {
    expect(await scenario.attributes('account')).toEqual({ balance: 100 });
    const { lock } = await ask(second, 60_000);
    const { body } = await scenario.call(`GET P/locks/${lock}?waitMs=30000`);
    expect(body).toMatchObject({ state: 'granted' });
    expect(body.fence).toBeGreaterThan(late.fence);
    return body;
  };
  const secondAdds = async (lock: Lock): Promise<void> => {
    expect(await scenario.attributes('account')).toEqual({ balance: 100 });
    await scenario.calls(['PUT C/items/account', put(105), proof(lock)]);
  };
  const secondAddsAndReleases = async (): Promise<void> => {
    const lock = await firstReadsAndStalls();
    await secondAdds(lock);
    await scenario.calls([`DELETE P/locks/${lock.lock}`, undefined, as(second)]);
  };
  const nothingIsLost = async () => expect(await scenario.attributes('account')).toEqual({ balance: 105 });

  it('is refused by its old fence, and nothing is lost', async () => {
    await secondAddsAndReleases();
    const refused = await scenario.refused(412, 'lockLost', 'PUT C/items/account', put(110), proof(late));
    expect(refused.body).toMatchObject({ lock: late.lock, fence: null });
    const ops = [{ op: 'put', collection: 'things', key: 'account', ...put(110) }];
    const { lock, fence } = late;
    await scenario.refused(412, 'lockLost', 'POST P/batch', { locks: [{ lock, fence }], ops });
    await nothingIsLost();
  });

  it('is refused by its old fence while the next one holds the lock', async () => {
    const lock = await firstReadsAndStalls();
    await scenario.refused(412, 'lockLost', 'PUT C/items/account', put(110), proof(late));
    await secondAdds(lock);
    await scenario.refused(412, 'lockLost', 'PUT C/items/account', put(110), proof(late));
    await nothingIsLost();
  });

  it('is refused by its old fence as soon as its lease is over, though nobody else asks for the lock', async () => {
    let answer: Answer;
    do {
      await sleep(20);
      // A write without effect is judged by its proof as well, and renews nothing.
      answer = await scenario.call('PUT C/items/account', put(100), proof(late));
    } while (answer.status === 200);
    expectProblem(answer, 412, 'lockLost');
    // The commit that ends the lock may come before this one or after.
    expectProblem(await scenario.call('PUT C/items/account', put(110), proof(late)), 412, 'lockLost');
    expect(await scenario.attributes('account')).toEqual({ balance: 100 });
  });

  it('is refused when it names its session instead', async () => {
    await secondAddsAndReleases();
    await scenario.refused(409, 'sessionFenced', 'PUT C/items/account', put(110), as(first));
    await scenario.refused(412, 'lockLost', 'PUT C/items/account', put(110), { ...as(first), ...proof(late) });
    await nothingIsLost();
  });

  it('is refused by its old fence when it has resumed its session, and even has the lock again', async () => {
    await secondAddsAndReleases();
    const resumed = (await scenario.calls(['PUT P/sessions/first', { ttlMs: 60_000 }])).body;
    expect(resumed).toMatchObject({ session: first.session, epoch: 2 });
    await scenario.refused(412, 'lockLost', 'PUT C/items/account', put(110), { ...as(resumed), ...proof(late) });
    const again = await ask(resumed);
    await scenario.refused(412, 'lockLost', 'PUT C/items/account', put(110), { ...as(resumed), ...proof(late) });
    await nothingIsLost();
    // It reads anew, and adds to what is there.
    await scenario.calls(['PUT C/items/account', put(115), proof(again)]);
    expect(await scenario.attributes('account')).toEqual({ balance: 115 });
  });

  it('is refused without a proof while another holds the lock', async () => {
    const lock = await firstReadsAndStalls();
    await scenario.refused(423, 'locked', 'PUT C/items/account', put(110));
    await secondAdds(lock);
    await scenario.refused(423, 'locked', 'PUT C/items/account', put(110));
    await nothingIsLost();
  });

  it('takes the second’s update away where it says nothing of its lock and nobody holds it: so one proves', async () => {
    await secondAddsAndReleases();
    await scenario.calls(['PUT C/items/account', put(110)]);
    expect(await scenario.attributes('account')).toEqual({ balance: 110 });
  });

  it('is refused without a proof where the dictionary asks for a lock', async () => {
    await scenario.calls(['PUT P/collections/_dictionary/items/things', { attributes: { requireLock: true } }]);
    await secondAddsAndReleases();
    await scenario.refused(423, 'locked', 'PUT C/items/account', put(110));
    await nothingIsLost();
  });
});
