/**
 * The manifests of deploy/kubernetes, without a cluster: they have the types of Kubernetes, member by member; what refers to
 * something refers to what is there; and Stargus takes what it is told there.
 */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { faultsOf } from './settings.js';

const ROOT = path.resolve(import.meta.dirname, '../..');
const FOLDER = path.join(ROOT, 'deploy/kubernetes');
const read = (file: string) => readFileSync(path.join(FOLDER, file), 'utf8');

// biome-ignore lint/suspicious/noExplicitAny: the types of Kubernetes are checked below, by the compiler.
type Resource = any;

interface Kustomization {
  readonly resources: string[];
  readonly namespace: string;
  readonly configMapGenerator: { readonly name: string; readonly envs: string[] }[];
  readonly images: { readonly name: string; readonly newTag: string }[];
}

function documentsOf(file: string): Resource[] {
  return parseAllDocuments(read(file)).map((document) => {
    expect(document.errors, file).toEqual([]);
    return document.toJS();
  });
}

const kustomization = parse(read('kustomization.yaml')) as Kustomization;
const resources = kustomization.resources.flatMap(documentsOf);
const of = (kind: string): Resource[] => resources.filter((resource) => resource.kind === kind);
const deployments = of('Deployment');
const workloads = [...deployments, ...of('Job')];
const secret = documentsOf('secret.template.yaml')[0];
const settings = Object.fromEntries(
  read('settings.env')
    .split('\n')
    .filter((line) => /^[A-Z]/.test(line))
    .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
) as Record<string, string>;

const nameOf = ({ kind, metadata }: Resource) => `${kind} ${metadata.name}`;
const matches = (selector: Record<string, string>, labels: Record<string, string>) =>
  Object.entries(selector).every(([name, value]) => labels[name] === value);
const pods = workloads.map((workload) => workload.spec.template);
const container = (workload: Resource) => workload.spec.template.spec.containers[0];

/** The environment that a container gets, with what an operator would put into the secret. */
function environmentOf(workload: Resource): Record<string, string> {
  const secrets: Record<string, string> = {
    STARGUS_DATABASE_URL: 'mysql://stargus:secret@mysql.example:3306/stargus',
    STARGUS_REDIS_URL: 'rediss://:secret@redis.example:6379/0',
  };
  const textOf = ({ name, value, valueFrom }: Resource): string =>
    value ?? (valueFrom.secretKeyRef ? (secrets[name] ?? 'a-secret-of-24-characters') : 'pod-1');
  return {
    ...(container(workload).envFrom ? settings : {}),
    ...Object.fromEntries(container(workload).env.map((entry: Resource) => [entry.name, textOf(entry)])),
  };
}

describe('the manifests', () => {
  test('are all among the resources, and there is one of each kind that a deployment needs', () => {
    const others = ['kustomization.yaml', 'secret.template.yaml'];
    const files = readdirSync(FOLDER).filter((file) => file.endsWith('.yaml') && !others.includes(file));
    expect(files.sort()).toEqual([...kustomization.resources].sort());
    expect(new Set(resources.map(({ kind }) => kind))).toEqual(
      new Set(
        ['Namespace', 'ServiceAccount', 'Job', 'Deployment', 'Service', 'Ingress', 'NetworkPolicy'].concat(
          ...['HorizontalPodAutoscaler', 'PodDisruptionBudget'],
        ),
      ),
    );
    const names = resources.map(nameOf);
    expect(new Set(names).size).toBe(names.length);
  });

  test('have the types of Kubernetes, and no member that it doesn’t know', () => {
    expect(faultsOfTypes([...resources, withoutNulls(secret)])).toEqual([]);
  });

  test('would be caught with a mistake in them', () => {
    const broken = structuredClone(deployments[0]);
    broken.spec.template.spec.containers[0].readinesProbe = broken.spec.template.spec.containers[0].readinessProbe;
    broken.spec.minReadySeconds = 'five';
    expect(faultsOfTypes([broken]).join()).toMatch(/readinesProbe.*|minReadySeconds/);
    expect(faultsOfTypes([broken])).toHaveLength(2);
  });

  test('are of the version of the program', () => {
    const { version } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as { version: string };
    expect(kustomization.images.map(({ newTag }) => newTag)).toEqual([version]);
    for (const workload of workloads)
      expect(kustomization.images.map(({ name }) => name)).toContain(container(workload).image);
  });

  test('select pods that there are', () => {
    const selectors = [
      ...deployments.map((deployment) => [nameOf(deployment), deployment.spec.selector.matchLabels]),
      ...of('Service').map((service) => [nameOf(service), service.spec.selector]),
      ...of('PodDisruptionBudget').map((budget) => [nameOf(budget), budget.spec.selector.matchLabels]),
      ...of('NetworkPolicy').map((policy) => [nameOf(policy), policy.spec.podSelector.matchLabels]),
      ...deployments.flatMap((deployment) =>
        deployment.spec.template.spec.topologySpreadConstraints.map((constraint: Resource) => [
          nameOf(deployment),
          constraint.labelSelector.matchLabels,
        ]),
      ),
    ];
    expect(selectors.length).toBeGreaterThan(6);
    for (const [name, selector] of selectors)
      expect(
        pods.some(({ metadata }) => matches(selector, metadata.labels)),
        name,
      ).toBe(true);
    for (const deployment of deployments)
      expect(
        deployments.filter((other) =>
          matches(deployment.spec.selector.matchLabels, other.spec.template.metadata.labels),
        ),
      ).toEqual([deployment]);
    // Requests go to nodes, and not to workers or migrations.
    for (const service of of('Service'))
      expect(
        pods
          .filter(({ metadata }) => matches(service.spec.selector, metadata.labels))
          .map(({ metadata }) => metadata.labels['app.kubernetes.io/component']),
      ).toEqual(['api']);
    for (const autoscaler of of('HorizontalPodAutoscaler')) {
      expect(deployments.map(({ metadata }) => metadata.name)).toContain(autoscaler.spec.scaleTargetRef.name);
      // Otherwise each `apply` sets back what the autoscaler has set.
      const [scaled] = deployments.filter(({ metadata }) => metadata.name === autoscaler.spec.scaleTargetRef.name);
      expect(scaled.spec.replicas).toBeUndefined();
    }
    for (const budget of of('PodDisruptionBudget'))
      expect(deployments.map(({ metadata }) => metadata.name)).toContain(budget.metadata.name);
  });

  test('name ports, settings, secrets and volumes that there are', () => {
    for (const deployment of deployments) {
      const { ports, livenessProbe, readinessProbe, startupProbe } = container(deployment);
      for (const probe of [livenessProbe, readinessProbe, startupProbe])
        expect(ports.map(({ name }: Resource) => name)).toContain(probe.httpGet.port);
      expect(ports.map(({ containerPort }: Resource) => String(containerPort))).toEqual([settings.STARGUS_PORT]);
    }
    const ports = deployments.flatMap((deployment) => container(deployment).ports).map(({ name }) => name);
    for (const service of of('Service'))
      for (const { targetPort } of service.spec.ports) expect(ports).toContain(targetPort);
    for (const policy of of('NetworkPolicy'))
      for (const rule of policy.spec.ingress ?? [])
        for (const { port } of rule.ports) expect(ports, nameOf(policy)).toContain(port);
    for (const ingress of of('Ingress')) {
      const services = Object.fromEntries(of('Service').map((service) => [service.metadata.name, service]));
      for (const { http } of ingress.spec.rules)
        for (const { backend } of http.paths)
          expect(services[backend.service.name]?.spec.ports.map(({ name }: Resource) => name)).toContain(
            backend.service.port.name,
          );
    }
    for (const workload of workloads) {
      const { envFrom = [], env, volumeMounts } = container(workload);
      for (const { configMapRef } of envFrom)
        expect(kustomization.configMapGenerator.map(({ name }) => name)).toContain(configMapRef.name);
      for (const { valueFrom } of env) {
        if (!valueFrom?.secretKeyRef) continue;
        expect(valueFrom.secretKeyRef.name).toBe(secret.metadata.name);
        expect(Object.keys(secret.stringData)).toContain(valueFrom.secretKeyRef.key);
      }
      const volumes = workload.spec.template.spec.volumes.map(({ name }: Resource) => name);
      for (const { name } of volumeMounts) expect(volumes).toContain(name);
      expect(of('ServiceAccount').map(({ metadata }) => metadata.name)).toContain(
        workload.spec.template.spec.serviceAccountName,
      );
    }
    for (const { envs } of kustomization.configMapGenerator) expect(envs).toEqual(['settings.env']);
    expect(of('Namespace').map(({ metadata }) => metadata.name)).toEqual([kustomization.namespace]);
  });

  test('have no secret in them', () => {
    expect(Object.values(secret.stringData).every((value) => value === null)).toBe(true);
    for (const name of Object.keys(secret.stringData)) expect(settings[name]).toBeUndefined();
    for (const workload of workloads)
      for (const { name, value } of container(workload).env)
        if (/KEY|SECRET|PASSWORD|_URL$/.test(name)) expect(value, name).toBeUndefined();
  });

  test.each(workloads.map((workload) => [nameOf(workload), workload]))(
    '%s is told what Stargus takes',
    (_name, workload) => {
      expect(faultsOf(environmentOf(workload)).filter((fault) => !isOfServer(fault, workload))).toEqual([]);
    },
  );

  test.each(workloads.map((workload) => [nameOf(workload), workload]))('%s may do little', (_name, workload) => {
    const { securityContext, automountServiceAccountToken, enableServiceLinks } = workload.spec.template.spec;
    expect(securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
    expect(container(workload).securityContext).toEqual({
      ...{ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
    });
    // A service called stargus would set STARGUS_PORT to an address.
    expect([automountServiceAccountToken, enableServiceLinks]).toEqual([false, false]);
    const { requests, limits } = container(workload).resources;
    expect([requests.cpu, requests.memory, limits.memory].every((text) => /^\d+(m|Mi|Gi)$/.test(text))).toBe(true);
    // The one place to write to is the one that Node is told of.
    const image = readFileSync(path.join(ROOT, 'Dockerfile'), 'utf8');
    const [, cache = ''] = /NODE_COMPILE_CACHE=(\S+)/.exec(image) ?? [];
    expect(container(workload).volumeMounts.some(({ mountPath }: Resource) => cache.startsWith(`${mountPath}/`))).toBe(
      true,
    );
    expect(image).toContain(`USER ${securityContext.runAsUser}:${securityContext.runAsGroup}`);
  });

  test.each(deployments.map((deployment) => [nameOf(deployment), deployment]))(
    '%s is replaced without an error',
    (_name, deployment) => {
      const { strategy, template } = deployment.spec;
      expect(strategy.rollingUpdate).toEqual({ maxSurge: 1, maxUnavailable: 0 });
      const { livenessProbe, readinessProbe, lifecycle } = container(deployment);
      expect([livenessProbe.httpGet.path, readinessProbe.httpGet.path]).toEqual(['/healthz', '/readyz']);
      // It goes on serving while proxies learn that it is going, and then has time to end its streams.
      const { seconds } = lifecycle.preStop.sleep;
      expect(seconds).toBeGreaterThan(readinessProbe.periodSeconds * readinessProbe.failureThreshold);
      expect(template.spec.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(seconds + 30);
    },
  );

  test('streams pass the ingress as they come', () => {
    for (const { metadata } of of('Ingress')) {
      const { annotations } = metadata;
      expect(annotations['nginx.ingress.kubernetes.io/proxy-buffering']).toBe('off');
      expect(annotations['nginx.org/proxy-buffering']).toBe('False');
      // A read may wait for news for a minute.
      expect(Number(annotations['nginx.ingress.kubernetes.io/proxy-read-timeout'])).toBeGreaterThan(60);
      expect(Object.values(annotations).every((value) => typeof value === 'string')).toBe(true);
    }
    const hosts = of('Ingress').flatMap(({ spec }) => spec.rules.map(({ host }: Resource) => `https://${host}`));
    expect(hosts).toEqual([settings.STARGUS_PUBLIC_URL]);
  });
});

/** A migration listens to nobody: what is said of servers that others reach doesn't concern it. */
function isOfServer(fault: string, { kind }: Resource): boolean {
  return kind === 'Job' && /^STARGUS_PUBLIC_URL is not set/.test(fault);
}

function withoutNulls(resource: Resource): Resource {
  return JSON.parse(JSON.stringify(resource), (_name, value) => value ?? '');
}

/** What the compiler says of resources that are written as literals of their types: an unknown member is an error there. */
function faultsOfTypes(all: readonly Resource[]): string[] {
  const places: Record<string, string> = { v1: 'core/v1' };
  const placeOf = (version: string) => places[version] ?? version.replace('.k8s.io', '');
  const file = path.join(ROOT, 'test/deploy/manifests-as-types.ts');
  const text = all
    .map(({ apiVersion, kind }, i) => {
      const type = `import('kubernetes-types/${placeOf(apiVersion)}').${kind}`;
      return `export const r${i}: ${type} = ${JSON.stringify(all[i])};`;
    })
    .join('\n');
  const options: ts.CompilerOptions = {
    ...{ strict: true, noEmit: true, skipLibCheck: true, types: [], target: ts.ScriptTarget.ES2022 },
    ...{ module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler },
  };
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists, readFile } = host;
  host.fileExists = (name) => name === file || fileExists(name);
  host.readFile = (name) => (name === file ? text : readFile(name));
  host.getSourceFile = (name, version, ...rest) =>
    name === file ? ts.createSourceFile(name, text, version) : getSourceFile(name, version, ...rest);
  const program = ts.createProgram([file], options, host);
  return [...program.getSyntacticDiagnostics(), ...program.getSemanticDiagnostics()].map((diagnostic) =>
    ts.flattenDiagnosticMessageText(diagnostic.messageText, ' '),
  );
}
