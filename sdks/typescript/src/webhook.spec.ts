import { generateKeyPairSync, sign } from 'node:crypto';
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
  ['half a public key', 'whpk_AAAA', headers(), BODY, NOW],
])('%s: refused', async (_, secret, given, body, now) => {
  await expect(verifyWebhook(secret, given, body, { now })).rejects.toMatchObject({ code: 'signatureInvalid' });
});

test('by the public half of the key what its private half signs is taken, and nothing else', async () => {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const secret = `whpk_${Buffer.from(publicKey.export({ format: 'jwk' }).x as string, 'base64url').toString('base64')}`;
  const signature = sign(null, Buffer.from(`n-1.${NOW / 1000}.${BODY}`), privateKey).toString('base64');
  const given = { ...headers(), 'webhook-signature': `v1,AAAA v1a,${signature}` };
  expect(await verifyWebhook(secret, given, BODY, { now: NOW })).toMatchObject({ id: 'n-1' });
  for (const [by, what, body] of [
    [secret, given, `${BODY} `],
    [secret, headers(), BODY],
    [secret, { ...given, 'webhook-signature': `v1,${signature}` }, BODY],
    [SECRET, given, BODY],
  ] as const)
    await expect(verifyWebhook(by, what, body, { now: NOW })).rejects.toMatchObject({ code: 'signatureInvalid' });
});

test.each([
  ['no JSON', 'hello', { code: 'protocolError' }],
  ['no event', '[]', { code: 'protocolError' }],
])('what is signed and is %s can’t be understood', async (_, body, error) => {
  const signature = new Webhook(SECRET).sign('n-1', new Date(NOW), body);
  const given = { ...headers(), 'webhook-signature': signature };
  await expect(verifyWebhook(SECRET, given, body, { now: NOW })).rejects.toMatchObject(error);
});

test('an event without an id has that of the header', async () => {
  const body = '{"type":"t"}';
  const given = { ...headers(), 'webhook-signature': new Webhook(SECRET).sign('n-1', new Date(NOW), body) };
  expect(await verifyWebhook(SECRET, given, body, { now: NOW })).toEqual({ id: 'n-1', type: 't' });
});
