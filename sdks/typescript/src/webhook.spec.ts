import { Webhook } from 'standardwebhooks';
import { expect, test } from 'vitest';
import { verifyWebhook } from './webhook.js';

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const BODY = '{"id":"n-1","type":"stargus.change","data":{"text":"Ærø"}}';
const NOW = Date.parse('2026-01-01T00:00:00Z');

function headers(at = NOW, secret = SECRET): Record<string, string> {
  return {
    'webhook-id': 'n-1',
    'webhook-timestamp': String(at / 1000),
    'webhook-signature': new Webhook(secret).sign('n-1', new Date(at), BODY),
  };
}

test('what Standard Webhooks signs is taken, as text and as bytes, from a record or Headers', async () => {
  const event = { id: 'n-1', type: 'stargus.change', data: { text: 'Ærø' } };
  expect(await verifyWebhook(SECRET, headers(), BODY, { now: NOW })).toEqual(event);
  expect(await verifyWebhook(SECRET, new Headers(headers()), new TextEncoder().encode(BODY), { now: NOW })).toEqual(
    event,
  );
});

const other = `whsec_${Buffer.alloc(32, 8).toString('base64')}`;
test.each<[string, string, Record<string, string>, string, number]>([
  ['another secret', other, headers(), BODY, NOW],
  ['no secret', 'x', headers(), BODY, NOW],
  ['an altered body', SECRET, headers(), BODY.replace('Ærø', 'Aerø'), NOW],
  ['an altered id', SECRET, { ...headers(), 'webhook-id': 'n-2' }, BODY, NOW],
  ['an altered time', SECRET, { ...headers(), 'webhook-timestamp': String(NOW / 1000 + 1) }, BODY, NOW],
  ['no time', SECRET, { ...headers(), 'webhook-timestamp': 'soon' }, BODY, NOW],
  ['no headers', SECRET, {}, BODY, NOW],
  ['a year later', SECRET, headers(), BODY, NOW + 365 * 86_400_000],
  ['a year before', SECRET, headers(), BODY, NOW - 365 * 86_400_000],
  ['six minutes later', SECRET, headers(), BODY, NOW + 360_000],
  ['a signature of another kind only', SECRET, { ...headers(), 'webhook-signature': 'v1a,AAAA v2,BBBB' }, BODY, NOW],
])('%s: refused', async (_, secret, given, body, now) => {
  await expect(verifyWebhook(secret, given, body, { now })).rejects.toMatchObject({ code: 'signatureInvalid' });
});
