// The limit prototype: what Fastify and a database can do when nothing is done but what must be. It has the routes of
// Stargus and answers the same JSON, but no policy, dictionary, preconditions, resumption or checks worth the name.
// Usage: main.mjs <port> <sqlite:path | mysql://…>
import Fastify from 'fastify';
import { Committer } from './committer.mjs';
import { Watchers } from './watchers.mjs';

const [port, databaseUrl] = process.argv.slice(2);
const { openStore } = databaseUrl.startsWith('mysql:') ? await import('./mariadb.mjs') : await import('./sqlite.mjs');
const store = await openStore(databaseUrl);
const watchers = new Watchers(store);
const committer = new Committer(store, watchers);

const app = Fastify({ bodyLimit: 2 << 20, forceCloseConnections: true });
const collectionPath = '/v1/pools/:pool/collections/:collection';

app.get('/readyz', async () => ({ status: 'ok' }));

app.put(`${collectionPath}/items/:key`, (request, reply) => {
  const attributes = request.body?.attributes;
  if (typeof attributes !== 'object' || attributes === null) return reply.code(400).send({ code: 'badRequest' });
  const { pool, collection, key } = request.params;
  committer.add({
    pool,
    collection,
    key,
    changed: JSON.stringify(Object.keys(attributes)),
    attributes: JSON.stringify(attributes),
    reply,
  });
});

app.get(`${collectionPath}/items/:key`, (request, reply) => {
  const { pool, collection, key } = request.params;
  const answer = (row) => {
    if (!row) return reply.code(404).send({ code: 'notFound' });
    reply.header('content-type', 'application/json; charset=utf-8');
    reply.send(
      `{"collection":"${collection}","key":"${key}","revision":${row.revision},"createdRevision":${row.created},"attributes":${row.attributes}}`,
    );
  };
  const row = store.get(pool, collection, key);
  if (row instanceof Promise) row.then(answer, (error) => reply.send(error));
  else answer(row);
});

app.get(`${collectionPath}/attach`, async (request, reply) => {
  const { pool, collection } = request.params;
  reply.hijack();
  await watchers.attach(reply.raw.socket, pool, collection, request.query.key);
});

await app.listen({ port: Number(port), host: '127.0.0.1' });
process.once('SIGTERM', () => process.exit(0));
