// Whom policy binds in the suite: accounts with an API key each, the operator, and the items that rules are about, of eight attributes.
import { createHash } from 'node:crypto';
import { pool, send } from '../transfers.mjs';

const host = 'people.example';
export const accountOf = (name) => `https://${host}/${name}`;
export const everyAccount = { identityHosts: [host] };

export const operatorKey = createHash('sha256').update('the operator of the bench').digest('hex');
const asOperator = { authorization: `Bearer ${operatorKey}` };

// What bounds and notes requests where authentication is required would be in the way of figures.
const unbounded = {
  ...{ STARGUS_RATE_READS: '0', STARGUS_RATE_WRITES: '0', STARGUS_RATE_STREAMS: '0', STARGUS_RATE_LOGIN: '0' },
  STARGUS_AUDIT: '0s',
};
// At an open server a request without credentials is bound by no policy, and one with a key by that of its account: so work without
// policy and with it is done by one process, in turn. The operator's key costs there what it does where it is required.
export const openServer = { ...unbounded, STARGUS_OPERATOR_KEY: operatorKey };
export const strictServer = { ...openServer, STARGUS_AUTH: 'required' };

// API keys that act as accounts, by the names of these.
export async function keysOf(target, names) {
  const secrets = [];
  for (const name of names) {
    const { secret } = await post(target, '/v1/auth/keys', { name, subject: accountOf(name) });
    secrets.push(secret);
  }
  return secrets;
}

export async function post(target, path, body, method = 'POST') {
  const response = await fetch(`http://${target.address}${path}`, {
    method,
    headers: { 'content-type': 'application/json', ...asOperator },
    body: JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${method} ${path}: ${answer.status} ${answer.detail}`);
  return answer;
}

export const policyPath = `/v1/pools/${pool}/collections/_policies/items/main`;

export const setPolicy = (target, attributes) =>
  send(target, 'PUT', '/collections/_policies/items/main', { attributes }, asOperator);

const actions = ['read', 'watch', 'create', 'write', 'delete'];
export const allow = (who, collections, more = {}) => ({ effect: 'allow', actions, who, collections, ...more });

export const shown = ['owner', 'group', 'rank', 'title', 'note', 'value'];
const hidden = ',"pay":{r},"remark":"nobody else is to read this"';

// The attributes of an item, as a template of the load generator. The last two are those that the attribute rule hides.
export const template = ({ owner = accountOf('some'), group = 'g{n}', isWhole = true, rank = '{n}' } = {}) =>
  `{"owner":"${owner}","group":"${group}","rank":${rank},"title":"Something to be done","note":"before the end of the week","value":"{v}"${isWhole ? hidden.replace('{r}', '1900') : ''}}`;

// The same for an import, of the item with a number.
export const attributesOf = (options, n) =>
  template(options).replaceAll('{n}', n).replace('{v}', `${n}`.padEnd(200, 'x'));

// Sums of the server's counters.
export async function counters(target, names) {
  const response = await fetch(`http://${target.address}/metrics`);
  const text = await response.text();
  return Object.fromEntries(
    names.map((name) => [name, Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1] ?? Number.NaN)]),
  );
}
