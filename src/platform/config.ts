/**
 * The configuration: environment variables, checked at start. Each has its name, meaning and default in one table, from
 * which `stargus-server --help` is printed; docs/OPERATING.md is checked against it.
 */
import ipaddr from 'ipaddr.js';
import { z } from 'zod';

interface Variable<T> {
  readonly meaning: string;
  readonly fallback: string;
  readonly schema: z.ZodType<T, string>;
}

const integer = (min: number, max: number) =>
  z.string().regex(/^\d+$/, 'must be a whole number').transform(Number).pipe(z.number().min(min).max(max));

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

const duration = z
  .string()
  .regex(/^\d+(ms|s|m|h|d)$/, 'must be a number and a unit, such as 90s, 15m, 24h or 7d')
  .transform((text) => Number.parseInt(text, 10) * UNITS[text.replace(/^\d+/, '') as keyof typeof UNITS]);

const secret = z.string().refine((text) => text === '' || text.length >= 24, 'must have at least 24 characters');

/** A secret that is sent as a bearer token: what `Authorization` can carry, and nothing else. */
const bearerSecret = secret.refine(
  (text) => /^[\x21-\x7e]*$/.test(text),
  'must be of visible ASCII characters without blanks, for it is sent as a bearer token',
);

const yesNo = z.enum(['0', '1']).transform((text) => text === '1');

/** So many in such a time, `600/1m`; `0` is no bound; `auto` is decided by STARGUS_AUTH. */
const rate = z
  .string()
  .regex(
    /^(auto|0|[1-9]\d{0,8}\/\d{1,6}(s|m|h))$/,
    'must be a count and a time, such as 600/1m, or 0 for no bound, or auto',
  )
  .transform((text): Rate | 'auto' | undefined => {
    if (text === 'auto') return text;
    if (text === '0') return undefined;
    const [count, time] = text.split('/') as [string, string];
    return { count: Number(count), everyMs: Math.max(1000, duration.parse(time)) };
  });

const list = z.string().transform((text) => text.split(/[\s,]+/).filter((entry) => entry !== ''));

/** Addresses and networks, `10.0.0.0/8, ::1`. */
const networks = list.refine(
  (entries) => entries.every((entry) => ipaddr.isValidCIDR(entry) || (ipaddr.isValid(entry) && !/^\d+$/.test(entry))),
  'must be addresses and networks in CIDR notation, separated by commas, such as 10.0.0.0/8, ::1',
);

/** `https://app.example`, as a browser’s Origin header has them. */
const origins = list.refine(
  (entries) => entries.every((entry) => (entry === '*' ? entries.length === 1 : isOrigin(entry))),
  'must be * or origins separated by commas, such as https://app.example, without a path',
);

function isOrigin(text: string): boolean {
  return (
    /^[a-z][a-z0-9+.-]*:\/\/[^/]+$/.test(text) && (!URL.canParse(text) || [text, 'null'].includes(new URL(text).origin))
  );
}

/** How often something may be done. */
export interface Rate {
  readonly count: number;
  readonly everyMs: number;
}

function variable<T>(meaning: string, fallback: string, schema: z.ZodType<T, string>): Variable<T> {
  return { meaning, fallback, schema };
}

export const variables = {
  STARGUS_HOST: variable('Address to listen on.', '127.0.0.1', z.string().min(1)),
  STARGUS_PORT: variable('Port to listen on; 0 takes a free one.', '8080', integer(0, 65535)),
  STARGUS_DATABASE_URL: variable(
    'sqlite:<path>, or mysql://user:password@host:port/database.',
    'sqlite:./data/stargus.db',
    z
      .string()
      .regex(/^(sqlite:.+|mysql:\/\/.+\/.+)$/, 'must be sqlite:<path> or mysql://user:password@host:port/database'),
  ),
  STARGUS_REDIS_URL: variable(
    'redis://user:password@host:port or rediss://…; wakes and work of several nodes go through it. Without it this process is the only one.',
    '',
    z.string().refine((text) => text === '' || isRedisUrl(text), 'must be redis://host:port or rediss://host:port'),
  ),
  STARGUS_ROLE: variable(
    'api: answer requests. worker: do what is done in the background. all: both.',
    'all',
    z.enum(['all', 'api', 'worker']),
  ),
  STARGUS_MIGRATE: variable('1: bring the tables up to date at start. 0: leave that to `npm run migrate`.', '1', yesNo),
  STARGUS_AUTH: variable(
    'open: everybody may do everything; on a loopback address only. required: every call needs a token.',
    'open',
    z.enum(['open', 'required']),
  ),
  STARGUS_OPERATOR_KEY: variable(
    'A key of the operator’s, sent as a bearer token, beside the one that is printed at the first start with STARGUS_AUTH=required.',
    '',
    bearerSecret,
  ),
  STARGUS_SECRET: variable(
    'What the keys that sign tokens, and the secrets of notifiers, are encrypted under in the database; the same on every node.',
    '',
    secret,
  ),
  STARGUS_PUBLIC_URL: variable(
    'The URL under which others know this server: the beginning of its accounts, the audience of logins; without it the address that it listens on.',
    '',
    z
      .string()
      .refine(
        (text) => text === '' || isSafeOrigin(text),
        'must be https://host or https://host:port, without a path; http on a loopback address only',
      ),
  ),
  STARGUS_IDENTITY_PRIVATE: variable(
    '1: accounts may be at private and loopback addresses, and at http on loopback. 0: at public ones only.',
    '0',
    yesNo,
  ),
  STARGUS_WEBHOOK_PRIVATE: variable(
    '1: notifiers deliver to private and loopback addresses too, and over http. 0: to public ones at https only. auto: 1 with STARGUS_AUTH=open.',
    'auto',
    z.enum(['auto', '0', '1']),
  ),
  STARGUS_CREATE_POOLS: variable('1: a pool comes into being on its first write. 0: only by PUT.', '1', yesNo),
  STARGUS_HISTORY: variable('How long the change log is kept; watchers resume within it.', '24h', duration),
  STARGUS_HISTORY_COMMITS: variable(
    'How many commits of a pool are kept at most.',
    '1000000',
    integer(1, 1_000_000_000),
  ),
  STARGUS_SWEEP: variable('Time between two sweeps of old commits and stored answers.', '30s', duration),
  STARGUS_POLL: variable(
    'How often watched pools are looked at for other nodes’ commits, on MySQL, while there is no Redis to tell of them.',
    '100ms',
    duration,
  ),
  STARGUS_CACHE_MB: variable('Memory for items that are kept ready, in MiB.', '64', integer(1, 65_536)),
  STARGUS_SCAN_ITEMS: variable(
    'Items that one query may examine where no index narrows it.',
    '250000',
    integer(1, 100_000_000),
  ),
  STARGUS_STREAM_AGE: variable('After this time a stream ends with `bye` and the client resumes.', '12h', duration),
  STARGUS_DRAIN: variable(
    'How long a node that is told to stop still answers everything while /readyz says 503, so that load balancers turn away from it first.',
    '0s',
    duration,
  ),
  STARGUS_STREAMS: variable('Streams that this node serves at most.', '50000', integer(1, 10_000_000)),
  STARGUS_USAGE: variable(
    'How often what was used is noted, and told to those who watch it; 0s: nothing is counted.',
    '10s',
    duration,
  ),
  STARGUS_RATE_LOGIN: variable('Logins and challenges of an address at most. 0: no bound.', '60/1m', rate),
  STARGUS_RATE_UNLOCK: variable('Attempts to unlock, of an address and of an account, at most.', '10/1m', rate),
  STARGUS_RATE_WRITES: variable(
    'Writes of a subject, and of an address, at most. auto: 60000/1m with STARGUS_AUTH=required, else no bound.',
    'auto',
    rate,
  ),
  STARGUS_RATE_READS: variable('Reads likewise. auto: 300000/1m with STARGUS_AUTH=required.', 'auto', rate),
  STARGUS_RATE_STREAMS: variable('Streams begun likewise. auto: 600/1m with STARGUS_AUTH=required.', 'auto', rate),
  STARGUS_BLOCK_AFTER: variable(
    'Refusals within ten minutes after which an address is blocked; 0: none is.',
    '100',
    integer(0, 1_000_000),
  ),
  STARGUS_BLOCK: variable('For how long, the first time. It doubles each time, up to a day.', '1m', duration),
  STARGUS_TRUSTED_PROXIES: variable(
    'Networks of proxies whose X-Forwarded-For, -Proto and -Host are believed.',
    '',
    networks,
  ),
  STARGUS_UNLIMITED: variable(
    'Networks whose addresses are not bounded or blocked as such.',
    '127.0.0.0/8, ::1',
    networks,
  ),
  STARGUS_CONNECTIONS: variable('Connections that this node has at most.', '60000', integer(1, 10_000_000)),
  STARGUS_CONNECTIONS_PER_ADDRESS: variable('Connections of one address at most.', '1000', integer(1, 10_000_000)),
  STARGUS_CORS_ORIGINS: variable('Origins whose web pages may use this server, or *.', '', origins),
  STARGUS_AUDIT: variable(
    'How long logins and refusals are kept in `_audit`. 0s: they are not noted. auto: 7d with STARGUS_AUTH=required.',
    'auto',
    z.union([z.literal('auto'), duration]),
  ),
  STARGUS_LAN: variable(
    '1: announce the server on the local network by mDNS, as `--lan` does; `stargus-server discover` lists who does.',
    '0',
    yesNo,
  ),
  STARGUS_LAN_NAME: variable(
    'The name that is announced. Without it “Stargus on” and the machine’s.',
    '',
    z.string().refine((text) => Buffer.byteLength(text) <= 57, 'must have at most 57 bytes'),
  ),
  STARGUS_LAN_POOLS: variable(
    '1: the names of pools are announced too, to everybody on the network. 0: not. auto: with STARGUS_AUTH=open.',
    'auto',
    z.enum(['auto', '0', '1']),
  ),
  STARGUS_LOG_LEVEL: variable(
    'trace, debug, info, warn, error or silent. debug logs every request.',
    'info',
    z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']),
  ),
} as const;

type Variables = typeof variables;
/** The variables as text, by their names: what an environment has of them. */
export type Configuration = { readonly [Name in keyof Variables]?: string | undefined };
type Values = { readonly [Name in keyof Variables]: z.output<Variables[Name]['schema']> };
export type Config = Values;

/** What is wrong with the configuration, one line for each variable. */
export class ConfigError extends Error {}

/** Reads the configuration, or throws ConfigError. Answers what is to be warned of, and variables that look like ours but aren't. */
export function readConfig(environment: Readonly<Record<string, string | undefined>>): {
  config: Config;
  warnings: string[];
  unknown: string[];
} {
  const errors: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [name, { fallback, schema }] of Object.entries(variables)) {
    const text = environment[name] ?? fallback;
    const result = schema.safeParse(text);
    if (result.success) values[name] = result.data;
    else errors.push(`${name}=${shown(name, text)}: ${result.error.issues.map(({ message }) => message).join('; ')}.`);
  }
  const config = values as unknown as Config;
  if (errors.length === 0) errors.push(...contradictions(config));
  if (errors.length > 0) throw new ConfigError(errors.join('\n'));
  const known = new Set(Object.keys(variables));
  const warnings: string[] = [];
  const unknown = Object.keys(environment)
    .filter((name) => name.startsWith('STARGUS_') && !name.startsWith('STARGUS_TEST_') && !known.has(name))
    .map((name) => `${name} is not a variable of this version; \`stargus-server --help\` lists them.`);
  const isClosed = config.STARGUS_AUTH === 'required';
  if (config.STARGUS_PUBLIC_URL === '' && (isClosed || !isLoopback(config.STARGUS_HOST)))
    warnings.push(
      'STARGUS_PUBLIC_URL is not set: accounts and logins are for the address that the server listens on, over plain http, and none can log in through a proxy. Set it to the https URL under which others know this server.',
    );
  if (isClosed && config.STARGUS_SECRET === '')
    warnings.push(
      'STARGUS_SECRET is not set: the keys that sign tokens lie open in the database, and whoever reads it or a backup of it can be anybody.',
    );
  return { config, warnings, unknown };
}

function contradictions(config: Config): string[] {
  const errors: string[] = [];
  const exposed = checkListening(config);
  if (exposed !== undefined) errors.push(exposed);
  if (config.STARGUS_ROLE !== 'all' && config.STARGUS_REDIS_URL === '') {
    errors.push(
      `STARGUS_ROLE=${config.STARGUS_ROLE} shares the work with other processes, which takes Redis. Set STARGUS_REDIS_URL, or STARGUS_ROLE=all.`,
    );
  }
  if (config.STARGUS_REDIS_URL !== '' && config.STARGUS_DATABASE_URL.startsWith('sqlite:')) {
    errors.push(
      'STARGUS_REDIS_URL is for several processes, and a SQLite database has only one. Set STARGUS_DATABASE_URL=mysql://…, or leave STARGUS_REDIS_URL away.',
    );
  }
  return errors;
}

/** Whether the address may be listened on; what is wrong, where it may not. */
export function checkListening({ STARGUS_AUTH, STARGUS_HOST }: Pick<Config, 'STARGUS_AUTH' | 'STARGUS_HOST'>) {
  if (STARGUS_AUTH !== 'open' || isLoopback(STARGUS_HOST)) return undefined;
  return (
    `STARGUS_AUTH=open lets everybody do everything, so it is refused on STARGUS_HOST=${STARGUS_HOST}, which others can reach. ` +
    'Set STARGUS_AUTH=required, or listen on 127.0.0.1.'
  );
}

function isRedisUrl(text: string): boolean {
  const url = URL.parse(text);
  return url !== null && ['redis:', 'rediss:'].includes(url.protocol) && url.hostname !== '';
}

/** An origin as it is compared: in lower case, without the default port. */
function isSafeOrigin(text: string): boolean {
  const url = URL.parse(text);
  if (!url || url.origin !== text) return false;
  return (
    url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url.hostname.replace(/^\[(.*)\]$/, '$1')))
  );
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

export function helpText(): string {
  const lines = Object.entries(variables).map(
    ([name, { meaning, fallback }]) => `  ${name.padEnd(26)}${meaning}${fallback === '' ? '' : ` (${fallback})`}`,
  );
  return `Stargus: shared, persistent, watchable state over HTTP/JSON and Server-Sent Events.

Usage: stargus-server [--lan]    start the server; --lan: and announce it on the local network
       stargus-server migrate    bring the tables of STARGUS_DATABASE_URL up to date
       stargus-server migrate down    take back the newest migration
       stargus-server backup --to FILE       write a backup of the database, while servers run
       stargus-server restore --from FILE    fill an empty database from one
       stargus-server doctor                 look for contradictions in the database
       stargus-server discover        list the servers that announce themselves on the local network
       stargus-server identity …      make the keys of an account, bring them to servers, log in
       stargus-server --help | --version

Environment variables (and what holds without them):
${lines.join('\n')}

Tracing is switched on by OpenTelemetry’s own variables, such as OTEL_EXPORTER_OTLP_ENDPOINT.
`;
}

/** Secrets and passwords are never shown. */
function shown(name: string, text: string): string {
  return /KEY|SECRET/.test(name) ? '…' : hidePassword(text);
}

export function hidePassword(url: string): string {
  return url.replace(/(\/\/[^:/@]*):.*@/, '$1:…@');
}
