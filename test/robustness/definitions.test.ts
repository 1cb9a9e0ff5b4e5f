/**
 * A definition that comes while others write: a large collection is looked at beforehand and without the pool's lock, and yet
 * once the definition is acknowledged no item breaks it, whatever was written meanwhile.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { databases, type Server, startServer } from '../support/server.js';
import { Client } from './client.js';

const ITEMS = 4000;
const ROUNDS = 6;
/** More are made until a definition was refused once and accepted once: which it is depends on the moment. */
const ROUNDS_MAX = 60;

describe.each(databases)('definitions on $name', ({ name }) => {
  let server: Server;
  let client: Client;
  beforeAll(async () => {
    server = await startServer({ database: name });
    client = new Client(server.url);
  });
  afterAll(() => client?.close());

  test('hold for every item from when they are acknowledged, whoever wrote meanwhile', async () => {
    const P = '/v1/pools/defined';
    const key = (i: number) => `k${String(i).padStart(5, '0')}`;
    for (let i = 0; i < ITEMS; i += 1000) {
      const ops = Array.from({ length: 1000 }, (_, k) => ({
        op: 'put',
        collection: 'things',
        key: key(i + k),
        attributes: { n: 0 },
      }));
      await client.ok(`POST ${P}/batch`, { ops });
    }
    const taken = { accepted: 0, refused: 0 };
    const metBoth = () => taken.accepted > 0 && taken.refused > 0;
    for (let round = 1; round <= ROUNDS || (round <= ROUNDS_MAX && !metBoth()); round++) {
      let writing = true;
      // Items break the coming definition for a moment and are mended again, so that it meets both.
      const writers = [0, 1, 2].map(async (own) => {
        for (let i = own; writing; i = (i + 97) % ITEMS) {
          for (const n of [1000 + round, 0]) {
            const { status } = await client.call(`PATCH ${P}/collections/things/items/${key(i)}`, {
              attributes: { n },
            });
            if (status !== 200 && status !== 422) throw new Error(`a write was answered ${status}`);
          }
        }
      });
      let status = 0;
      for (let attempt = 0; attempt < 10 && status !== 200; attempt++) {
        const schema = { properties: { n: { maximum: 100 + round } } };
        const entry = { attributes: { schema } };
        ({ status } = await client.call(`PUT ${P}/collections/_dictionary/items/things`, entry));
        expect([200, 409]).toContain(status);
        taken[status === 200 ? 'accepted' : 'refused']++;
      }
      if (status === 200) {
        const { body } = await client.ok(`POST ${P}/collections/things/query`, { where: { n: { gt: 100 + round } } });
        expect(body.items).toEqual([]);
      }
      writing = false;
      await Promise.all(writers);
      if (status === 200) {
        const { body } = await client.ok(`POST ${P}/collections/things/query`, { where: { n: { gt: 100 + round } } });
        expect(body.items).toEqual([]);
      }
      await client.ok(`PUT ${P}/collections/_dictionary/items/things`, { attributes: {} });
    }
    expect(taken.accepted).toBeGreaterThan(0);
    expect(taken.refused).toBeGreaterThan(0);
  }, 120_000);
});
