/** A program that isn't connected: it is told by webhook, checks who tells it, and notes what it was told. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';

export async function startReceiver() {
  const told = [];
  const state = { told, repeated: 0, refused: 0, secret: '' };
  const seen = new Set();
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request.setEncoding('utf8')) body += chunk;
    if (!isSigned(request.headers, body, state.secret)) {
      state.refused++;
      return void response.writeHead(401).end();
    }
    const event = JSON.parse(body);
    // At least once: what comes again is known by its id.
    if (seen.has(event.id)) state.repeated++;
    else for (const { attributes } of event.data.changes) told.push(attributes.n);
    seen.add(event.id);
    response.writeHead(204).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  state.url = `http://127.0.0.1:${server.address().port}/hook`;
  state.stop = () => {
    server.closeAllConnections();
    server.close();
  };
  return state;
}

/** Standard Webhooks 1.0: one of the signatures is ours, over id, time and body. */
function isSigned(headers, body, secret) {
  const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`;
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  const expected = Buffer.from(`v1,${createHmac('sha256', key).update(signed).digest('base64')}`);
  return String(headers['webhook-signature'])
    .split(' ')
    .map((signature) => Buffer.from(signature))
    .some((signature) => signature.length === expected.length && timingSafeEqual(signature, expected));
}
