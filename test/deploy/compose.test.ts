/** docker-compose.yml: Compose takes it, nothing in it has a secret of its own, and Stargus takes what it is told there. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { debianProgram, INSTALL_MS } from '../support/debian.js';
import { faultsOf } from './settings.js';

const ROOT = path.resolve(import.meta.dirname, '../..');
const SECRETS = {
  MYSQL_ROOT_PASSWORD: 'root-password',
  MYSQL_PASSWORD: 'databasePassword1',
  REDIS_PASSWORD: 'redisPassword1',
  STARGUS_OPERATOR_KEY: 'operator-key-of-24-characters',
  STARGUS_SECRET: 'secret-of-24-characters-or-more',
};

interface Service {
  readonly image: string;
  readonly environment?: Record<string, string>;
  readonly command?: string[];
  readonly ports?: { published: number; host_ip?: string }[] | string[];
  readonly healthcheck?: { readonly test: string[] };
  readonly depends_on?: Record<string, { readonly condition: string }>;
  readonly networks?: Record<string, { readonly ipv4_address?: string } | null>;
  readonly volumes?: unknown[];
  readonly read_only?: boolean;
  readonly cap_drop?: string[];
  readonly stop_grace_period?: string;
  readonly build?: unknown;
}

let compose = '';
beforeAll(async () => {
  compose = await debianProgram('docker-compose');
}, INSTALL_MS);

function config(environment: Record<string, string>) {
  return spawnSync(compose, ['--file', 'docker-compose.yml', 'config'], {
    ...{ cwd: ROOT, encoding: 'utf8' as const, timeout: 60_000 },
    env: { PATH: process.env.PATH, HOME: '/nonexistent', COMPOSE_DISABLE_ENV_FILE: '1', ...environment },
  });
}

interface Composed {
  readonly services: Record<string, Service>;
  readonly networks: object;
}

const composed = new Map<string, Composed>();

function composition(environment: Record<string, string> = {}): Composed {
  const key = JSON.stringify(environment);
  const known = composed.get(key);
  if (known) return known;
  const { status, stdout, stderr } = config({ ...SECRETS, ...environment });
  expect(status, stderr).toBe(0);
  expect(stderr).toBe('');
  const made = parse(stdout) as Composed;
  composed.set(key, made);
  return made;
}

const services = (environment?: Record<string, string>) => composition(environment).services;

describe('docker-compose.yml', () => {
  test('is what Compose takes', () => {
    expect(Object.keys(services()).sort()).toEqual([
      ...['migrate', 'mysql', 'proxy', 'redis', 'stargus-1', 'stargus-2', 'worker'],
    ]);
  });

  test.each(Object.keys(SECRETS))('has no %s of its own', (name) => {
    const { [name as keyof typeof SECRETS]: _missing, ...others } = SECRETS;
    const { status, stderr } = config({ ...others, [name]: '' });
    expect(status).not.toBe(0);
    expect(stderr).toContain('set it');
  });

  test('tells Stargus what Stargus takes', () => {
    const all = services();
    for (const name of ['stargus-1', 'stargus-2', 'worker', 'migrate'])
      expect(faultsOf(all[name]?.environment ?? {}), name).toEqual([]);
    const roles = ['stargus-1', 'stargus-2', 'worker'].map((name) => all[name]?.environment?.STARGUS_ROLE);
    expect(roles).toEqual(['api', 'api', 'worker']);
  });

  test('has the proxy alone reached from outside, and by this machine alone unless somebody says so', () => {
    const published = (environment: Record<string, string>) =>
      Object.entries(services(environment)).flatMap(([name, { ports = [] }]) =>
        ports.map((port) => [name, typeof port === 'string' ? port : `${port.host_ip}:${port.published}`]),
      );
    const usual = published({});
    expect(new Set(usual.map(([name]) => name))).toEqual(new Set(['proxy']));
    expect(usual.every(([, port]) => port?.startsWith('127.0.0.1:'))).toBe(true);
    const open = published({ BIND_ADDRESS: '0.0.0.0' });
    expect(open.every(([, port]) => port?.startsWith('0.0.0.0:'))).toBe(true);
  });

  test('believes of the proxies its own one', () => {
    const all = services();
    const address = all.proxy?.networks?.front?.ipv4_address;
    expect(address).toMatch(/^\d/);
    for (const name of ['stargus-1', 'stargus-2'])
      expect(all[name]?.environment?.STARGUS_TRUSTED_PROXIES).toBe(address);
    expect(all.proxy?.environment?.UPSTREAMS?.split(' ')).toEqual(['stargus-1:8080', 'stargus-2:8080']);
  });

  test('gives the site its name everywhere', () => {
    const all = services({ SITE_HOST: 'stargus.example' });
    expect(all.proxy?.environment?.SITE_HOST).toBe('stargus.example');
    expect(all['stargus-1']?.environment?.STARGUS_PUBLIC_URL).toBe('https://stargus.example');
  });

  test('migrates once, before anybody starts', () => {
    const all = services();
    for (const name of ['stargus-1', 'stargus-2', 'worker']) {
      expect(all[name]?.environment?.STARGUS_MIGRATE).toBe('0');
      expect(all[name]?.depends_on?.migrate?.condition).toBe('service_completed_successfully');
    }
    expect(all.migrate?.command).toEqual(['node', 'dist/server/main.js', 'migrate']);
  });

  test('keeps data in volumes, behind a network of its own, and gives everybody time to stop', () => {
    const all = services();
    for (const name of ['mysql', 'redis', 'proxy']) expect(all[name]?.volumes?.length, name).toBeGreaterThan(0);
    for (const name of ['mysql', 'redis']) expect(Object.keys(all[name]?.networks ?? {}), name).toEqual(['back']);
    for (const [name, { stop_grace_period }] of Object.entries(all)) expect(stop_grace_period, name).toMatch(/^\d/);
    expect(composition().networks).toMatchObject({
      back: { internal: true },
    });
  });

  test('looks after the health of each, in the image where it is Stargus', () => {
    for (const [name, { build, healthcheck }] of Object.entries(services()))
      if (!build) expect(healthcheck?.test[0], name).toMatch(/^CMD/);
    for (const [name, { build, read_only, cap_drop }] of Object.entries(services()))
      if (build) expect([read_only, cap_drop], name).toEqual([true, ['ALL']]);
  });

  test('keeps the database and Redis to what the guarantees rest on', () => {
    const { mysql, redis } = services();
    expect(mysql?.image).toBe('mysql:8.4');
    expect(mysql?.command).toEqual(expect.arrayContaining(['--innodb-flush-log-at-trx-commit=1', '--sync-binlog=1']));
    const command = redis?.command?.join(' ');
    expect(command).toContain('--appendonly yes');
    expect(command).toContain('--maxmemory-policy noeviction');
    expect(command).toContain('requirepass');
  });

  test('mounts files that are there', () => {
    const text = readFileSync(path.join(ROOT, 'docker-compose.yml'), 'utf8');
    const mounted = [...text.matchAll(/- \.\/(\S+?):/g)].map(([, file]) => file as string);
    expect(mounted).toEqual(['deploy/Caddyfile']);
    for (const file of mounted) expect(() => readFileSync(path.join(ROOT, file))).not.toThrow();
  });
});
