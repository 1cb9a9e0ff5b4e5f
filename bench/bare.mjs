// The floor of every comparison: the routes of Stargus that parse and answer JSON of the same size, and do nothing. Usage: bare.mjs <port>
import Fastify from 'fastify';

const app = Fastify({ bodyLimit: 2 << 20, forceCloseConnections: true });
const itemPath = '/v1/pools/:pool/collections/:collection/items/:key';
const attributes = { value: 'x'.repeat(200) };

app.get('/readyz', async () => ({ status: 'ok' }));

app.put(itemPath, async (request) => {
  const { collection, key } = request.params;
  return { collection, key, revision: 1, createdRevision: 1, attributes: request.body.attributes, changed: ['value'] };
});

app.get(itemPath, async (request) => {
  const { collection, key } = request.params;
  return { collection, key, revision: 1, createdRevision: 1, attributes };
});

await app.listen({ port: Number(process.argv[2]), host: '127.0.0.1' });
process.once('SIGTERM', () => process.exit(0));
