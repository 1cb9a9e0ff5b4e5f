// npm run bench: measures Stargus beside its limit prototype, a bare route and other programs, in turn, in one run, and prints
// Markdown. A figure means something only beside another of the same run: the machine is part of it.
import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { buildGenerator } from './generator.mjs';
import { machineFacts } from './machine.mjs';
import { cacheDir } from './places.mjs';
import { machineMarkdown } from './report.mjs';
import { parts as cloudParts } from './suites/cloud.mjs';
import { workloads } from './suites/compare.mjs';
import { parts as lockParts } from './suites/locks.mjs';
import { parts as policyParts } from './suites/policy.mjs';
import { peerNames, targets } from './targets/all.mjs';
import { installPeers } from './targets/peers.mjs';

const suiteNames = [
  'compare',
  'idle',
  'nonmatching',
  'fsync',
  'queries',
  'indexes',
  'transfer',
  'locks',
  'policy',
  'cloud',
  'clients',
];
const allParts = [...lockParts, ...policyParts, ...cloudParts];
const help = `npm run bench -- [SUITE] [options]
  SUITE, --suite     ${suiteNames.join(', ')} (compare)
  --seconds N        measured for each workload (8)
  --rounds N         times that every target is measured (2)
  --only A,B         targets, of: ${Object.keys(targets).join(', ')};
                     and parts of the suites locks: ${lockParts.join(', ')}
                     and policy: ${policyParts.join(', ')}
                     and cloud: ${cloudParts.join(', ')}
  --workloads A,B    of: ${Object.keys(workloads).join(', ')}
  --watchers N       streams in suites with watchers (1000; idle 5000; nonmatching 10000); sessions in locks (1000)
  --items N          items in suites that fill a collection (queries 1000000, transfer 100000, clients 100000);
                     locks held and items attached in locks (100000);
                     items whose watchers a change of policy turns, in policy (10000)
  --peers            also ${peerNames.join(' and ')}, building PocketBase when it is missing (needs the Go module proxy)
  --json FILE        where to write all measurements as well
`;

const say = (text) => process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`);

const { values: given, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    suite: { type: 'string', default: 'compare' },
    seconds: { type: 'string', default: '8' },
    rounds: { type: 'string', default: '2' },
    only: { type: 'string' },
    workloads: { type: 'string' },
    watchers: { type: 'string' },
    items: { type: 'string' },
    peers: { type: 'boolean', default: false },
    json: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
if (given.help) {
  process.stdout.write(help);
  process.exit();
}
if (Number(process.versions.node.split('.')[0]) < 24)
  refuse(`Node ${process.version} is too old: start it with "npm run bench", which finds Node 24`);

buildGenerator();
if (given.peers) installPeers(say);
const only = listed(given.only, [...Object.keys(targets), ...allParts], 'target or part');
const options = {
  names: chosenTargets(),
  partNames: chosenOf(allParts),
  workloadNames: listed(given.workloads, Object.keys(workloads), 'workload') ?? Object.keys(workloads),
  seconds: positive('seconds'),
  warmUpSeconds: positive('seconds'),
  warmSeconds: Math.min(1.5, positive('seconds') / 2),
  rounds: positive('rounds'),
  watchers: given.watchers ? positive('watchers') : undefined,
  items: given.items ? positive('items') : undefined,
  say,
};
const [suiteName] = listed(positionals[0] ?? given.suite, suiteNames, 'suite');
const suite = await import(`./suites/${suiteName}.mjs`);
const machine = machineFacts();
const { measurements, markdown } = await suite.run(options);

const result = { suite: suiteName, machine, seconds: options.seconds, rounds: options.rounds, measurements };
const text = `## Bench: ${suiteName}\n\n${machineMarkdown(machine)}\n${markdown}`;
const files = [
  path.join(cacheDir, 'latest.json'),
  path.join(cacheDir, 'latest.md'),
  ...(given.json ? [given.json] : []),
];
for (const file of files) fs.writeFileSync(file, file.endsWith('.md') ? text : `${JSON.stringify(result, null, 2)}\n`);
process.stdout.write(text);
say(`written: ${files.join(', ')}`);
if (measurements.some((m) => m.failed)) process.exitCode = 1;

function chosenTargets() {
  const asked =
    chosenOf(Object.keys(targets)) ?? Object.keys(targets).filter((name) => given.peers || !peerNames.includes(name));
  return asked.filter((name) => {
    const absent = targets[name].absent();
    if (absent) say(`without ${name}: ${absent}`);
    return !absent;
  });
}

// Those of --only that are of one kind, or undefined when it names none of them.
function chosenOf(kind) {
  const chosen = only?.filter((name) => kind.includes(name));
  return chosen?.length ? chosen : undefined;
}

function listed(text, allowed, what) {
  const names = text?.split(',').filter(Boolean);
  const unknown = names?.find((name) => !allowed.includes(name));
  if (unknown) refuse(`unknown ${what} "${unknown}"; there are ${allowed.join(', ')}`);
  return names;
}

function positive(name) {
  const value = Number(given[name]);
  if (!(value > 0)) refuse(`--${name} must be a number above 0`);
  return value;
}

function refuse(text) {
  process.stderr.write(`${text}\n`);
  process.exit(2);
}
